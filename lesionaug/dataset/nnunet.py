"""Output as nnU-Net's raw data set: images, labels, `dataset.json`, and splits that keep patients together.

A pair's channels are those of its baseline, then those of its follow-up; its label says what became of lesions.
`splits_final.json` belongs into the folder of nnU-Net's preprocessed data, once it is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from lesionaug.dataset.cases import Case
from lesionaug.dataset.place import CHANGE, visit_of
from lesionaug.dataset.splits import folds_of
from lesionaug.evolution import CHANGES, VISITS

NAMES = {"flair": "FLAIR", "t1w": "T1w", "t2w": "T2w"}
FOLDERS = {"lesion.nii.gz": "labelsTr", "new_lesion.nii.gz": "labelsTr_new", "instances.nii.gz": "labelsTr_instances"}
"""Of the labels; nnU-Net looks into the first alone."""


def place(case: Case, name: str, channels: Sequence[str]) -> str:
    """See `OutputLayout`."""
    visit, own = visit_of(name)
    if name == CHANGE:
        return f"labelsTr/{case.name}.nii.gz"
    if own in FOLDERS:
        return f"{FOLDERS[own]}{'_' * bool(visit)}{visit}/{case.name}.nii.gz"
    first = len(channels) * VISITS.index(visit) if visit else 0
    number = first + list(channels).index(own.removesuffix(".nii.gz"))
    return f"imagesTr/{case.name}_{number:04d}.nii.gz"


def describe(identity: dict, lines: Sequence[dict]) -> dict[str, bytes]:
    """See `OutputLayout`."""
    dataset = {
        "channel_names": {str(number): name for number, name in enumerate(_channel_names(identity))},
        "labels": {"background": 0, **{name: value for value, name in enumerate(_label_names(identity), start=1)}},
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


def _channel_names(identity: dict) -> list[str]:
    names = [NAMES[channel] for channel in identity["channels"]]
    return [f"{name} {visit}" for visit in VISITS for name in names] if identity.get("changes") else names


def _label_names(identity: dict) -> tuple[str, ...]:
    return CHANGES if identity.get("changes") else ("lesion",)


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
