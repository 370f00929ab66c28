"""nnU-Net's raw format: `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz`, `dataset.json` with names for both.

It knows no patients: a case named like `CASE_T2`, `CASE_ses-2` or `CASE-tp2` is a time point of `CASE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan, channel_of, patient_of

LESION_WORDS = ("lesion", "wmh", "ms", "plaque")


def find(root: Path) -> Iterator[SourceScan]:
    """All training cases of a data set."""
    dataset = _dataset(root)
    channels = _channels(dataset, root)
    ending = dataset.get("file_ending", ".nii.gz")
    values = _lesion_values(dataset, root) if (root / "labelsTr").is_dir() else None
    cases = {_case(path, ending) for path in (root / "imagesTr").glob(f"*_????{ending}")}
    cases |= {path.name.removesuffix(ending) for path in (root / "labelsTr").glob(f"*{ending}")}
    for case in sorted(cases):
        images = {
            channel: path
            for number, channel in channels.items()
            if (path := root / "imagesTr" / f"{case}_{number:04d}{ending}").exists()
        }
        label = root / "labelsTr" / f"{case}{ending}"
        yield SourceScan(case, patient_of(case), images, label if label.exists() else None, values)


def _dataset(root: Path) -> dict:
    try:
        return json.loads((root / "dataset.json").read_text())
    except (OSError, ValueError) as error:
        raise LesionAugError(
            f"Expected a dataset.json that names channels and labels, got none that can be read in {root} ({error}); "
            "nnU-Net's documentation says what it holds"
        ) from error


def _case(path: Path, ending: str) -> str:
    return re.sub(r"_\d{4}$", "", path.name.removesuffix(ending))


def _channels(dataset: dict, root: Path) -> dict[int, str]:
    names = dataset.get("channel_names") or dataset.get("modality") or {}
    known = {int(number): channel for number, name in names.items() if (channel := channel_of(str(name)))}
    if not known or len(set(known.values())) < len(known):
        raise LesionAugError(
            f"Expected channels called FLAIR, T1 or T2, each once, got {', '.join(map(str, names.values())) or 'none'} "
            f"in {root / 'dataset.json'}; rename them there, or name the files in a table (--layout table)"
        )
    return known


def _lesion_values(dataset: dict, root: Path) -> tuple[int, ...]:
    """Values of the labels called lesion; of the only label, whatever it is called."""
    labels = {
        str(name): value if isinstance(value, list) else [value]
        for name, value in dataset.get("labels", {}).items()
        if name not in ("background", "ignore")
    }
    named = [value for name, value in labels.items() if is_lesion(name)] or list(labels.values())
    if not named or (len(named) > 1 and not any(map(is_lesion, labels))):
        raise LesionAugError(
            f"Expected a label whose name says lesion, got {', '.join(labels) or 'none'} in {root / 'dataset.json'}; "
            "rename it there, or name the files in a table (--layout table)"
        )
    return tuple(sorted({int(number) for numbers in named for number in numbers}))


def is_lesion(name: str) -> bool:
    """Whether the name of a label says lesion."""
    return any(word in LESION_WORDS for word in re.split(r"[^a-z]+", name.lower())) or "lesion" in name.lower()
