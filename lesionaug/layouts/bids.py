"""BIDS: images of `sub-XX[/ses-YY]/anat`, masks in `derivatives`; sessions are time points of a patient.

Lesions are files of a session whose `label-` or `desc-` says lesion, or which are called `*_mask` and say nothing
else; the brain is `desc-brain_mask` or `label-brain_mask`. Where the lesion mask names a `space-`, images of the same
space in `derivatives` are taken before the raw ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lesionaug.layouts.core import SourceScan, nifti_below, only, stem_of

SUFFIXES = {"FLAIR": "flair", "T1w": "t1w", "T2w": "t2w"}
MASKS = ("mask", "dseg", "roi")
SESSION = re.compile(r"(sub-[A-Za-z0-9]+)(_ses-[A-Za-z0-9]+)?_")


def find(root: Path) -> Iterator[SourceScan]:
    """All sessions of a data set."""
    sessions: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in nifti_below(root, "sub-*"):
        if match := SESSION.match(path.name):
            patient, session = match.groups()
            sessions[patient, session or ""].append(path)
    for (patient, session), files in sorted(sessions.items()):
        yield _scan(patient + session, patient, files)


def _scan(subject: str, patient: str, files: list[Path]) -> SourceScan:
    masks = [path for path in files if _suffix(path) in MASKS]
    named = [path for path in masks if re.search(r"lesion|wmh", _meaning(path), re.IGNORECASE)]
    bare = [path for path in masks if not _meaning(path) and _suffix(path) == "mask"]
    lesions = only(named or bare, f"lesion mask of {subject}")
    brain = only((path for path in masks if "brain" in _meaning(path)), f"brain mask of {subject}")
    space = _entity(lesions, "space") if lesions else ""
    found = {channel: _image(subject, channel, suffix, files, space) for suffix, channel in SUFFIXES.items()}
    return SourceScan(subject, patient, {c: path for c, path in found.items() if path}, lesions, brain=brain)


def _image(subject: str, channel: str, suffix: str, files: list[Path], space: str) -> Path | None:
    images = [path for path in files if _suffix(path) == suffix]
    same = [path for path in images if space and _entity(path, "space") == space]
    raw = [path for path in images if "derivatives" not in path.parts and not _entity(path, "space")]
    return only(same or raw, f"{channel} image of {subject}")


def _suffix(path: Path) -> str:
    return stem_of(path).rsplit("_", 1)[-1]


def _entity(path: Path, key: str) -> str:
    match = re.search(rf"_{key}-([A-Za-z0-9]+)", path.name)
    return match.group(1) if match else ""


def _meaning(path: Path) -> str:
    return _entity(path, "label") + _entity(path, "desc")
