"""The scan that a case starts from: read, checked and measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lesionaug.checks import binary_mask
from lesionaug.dataset.facts import brain_box, is_skull_stripped, lesion_facts, room_facts
from lesionaug.dataset.settings import Settings
from lesionaug.dataset.sources import restricted
from lesionaug.errors import LesionAugError
from lesionaug.files import ScanFiles, read_scan
from lesionaug.layouts.core import SourceScan


@dataclass(frozen=True)
class Host:
    """A source as it was read.

    Args:
        files: Its scan.
        facts: About its own lesions, and where there is room for others.
    """

    files: ScanFiles
    facts: dict


def host_of(source: SourceScan, settings: Settings) -> Host:
    """Read a source.

    Raises:
        LesionAugError: Its files cannot be used, or not all that every case must have are there.
    """
    if missing := [channel for channel in settings.channels or () if channel not in source.images]:
        raise LesionAugError(
            f"Expected {', '.join(settings.channels or ())} of every scan, got no {', '.join(missing)} of "
            f"{source.subject}; leave the scan or the channel out (--channels)"
        )
    host = _read(tuple(sorted(paths_of(source, settings).items())))
    _check_label(source, host.files)
    return host


def paths_of(source: SourceScan, settings: Settings) -> dict[str, Path]:
    """Files of a source with the channels that are wanted, as `lesionaug.files.read_scan` takes them."""
    return roles_of(restricted(source, settings.channels))


def roles_of(source: SourceScan) -> dict[str, Path]:
    """Files of a source, likewise, with all channels."""
    lesions = {"lesions": source.lesions} if source.lesions else {}
    return {**source.images, **lesions, **source.guides}


@lru_cache(maxsize=1)
def _read(paths: tuple[tuple[str, Path], ...]) -> Host:
    """A source, kept for its next variant: finding the anatomy takes longer than drawing lesions."""
    files = read_scan(dict(paths))
    scan, affine = files.scan, files.affine
    facts = {
        "old": lesion_facts(scan, scan.lesion_mask, affine),
        "room": room_facts(scan, affine),
        "brain_box": brain_box(scan),
        "skull_stripped": is_skull_stripped(scan),
    }
    return Host(files, facts)


def _check_label(source: SourceScan, files: ScanFiles) -> None:
    """The one value in the label is one that stands for lesions."""
    mask, value = binary_mask(files.lesions.data, files.lesions.name)
    if source.lesion_values and mask.any() and int(value) not in source.lesion_values:
        raise LesionAugError(
            f"Expected lesions to be {' or '.join(map(str, source.lesion_values))} in the label, got {value:g} in "
            f"{files.lesions.name}; make a label of lesions alone"
        )
