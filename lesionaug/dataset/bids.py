"""Output as a BIDS derivative: `sub-01/ses-1/anat/sub-01_ses-1_rec-v000_desc-synthetic_FLAIR.nii.gz`.

All variants of a scan belong to its subject, and differ in `rec-`. The visits of a pair are sessions, `ses-baseline`
and `ses-followup`, or `ses-1baseline` and `ses-1followup` of session 1; what became of lesions is in the latter.

Reference:
    BIDS specification 1.10, derivatives: imaging data, common data types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from lesionaug.dataset.cases import Case
from lesionaug.dataset.place import CHANGE, RECORDS, visit_of
from lesionaug.evolution import CHANGES, FOLLOWUP
from lesionaug.layouts.core import SourceScan

SUFFIXES = {"flair": "FLAIR", "t1w": "T1w", "t2w": "T2w"}
LABELS = {
    "lesion.nii.gz": "label-lesion_desc-synthetic_mask",
    "new_lesion.nii.gz": "label-lesion_desc-syntheticnew_mask",
    "instances.nii.gz": "desc-syntheticnew_dseg",
    CHANGE: "desc-change_dseg",
}
MEANINGS = {
    "label-lesion_desc-synthetic_mask": "Existing and synthetic lesions",
    "label-lesion_desc-syntheticnew_mask": "Synthetic lesions",
    "desc-syntheticnew_dseg": "Synthetic lesions, each with a number",
    "desc-change_dseg": "Lesions of both sessions by what became of them from baseline to follow-up",
}
README = """Synthetic multiple-sclerosis lesions in real scans, made by lesionaug.

Voxels outside of the new lesions are those of the source. records/ has a plan.json for each scan, which says what it
was made from and with; `lesionaug replay` makes the same files again from it. manifest.jsonl has a line for each scan.
"""


def place(case: Case, name: str, channels: Sequence[str]) -> str:
    """See `OutputLayout`."""
    visit, own = visit_of(name)
    folder, stem = entities_of(case.source, FOLLOWUP if name == CHANGE else visit)
    channel = own.removesuffix(".nii.gz")
    end = f"desc-synthetic_{SUFFIXES[channel]}" if channel in SUFFIXES else LABELS[own]
    return f"{folder}/anat/{stem}_rec-v{case.variant:03d}_{end}.nii.gz"


def entities_of(source: SourceScan, visit: str = "") -> tuple[str, str]:
    """Folder and first part of the names of a source: subject and, where there is one, session.

    Args:
        source: Of the case.
        visit: Of the pair, if it is one.

    Example:
        >>> entities_of(SourceScan("sub-01_ses-m12", "sub-01"))
        ('sub-01/ses-m12', 'sub-01_ses-m12')
        >>> entities_of(SourceScan("P14_T1", "P14"))
        ('sub-P14/ses-T1', 'sub-P14_ses-T1')
        >>> entities_of(SourceScan("P14_T1", "P14"), "followup")
        ('sub-P14/ses-T1followup', 'sub-P14_ses-T1followup')
    """
    subject = f"sub-{_label(source.patient.removeprefix('sub-'))}"
    rest = _label(source.subject.removeprefix(source.patient).removeprefix("_ses-")) + visit
    entities = [subject, f"ses-{rest}"] if rest else [subject]
    return "/".join(entities), "_".join(entities)


def sidecars(places: Mapping[str, str], facts: dict) -> dict[str, bytes]:
    """See `OutputLayout`."""
    files = {}
    about_image = {
        "Description": "Real scan with synthetic lesions, by lesionaug",
        "SkullStripped": facts["skull_stripped"],
    }
    for name, path in places.items():
        stem, own = path.removesuffix(".nii.gz"), visit_of(name)[1]
        if own in LABELS:
            files[f"{stem}.json"] = _json({"Type": "Lesion", "Description": f"{MEANINGS[LABELS[own]]}, by lesionaug"})
        else:
            files[f"{stem}.json"] = _json(about_image)
        if own == CHANGE:
            rows = [f"{value}\t{change}" for value, change in enumerate(("background", *CHANGES))]
            files[f"{stem}.tsv"] = ("\n".join(["index\tname", *rows]) + "\n").encode()
    return files


def describe(identity: dict, lines: Sequence[dict]) -> dict[str, bytes]:
    """See `OutputLayout`."""
    description = {
        "Name": "Synthetic multiple-sclerosis lesions",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "lesionaug", "Version": identity["versions"]["lesionaug"]}],
    }
    return {
        "dataset_description.json": _json(description),
        "README": README.encode(),
        ".bidsignore": f"{RECORDS}\n.generate\n*.jsonl\ngenerate.json\nreport.html\n".encode(),
    }


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", text)


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
