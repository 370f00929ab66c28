"""Folds of cross-validation that never show a patient on both sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping

FOLDS = 5


def folds_of(patients: Mapping[str, str], folds: int = FOLDS) -> list[dict[str, list[str]]]:
    """Folds as in nnU-Net's `splits_final.json`; none where there is one patient, who cannot be on both sides.

    Args:
        patients: Patient of each case: all variants of all time points stay together.
        folds: Or as many as there are patients, where they are fewer.

    Example:
        >>> folds_of({"a_v000": "a", "a_v001": "a", "b_v000": "b"})
        [{'train': ['b_v000'], 'val': ['a_v000', 'a_v001']}, {'train': ['a_v000', 'a_v001'], 'val': ['b_v000']}]
    """
    members: dict[str, list[str]] = defaultdict(list)
    for case, patient in sorted(patients.items()):
        members[patient].append(case)
    if len(members) < 2:
        return []
    # By a digest: names often follow the order of recruitment. Large ones first, so that folds are of one size.
    order = sorted(members, key=lambda patient: (-len(members[patient]), hashlib.sha256(patient.encode()).digest()))
    groups: list[list[str]] = [[] for _ in range(min(folds, len(members)))]
    for patient in order:
        min(groups, key=len).extend(members[patient])
    everybody = sorted(patients)
    return [{"train": [case for case in everybody if case not in set(group)], "val": sorted(group)} for group in groups]
