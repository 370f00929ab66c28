"""The scans that get lesions: found, named, and told apart from those that cannot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import LayoutName, find_scans
from lesionaug.layouts.core import SourceScan
from lesionaug.layouts.patterns import find_by_patterns
from lesionaug.scan import CHANNELS
from lesionaug.words import counted

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Sources:
    """What was found.

    Args:
        scans: Sources, by name.
        notes: What a user should know about the choice.
    """

    scans: tuple[SourceScan, ...]
    notes: tuple[str, ...]


def find_sources(root: Path, layout: LayoutName, patterns: Sequence[str]) -> Sources:
    """Scans with images below a folder or in a table.

    Args:
        root: Folder or table.
        layout: How files are named; `auto` looks.
        patterns: Instead of a layout, see `find_by_patterns`.

    Raises:
        LesionAugError: There is none, or names cannot be those of files.
    """
    root = root.expanduser().absolute()
    name, found = ("patterns", find_by_patterns(root, patterns)) if patterns else find_scans(root, layout)
    scans = [scan for scan in found if scan.images and not scan.partial]
    if not scans:
        raise LesionAugError(
            f"Expected scans with images, got none in {root} (layout {name}); "
            "check the path, or name the files: --patterns 'flair={id}_FLAIR.nii.gz' or a table"
        )
    _check_names(scans)
    patients = counted(len({scan.patient for scan in scans}), "patient")
    notes = [f"{counted(len(scans), 'scan')} of {patients} in {root} (layout {name})"]
    if bare := [scan.subject for scan in found if not scan.images]:
        notes.append(f"left out, as there is no image: {_some(bare)}")
    if partial := [scan.subject for scan in found if scan.images and scan.partial]:
        notes.append(f"left out, as the label leaves lesions out: {_some(partial)}")
    return Sources(tuple(scans), tuple(notes))


def choose_channels(scans: Sequence[SourceScan], wanted: Sequence[str], *, alike: bool) -> tuple[str, ...] | None:
    """Channels that every case is to have; None for all that each has.

    Args:
        scans: Sources.
        wanted: Asked for; a scan without one of them is a bad case.
        alike: Whether all cases of the data set must have the same.

    Raises:
        LesionAugError: None that all have, or an unknown one.
    """
    if unknown := [channel for channel in wanted if channel not in CHANNELS]:
        raise LesionAugError(f"Expected channels among {', '.join(CHANNELS)}, got {', '.join(unknown)}; correct them")
    if wanted or not alike:
        return tuple(channel for channel in CHANNELS if channel in wanted) or None
    common = tuple(channel for channel in CHANNELS if all(channel in scan.images for scan in scans))
    if not common:
        raise LesionAugError(
            "Expected a channel that all scans have, as nnU-Net wants the same of every case, got none; "
            "choose scans, or --channels"
        )
    return common


def restricted(scan: SourceScan, channels: tuple[str, ...] | None) -> SourceScan:
    """A source with these channels alone; those it lacks are noticed when it is read."""
    if channels is None:
        return scan
    return replace(scan, images={channel: path for channel, path in scan.images.items() if channel in channels})


def _check_names(scans: Sequence[SourceScan]) -> None:
    names = Counter(scan.subject for scan in scans)
    if twice := [name for name, count in names.items() if count > 1]:
        raise LesionAugError(
            f"Expected scans of different names, got several called {', '.join(twice)}; name them in a table"
        )
    if odd := [name for name in names if not NAME.fullmatch(name)]:
        raise LesionAugError(
            f"Expected names of letters, digits, '.', '_' and '-', got {', '.join(map(repr, odd))}; "
            "name the scans in a table"
        )


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
