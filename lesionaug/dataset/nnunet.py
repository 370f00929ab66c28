"""Output as nnU-Net's raw data set: images, labels, `dataset.json`, and splits that keep patients together.

`splits_final.json` belongs into the folder of nnU-Net's preprocessed data, once it is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from lesionaug.dataset.cases import Case
from lesionaug.dataset.splits import folds_of

NAMES = {"flair": "FLAIR", "t1w": "T1w", "t2w": "T2w"}
FOLDERS = {"lesion.nii.gz": "labelsTr", "new_lesion.nii.gz": "labelsTr_new", "instances.nii.gz": "labelsTr_instances"}
"""Of the labels; nnU-Net looks into the first alone."""


def place(case: Case, name: str, channels: Sequence[str]) -> str:
    """See `OutputLayout`."""
    if name in FOLDERS:
        return f"{FOLDERS[name]}/{case.name}.nii.gz"
    number = list(channels).index(name.removesuffix(".nii.gz"))
    return f"imagesTr/{case.name}_{number:04d}.nii.gz"


def describe(identity: dict, lines: Sequence[dict]) -> dict[str, bytes]:
    """See `OutputLayout`."""
    dataset = {
        "channel_names": {str(number): NAMES[channel] for number, channel in enumerate(identity["channels"])},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(lines),
        "file_ending": ".nii.gz",
        "name": "Synthetic multiple-sclerosis lesions",
        "description": f"Made by lesionaug {identity['versions']['lesionaug']}, seed {identity['seed']}; "
        "manifest.jsonl says what each case was made from",
    }
    files = {"dataset.json": dataset}
    patients = {line["case"]: line["patient"] for line in lines}
    folds = folds_of(patients)
    return {name: _json(content) for name, content in {**files, "splits_final.json": folds}.items() if content}


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
