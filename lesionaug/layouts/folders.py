"""The plain layout: a folder per scan, or masks side by side.

SCAN/flair.nii.gz, t1w.nii.gz (or t1), t2w.nii.gz (or t2), lesion.nii.gz, brainmask.nii.gz
SCAN_lesion.nii.gz, SCAN_brainmask.nii.gz
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lesionaug.layouts.core import NIFTI, SourceScan, nifti_below, patient_of, stem_of

NAMES = {"flair": ("flair",), "t1w": ("t1w", "t1"), "t2w": ("t2w", "t2")}


def find(root: Path) -> Iterator[SourceScan]:
    """All scans below a folder."""
    masks = nifti_below(root, "*lesion")
    labelled = {path.parent for path in masks if stem_of(path) == "lesion"}
    for lesions in masks:
        prefix = stem_of(lesions).removesuffix("lesion")
        subject = prefix.rstrip("_-.") or lesions.parent.name
        images = {} if prefix else _images(lesions.parent)
        brain = _beside(lesions.parent, f"{prefix}brainmask")
        yield SourceScan(subject, patient_of(subject), images, lesions, brain=brain)
    for folder in sorted({path.parent for path in nifti_below(root)} - labelled):
        if images := _images(folder):
            yield SourceScan(folder.name, patient_of(folder.name), images, brain=_beside(folder, "brainmask"))


def _images(folder: Path) -> dict[str, Path]:
    found = {channel: [_beside(folder, name) for name in names] for channel, names in NAMES.items()}
    return {channel: path for channel, paths in found.items() if (path := next(filter(None, paths), None))}


def _beside(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}{suffix}" for suffix in NIFTI)
    return next((path for path in candidates if path.exists()), None)
