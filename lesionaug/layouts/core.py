"""What a layout says about a scan: its name, whose it is, and its files. Nothing is opened here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lesionaug.errors import LesionAugError

NIFTI = (".nii.gz", ".nii")

CHANNEL_WORDS = {
    "flair": ("flair", "t2flair", "flairt2", "t2wflair"),
    "t1w": ("t1", "t1w", "t1n", "t1mprage", "mprage"),
    "t2w": ("t2", "t2w"),
}
"""How people call the contrasts that the models know; letters and digits only, lower case."""

TIME_POINT = re.compile(r"[_-](?:(?:T|tp|time|visit|study)[-_]?\d+|ses-?[A-Za-z0-9]+)$", re.IGNORECASE)


@dataclass(frozen=True)
class SourceScan:
    """Files of one scan, on one grid.

    Args:
        subject: Name of the scan, unique in its data set.
        patient: Time points of a patient share it.
        images: Channel to file; may be empty.
        lesions: Lesion label; None where there is none.
        lesion_values: Values of the label that are lesions; whatever is not 0 if not given.
        brain: Brain mask; derived from the images if not given.
        guides: Maps of where lesions may be, by role: `eligible`, `labels`.
        partial: Whether the label leaves lesions out, as a mask of changes does.
        apart_mm: How far the headers of the files may disagree.
        note: What a user should know about how the files were chosen.
    """

    subject: str
    patient: str
    images: Mapping[str, Path] = field(default_factory=dict)
    lesions: Path | None = None
    lesion_values: tuple[int, ...] | None = None
    brain: Path | None = None
    guides: Mapping[str, Path] = field(default_factory=dict)
    partial: bool = False
    apart_mm: float = 1e-2
    note: str = ""


Find = Callable[[Path], Iterator[SourceScan]]
"""A layout: all scans below a folder, in order of their names."""


def channel_of(name: str) -> str | None:
    """The contrast that a name stands for, None if the models do not know it.

    Example:
        >>> [channel_of(name) for name in ("T2-FLAIR", "T1W", "T1ce", "T2")]
        ['flair', 't1w', None, 't2w']
    """
    word = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((channel for channel, words in CHANNEL_WORDS.items() if word in words), None)


def patient_of(subject: str) -> str:
    """The name of a scan without its time point.

    Example:
        >>> [patient_of(name) for name in ("P14_T2", "sub-03_ses-m12", "case_007", "MS12-tp1", "Ann_Test")]
        ['P14', 'sub-03', 'case_007', 'MS12', 'Ann_Test']
    """
    return TIME_POINT.sub("", subject)


def stem_of(path: Path) -> str:
    """Name of a file without the suffix of a NIfTI file."""
    return next((path.name.removesuffix(suffix) for suffix in NIFTI if path.name.endswith(suffix)), path.stem)


def nifti_below(root: Path, pattern: str = "*") -> list[Path]:
    """NIfTI files below a folder whose name fits, sorted; files that an operating system hides are not data."""
    found = {path for suffix in NIFTI for path in root.rglob(pattern + suffix)}
    return sorted(path for path in found if not path.name.startswith("."))


def only(files: Iterable[Path], what: str) -> Path | None:
    """The one file there is, None where there is none.

    Raises:
        LesionAugError: There are several.
    """
    found = sorted(files)
    if len(found) > 1:
        raise LesionAugError(
            f"Expected one {what}, got {', '.join(path.name for path in found)} in {found[0].parent}; "
            "keep one, or name the files in a table (--layout table)"
        )
    return found[0] if found else None
