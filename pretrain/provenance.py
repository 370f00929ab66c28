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
from lesionaug.pretrain.checkpoints import latest
from lesionaug.pretrain.patches import PatchGroup

from lesionaug.errors import LesionAugError

FILE = "run.json"
MAY_CHANGE = {"output", "patches", "split", "hold_out", "shapes", "start", "batch", "fit"}
"""Options that a part of a run may have otherwise than the part before; whose patches they are is compared."""


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
        "config": _as_json(config),
        "subjects": sorted({group.subject for group in learned}),
        "held_out": sorted({group.subject for group in held}),
        "commit": _commit(),
        "torch": torch.__version__,
        "hardware": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
    }
    (run / FILE).write_text(json.dumps(facts, indent=2) + "\n")


def check_same_run(run: Path, config: Any, learned: Iterable[PatchGroup]) -> None:
    """What a run's folder holds, if anything, was trained as it is to be trained now.

    Args:
        run: Folder of the run.
        config: Resolved configuration.
        learned: Patches to learn from.

    Raises:
        LesionAugError: It was not.
    """
    if latest(run) is None or not (run / FILE).exists():
        return
    before, now = read_provenance(run), _as_json(config)
    subjects = sorted({group.subject for group in learned})
    changed = [
        f"{name} was {before['config'][name]} and is {now[name]}"
        for name in sorted((before["config"].keys() & now.keys()) - MAY_CHANGE)
        if before["config"][name] != now[name]
    ]
    if before["config"].keys() ^ now.keys() and not changed:
        changed = [f"another preset with {', '.join(sorted(before['config'].keys() ^ now.keys()))}"]
    if before["subjects"] != subjects:
        changed.append(f"it learned from {len(before['subjects'])} scans and is to learn from {len(subjects)} others")
    if changed:
        raise LesionAugError(
            f"Expected {run} to hold this run, got another: {'; '.join(changed)}; "
            "choose another --output, or go on with the options it began with (those of --fit may change)"
        )


def read_provenance(run: Path) -> dict:
    """Inverse of `write_provenance`."""
    return json.loads((run / FILE).read_text())


def _as_json(config: Any) -> dict:
    return json.loads(json.dumps(asdict(config), default=lambda value: getattr(value, "name", str(value))))


def _module_and_arguments() -> list[str]:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    # Paths are reduced to names: a card should not tell where on whose disk the data lay.
    return [module.name if module else "?", *[Path(word).name if "/" in word else word for word in sys.argv[1:]]]


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or "unknown"
