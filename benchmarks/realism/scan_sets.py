"""What is to be judged: folders of real and of generated scans, in any layout that `lesionaug` reads or writes.

Where a folder has the `manifest.jsonl` of `lesionaug generate`, or one that another tool wrote (`case`, `source`,
`patient`, and `files` by role), it says which scan a case was made from, and which lesions are new.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lesionaug.pretrain.sources import find_sources

from lesionaug.dataset.manifest import MANIFEST
from lesionaug.dataset.place import PLAN_FILE
from lesionaug.dataset.produce import INSTANCES, LESION, NEW
from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import LayoutName
from lesionaug.layouts.core import SourceScan
from lesionaug.record import Record
from lesionaug.scan import CHANNELS

Which = Literal["new", "all"]


@dataclass(frozen=True)
class GeneratedScan:
    """A scan with synthetic lesions.

    Args:
        files: Of the scan, with a label of all its lesions.
        new: The same with a label of those to be judged; none where they are all, or all that the host has not.
        host: The real scan that it was made from, where that is among the real ones.
        minus_host: Whether lesions of the host are not to be judged, and no label says which they are.
    """

    files: SourceScan
    new: SourceScan | None = None
    host: SourceScan | None = None
    minus_host: bool = False


@dataclass(frozen=True)
class GeneratedSet:
    """The scans of one method.

    Args:
        name: Of the method.
        scans: Its scans.
        note: How lesions to be judged are told from others.
    """

    name: str
    scans: tuple[GeneratedScan, ...]
    note: str

    @property
    def paired(self) -> bool:
        """Whether every scan was made from a real one that is at hand."""
        return all(scan.host for scan in self.scans)


def find_real(root: Path, layout: LayoutName = "auto") -> tuple[SourceScan, ...]:
    """Real scans with labels.

    Raises:
        LesionAugError: There are none, or they are of one patient.
    """
    scans = find_labelled(root, layout)
    patients = sorted({scan.patient for scan in scans})
    if len(patients) < 2:
        raise LesionAugError(
            f"Expected real scans of two patients or more, to compare real with real, got one, {patients[0]}, in "
            f"{root}; add patients, or name them in a table (column patient)"
        )
    return scans


def find_labelled(root: Path, layout: LayoutName = "auto") -> tuple[SourceScan, ...]:
    """Scans with labels.

    Raises:
        LesionAugError: There are none.
    """
    return find_sources([root.expanduser().absolute()], layout)[0].scans


def find_generated(
    name: str, root: Path, real: Sequence[SourceScan], which: Which, layout: LayoutName = "auto"
) -> GeneratedSet:
    """Scans of a method.

    Args:
        name: Of the method.
        root: Folder or table.
        real: Scans that they may have been made from.
        which: Whether to judge the lesions that the method made, or all in the label.
        layout: How files are named; a manifest goes before.

    Raises:
        LesionAugError: There are none, the manifest cannot be used, or nothing says which lesions are new.
    """
    root = root.expanduser().absolute()
    if not (root / MANIFEST).is_file():
        scans = find_labelled(root, layout)
        return GeneratedSet(name, tuple(map(GeneratedScan, scans)), f"no {MANIFEST}: all lesions in the labels")
    hosts = {scan.subject: scan for scan in real}
    scans = tuple(_from_line(root, line, hosts, which) for line in _lines(root / MANIFEST))
    if not scans:
        raise LesionAugError(f"Expected generated cases, got an empty {root / MANIFEST}; generate some first")
    note = "lesions that the manifest calls new" if which == "new" else "all lesions, those of the hosts too"
    return GeneratedSet(name, scans, note)


def _lines(manifest: Path) -> Iterator[Mapping]:
    try:
        for line in manifest.read_text().splitlines():
            entry = json.loads(line)
            yield {key: entry[key] for key in ("case", "source", "patient", "files")} | {"old": entry.get("old")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LesionAugError(
            f"Expected lines with case, source, patient and files, got something else in {manifest} ({error!r}); "
            "generate again, or take the manifest away: then all lesions are judged"
        ) from error


def _from_line(root: Path, line: Mapping, hosts: Mapping[str, SourceScan], which: Which) -> GeneratedScan:
    named = {name: root / path for name, path in line["files"].items()}
    if LESION not in named:
        raise LesionAugError(
            f"Expected {LESION} among the files of {line['case']}, got {', '.join(named)}; "
            "pairs of visits and cases without a label cannot be judged: generate single cases"
        )
    images = {channel: named[f"{channel}.nii.gz"] for channel in CHANNELS if f"{channel}.nii.gz" in named}
    host = hosts.get(line["source"])
    patient, brain = (host.patient, host.brain) if host else (line["patient"], None)
    files = SourceScan(line["case"], patient, images, named[LESION], brain=brain)
    if which == "all":
        return GeneratedScan(files, host=host)
    if NEW in named:
        return GeneratedScan(files, replace(files, lesions=named[NEW]), host)
    if INSTANCES in named:
        numbers = tuple(range(1, len(Record.read(named[PLAN_FILE]).plan["lesions"]) + 1))
        return GeneratedScan(files, replace(files, lesions=named[INSTANCES], lesion_values=numbers), host)
    if host or (line["old"] and not line["old"]["voxels"]):
        return GeneratedScan(files, host=host, minus_host=host is not None)
    raise LesionAugError(
        f"Expected to know which lesions of {line['case']} are new, got neither {NEW} nor its source {line['source']} "
        "among the real scans; generate with --new-only, or judge --lesions all"
    )
