"""MSLesSeg as it is published: a folder per patient and time point, `P1/T1/P1_T1_FLAIR.nii.gz`; no brain masks.

T1 to T4 after the patient is a time point, T1 at the end a weighting. Test patients have one time point and no label
for it: `P54/P54_FLAIR.nii.gz`. Images are stripped, and stretched to MNI space: `--scale` gives brains their own size.

Reference:
    Guarnera et al., "MSLesSeg", Scientific Data 12, 920 (2025).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lesionaug.layouts.core import SourceScan, channel_of, nifti_below

NAME = re.compile(r"(P\d+)(_T\d+)?_(FLAIR|T1|T2|MASK)\.nii(?:\.gz)?")


def find(root: Path) -> Iterator[SourceScan]:
    """All scans below a folder."""
    scans: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in nifti_below(root, "P*"):
        if match := NAME.fullmatch(path.name):
            patient, time, kind = match.groups()
            scans[patient + (time or "")][kind] = path
    for subject, files in sorted(scans.items()):
        images = {channel: path for kind, path in files.items() if (channel := channel_of(kind))}
        yield SourceScan(subject, subject.split("_")[0], images, files.get("MASK"))
