"""What a run was: written beside its checkpoint when it starts, read by `lesionaug.pretrain.package`."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lesionaug.pretrain.patches import PatchGroup

FILE = "run.json"


def write_provenance(run: Path, config: Any, learned: Iterable[PatchGroup], held: Iterable[PatchGroup]) -> None:
    """Command, configuration, subjects, versions and hardware of a run.

    Args:
        run: Folder of the run.
        config: Its resolved configuration, a dataclass.
        learned: Patches it learns from.
        held: Patches it is only judged by.
    """
    run.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": ["python", "-m", *_module_and_arguments()],
        "config": json.loads(json.dumps(asdict(config), default=lambda value: getattr(value, "name", str(value)))),
        "subjects": sorted({group.subject for group in learned}),
        "held_out": sorted({group.subject for group in held}),
        "commit": _commit(),
        "torch": torch.__version__,
        "hardware": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
    }
    (run / FILE).write_text(json.dumps(facts, indent=2) + "\n")


def read_provenance(run: Path) -> dict:
    """Inverse of `write_provenance`."""
    return json.loads((run / FILE).read_text())


def _module_and_arguments() -> list[str]:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    # Paths are reduced to names: a card should not tell where on whose disk the data lay.
    return [module.name if module else "?", *[Path(word).name if "/" in word else word for word in sys.argv[1:]]]


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or "unknown"
