"""What a training does with lesions, beside its checkpoints: settings, digests, versions, and counts as it goes on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.ledger import Ledger
from lesionaug.integrations.nnunet.settings import NnunetSettings

from lesionaug.dataset.atomic import write_atomically
from lesionaug.record import versions

FOLDER = "synthetic_lesions"


class TrainingRecord:
    """A JSON file, and the ledger of the same name. Each start of a training has its own, a continued one, too.

    Args:
        output: nnU-Net's folder of the fold.
        rank: Of this process, where several train together.
    """

    def __init__(self, output: Path, rank: int = 0) -> None:
        folder = output / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{datetime.now():%Y-%m-%d_%H%M%S_%f}-rank{rank}"
        self.path = folder / f"{stem}.json"
        self.ledger = Ledger(folder / f"{stem}.jsonl")
        self.counts: Counter[str] = Counter()
        self._facts: dict[str, Any] = {}

    def begin(self, settings: NnunetSettings, roles: Roles, about: dict[str, Any]) -> None:
        """Write what is known before the first epoch.

        Args:
            settings: What was asked for.
            roles: What the dataset's channels and labels are taken for.
            about: Of the source of the lesions.
        """
        libraries = {**versions(), "nnunetv2": version("nnunetv2")}
        self._facts = {**about, "settings": settings.to_dict(), "roles": asdict(roles), "versions": libraries}
        self._write()

    def count(self) -> Counter[str]:
        """Counts of what happened since the last call, which are also added to the file."""
        news = self.ledger.news()
        self.counts.update(news)
        self._write()
        return news

    def _write(self) -> None:
        content = {**self._facts, "ledger": self.ledger.path.name, "counts": dict(sorted(self.counts.items()))}
        write_atomically(self.path, (json.dumps(content, indent=2) + "\n").encode())
