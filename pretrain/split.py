"""`python -m lesionaug.pretrain.split STORE --output split.json`: patients to learn from, and patients to hold out."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from lesionaug.errors import LesionAugError

if TYPE_CHECKING:
    from lesionaug.pretrain.index import ScanRecord

TRAIN, HELD_OUT = "train", "held_out"


@dataclass(frozen=True)
class Split:
    """Divide the patients of a patch store; all scans of a patient stay together.

    Examples:
      lesionaug pretrain split patches --held 0.2 --output split.json

    Args:
        store: Patch store.
        output: File to write: JSON with the patients of both sides.
        held: Share of the patients with lesions that is held out, at least one of them.
        seed: Of the choice.
    """

    store: tyro.conf.Positional[Path]
    output: Path
    held: float = 0.2
    seed: int = 0

    def run(self) -> None:
        """Divide, write, print both sides."""
        from lesionaug.pretrain.lesion_lists import records_of_store

        records = records_of_store(self.store)
        train, held = divided(records, self.held, self.seed)
        scans = {TRAIN: _scans(records, train), HELD_OUT: _scans(records, held)}
        content = {TRAIN: train, HELD_OUT: held, "scans": scans, "store": self.store.name, "seed": self.seed}
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.output.write_text(json.dumps({**content, "held": self.held}, indent=1) + "\n")
        for name, side in ((TRAIN, train), (HELD_OUT, held)):
            print(f"{name}: {len(side)} patients, {len(scans[name])} scans, {_lesions(records, side)} lesions")
        print(f"wrote {self.output}")


def divided(records: Sequence[ScanRecord], held: float, seed: int) -> tuple[list[str], list[str]]:
    """Patients to learn from, and patients to hold out.

    Only patients with a lesion patch are held out: without one there is nothing to judge by.

    Args:
        records: Scans of a store.
        held: Share of the patients with lesions.
        seed: Of the choice; it does not depend on the order of the scans.

    Raises:
        LesionAugError: Either side would be left without lesions.
    """
    everybody = sorted({record.patient for record in records})
    useful = sorted({record.patient for record in records if record.patches})
    if not 0 < held < 1 or len(useful) < 2:
        raise LesionAugError(
            f"Expected a share to hold out between 0 and 1 and two patients with lesions or more, got {held:g} and "
            f"{len(useful)}; add patients, or train without --split"
        )
    count = min(max(1, round(held * len(useful))), len(useful) - 1)
    chosen = set(random.Random(seed).sample(useful, count))
    return [patient for patient in everybody if patient not in chosen], sorted(chosen)


def read_split(path: Path) -> tuple[list[str], list[str]]:
    """Patients to learn from, and patients to hold out.

    Raises:
        LesionAugError: The file is no split, a side is empty, or a patient is on both.
    """
    try:
        content = json.loads(Path(path).read_text())
        train, held = [str(p) for p in content[TRAIN]], [str(p) for p in content[HELD_OUT]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LesionAugError(
            f"Expected a split (JSON with patients in '{TRAIN}' and '{HELD_OUT}'), got something else in {path} "
            f"({error}); write one with lesionaug pretrain split"
        ) from error
    both = sorted(set(train) & set(held))
    if not train or not held or both:
        got = f"{', '.join(both)} on both" if both else f"{len(train)} to learn from and {len(held)} held out"
        raise LesionAugError(f"Expected patients on each side, nobody on both, got {got} in {path}; split again")
    return train, held


def _scans(records: Sequence[ScanRecord], side: Sequence[str]) -> list[str]:
    return sorted(record.subject for record in records if record.patient in side)


def _lesions(records: Sequence[ScanRecord], side: Sequence[str]) -> int:
    return sum(record.patches for record in records if record.patient in side)


if __name__ == "__main__":
    tyro.cli(Split).run()
