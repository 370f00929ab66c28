"""open_ms_data as it is published: patients in several processings, and pairs with a mask of what changed.

    cross_sectional/coregistered_resampled/patient01/FLAIR.nii.gz, T1W, T2W, consensus_gt, brainmask      (1 mm)
    cross_sectional/coregistered/patient01/...                                                        (as scanned)
    cross_sectional/MNI/patient01/FLAIR_*_regtoMNI.nii.gz, GOLD_STANDARD_*_regtoMNI.nii.gz  (stripped; rigid, true size)
    cross_sectional/raw/patient01/...                                     (only FLAIR is on the grid of the label)
    longitudinal/coregistered/patient01/study1_FLAIR.nii.gz, study2_FLAIR.nii.gz, gt.nii.gz, brainmask

Names may start with the patient's. A patient is taken once, from the first processing in this order that has images
and label. Longitudinal patients are others than the cross-sectional ones of the same number.

Reference:
    Lesjak et al., Neuroinformatics 16, 51-63 (2018), and 14, 403-420 (2016).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lesionaug.layouts.core import SourceScan, channel_of, nifti_below, only, stem_of

PROCESSINGS = ("coregistered_resampled", "coregistered", "MNI", "raw")
HEADERS_APART_MM = 0.5  # label and brain mask of one grid were published with origins up to 0.45 mm apart


def find(root: Path) -> Iterator[SourceScan]:
    """All patients below a folder, cross-sectional ones first."""
    folders: dict[str, list[Path]] = defaultdict(list)
    for folder in sorted({path.parent for path in nifti_below(root) if _is_patient(path.parent)}):
        folders[_subject(folder)].append(folder)
    for subject, found in sorted(folders.items(), key=lambda item: (item[0].startswith("long"), item[0])):
        scans = [_scans(subject, folder) for folder in sorted(found, key=_rank)]
        yield from next((scan for scan in scans if _is_complete(scan)), scans[0])


def _is_patient(folder: Path) -> bool:
    return re.fullmatch(r"patient\d+", folder.name) is not None


def _subject(folder: Path) -> str:
    longitudinal = any(path.name.startswith(("study1", "study2")) for path in folder.iterdir())
    return f"longitudinal-{folder.name}" if longitudinal else folder.name


def _rank(folder: Path) -> int:
    name = folder.parent.name
    return PROCESSINGS.index(name) if name in PROCESSINGS else len(PROCESSINGS)


def _is_complete(scans: list[SourceScan]) -> bool:
    return any(scan.images and scan.lesions for scan in scans)


def _scans(subject: str, folder: Path) -> list[SourceScan]:
    files = {stem_of(path).removeprefix(f"{folder.name}_"): path for path in nifti_below(folder)}
    note = f"from {folder.parent.name}"
    if subject.startswith("longitudinal"):
        return [_study(subject, files, study, note) for study in ("study1", "study2")]
    images = _images(files)
    if folder.parent.name == "raw":
        images = {channel: path for channel, path in images.items() if channel == "flair"}
    return [_scan(subject, subject, images, files, note)]


def _study(patient: str, files: dict[str, Path], study: str, note: str) -> SourceScan:
    images = _images({name.removeprefix(f"{study}_"): path for name, path in files.items() if name.startswith(study)})
    label = {name: path for name, path in files.items() if study == "study2" or name == "brainmask"}
    return _scan(f"{patient}_T{study[-1]}", patient, images, label, note, partial=True)


def _images(files: dict[str, Path]) -> dict[str, Path]:
    found: dict[str, list[Path]] = defaultdict(list)
    for name, path in files.items():
        if channel := channel_of(name.split("_")[0]):
            found[channel].append(path)
    return {channel: path for channel, paths in found.items() if (path := only(paths, f"{channel} image"))}


def _scan(
    subject: str, patient: str, images: dict[str, Path], files: dict[str, Path], note: str, *, partial: bool = False
) -> SourceScan:
    labels = [
        path for name, path in files.items() if name in ("consensus_gt", "gt") or name.startswith("GOLD_STANDARD")
    ]
    return SourceScan(
        subject,
        patient,
        images,
        only(labels, "lesion label"),
        brain=files.get("brainmask"),
        partial=partial,
        apart_mm=HEADERS_APART_MM,
        note=note,
    )
