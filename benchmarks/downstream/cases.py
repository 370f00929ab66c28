"""What is trained on and what is tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from lesionaug.errors import LesionAugError
from lesionaug.scan import Scan

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Case:
    """A scan whose lesions are all known.

    Args:
        name: Unique in its cohort.
        patient: Time points of a patient share it.
        scan: Image, lesions and anatomy.
        affine: Voxel to world in mm, 4 by 4.
    """

    name: str
    patient: str
    scan: Scan
    affine: np.ndarray

    @property
    def brain_box(self) -> Box:
        """The smallest box with the whole brain."""
        (box,) = ndimage.find_objects(self.scan.brain[0].numpy().astype(np.uint8))
        return box


@dataclass(frozen=True)
class Fold:
    """Who may be trained on while these are tested.

    Args:
        name: Of the fold.
        pool: Names of cases that training draws its patients from.
        test: Names of cases; none of their patients is in the pool.
    """

    name: str
    pool: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Cohort:
    """Cases by name, made when they are asked for.

    Args:
        name: What it is, said with every result.
        load: A case from its name.
        patients: Name of each case with lesions to patient.
        folds: Each a test set with its pool.
        healthy_hosts: Cases without lesions that may be trained on.
        healthy_test: Cases without lesions to count false lesions in.
    """

    name: str
    load: Callable[[str], Case]
    patients: Mapping[str, str]
    folds: tuple[Fold, ...]
    healthy_hosts: tuple[str, ...] = ()
    healthy_test: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for fold in self.folds:
            check_apart(fold, self.patients)
        if shared := set(self.healthy_hosts) & set(self.healthy_test):
            raise LesionAugError(f"Expected other healthy scans to test than to train, got {sorted(shared)} in both")

    def cases(self, names: Iterable[str]) -> tuple[Case, ...]:
        """The named cases."""
        return tuple(self.load(name) for name in names)


def check_apart(fold: Fold, patients: Mapping[str, str]) -> None:
    """No patient is trained on and tested.

    Raises:
        LesionAugError: One is, a case is unknown, or one side is empty.
    """
    if unknown := [name for name in (*fold.pool, *fold.test) if name not in patients]:
        raise LesionAugError(f"Expected cases of the cohort in fold {fold.name}, got {', '.join(unknown)}; correct it")
    if not fold.pool or not fold.test:
        raise LesionAugError(f"Expected cases to train and to test in fold {fold.name}, got none; give more patients")
    if both := {patients[name] for name in fold.pool} & {patients[name] for name in fold.test}:
        raise LesionAugError(
            f"Expected other patients to test than to train, got {', '.join(sorted(both))} in both; move their scans"
        )


def leave_one_patient_out(patients: Mapping[str, str]) -> tuple[Fold, ...]:
    """A fold per patient, in order of their names.

    Args:
        patients: Name of each case to patient.
    """
    return tuple(
        Fold(
            patient,
            tuple(name for name, whose in patients.items() if whose != patient),
            tuple(name for name, whose in patients.items() if whose == patient),
        )
        for patient in sorted(set(patients.values()))
    )


def drawn_patients(fold: Fold, patients: Mapping[str, str], count: int, draw: int) -> tuple[str, ...]:
    """Cases of so many patients of the pool; those of fewer patients are among those of more, with the same draw.

    Draws go round a circle in which all patients sit in random order, so that no two of them are the same people.

    Raises:
        LesionAugError: The pool has fewer patients, or no more draws.
    """
    pool = sorted({patients[name] for name in fold.pool})
    if not 0 < count <= len(pool):
        raise LesionAugError(
            f"Expected 1 to {len(pool)} patients to train on in fold {fold.name}, got {count}; ask for fewer"
        )
    if not 0 <= draw < draws_of(len(pool), count):
        raise LesionAugError(
            f"Expected one of {draws_of(len(pool), count)} draws of {count} from {len(pool)} patients, got number "
            f"{draw}; others would be the same patients again: ask for more seeds instead"
        )
    chosen = np.roll(np.random.default_rng(0).permutation(pool), -draw)[:count]
    return tuple(name for name in fold.pool if patients[name] in chosen)


def draws_of(pool: int, count: int) -> int:
    """How many draws of so many patients are different ones; a single one where all are drawn."""
    return pool if count < pool else 1


def remembering(load: Callable[[str], Case]) -> Callable[[str], Case]:
    """Each case is made once."""
    return lru_cache(maxsize=None)(load)
