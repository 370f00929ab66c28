"""What there is to learn from: sources, their scans, and the scans that cannot be used, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import LayoutName, find_scans
from lesionaug.layouts.core import SourceScan
from lesionaug.scan import CHANNELS

SCALES = (0.5, 2.0)
NO_LABEL = "no lesion label, so that lesions would pass for healthy tissue"
PARTIAL = "its label marks changes, not all lesions; --partial takes it all the same"


@dataclass(frozen=True)
class Source:
    """A folder or table.

    Args:
        root: Where it is.
        layout: How its files are named.
        scale: Factor on the voxel size.
        scans: To be used.
        unused: Subject and reason of the others.
    """

    root: Path
    layout: str
    scale: float
    scans: tuple[SourceScan, ...]
    unused: tuple[tuple[str, str], ...] = ()


def find_sources(
    roots: Sequence[Path],
    layout: LayoutName = "auto",
    scale: Sequence[float] = (1.0,),
    channels: Sequence[str] = CHANNELS,
    *,
    partial: bool = False,
) -> list[Source]:
    """What there is in folders and tables; no image is read yet.

    Args:
        roots: Where to look.
        layout: Of all of them, or auto.
        scale: Factor on the voxel size, one for all or one for each.
        channels: Contrasts to take, of those there are.
        partial: Whether labels that leave lesions out are used.

    Raises:
        LesionAugError: Nothing is found, nothing has a label, or two scans have one name.
    """
    if not roots:
        raise LesionAugError("Expected a folder of scans or a table, got none; name one or more")
    check_known("channel", channels, CHANNELS)
    pairs = zip(roots, _for_each(scale, len(roots)), strict=True)
    sources = [_source(root, layout, factor, channels, partial) for root, factor in pairs]
    if not any(source.scans for source in sources):
        reasons = "; ".join(sorted({reason for source in sources for _, reason in source.unused}))
        raise LesionAugError(f"Expected scans with lesion labels, got only others: {reasons}; add the labels")
    _check_unique(files.subject for source in sources for files in source.scans)
    return sources


def _source(root: Path, layout: LayoutName, scale: float, channels: Sequence[str], partial: bool) -> Source:
    chosen, found = find_scans(root, layout)
    judged = [(files, _reason(files, partial)) for files in found]
    used = [replace(files, images=_taken(files, channels)) for files, reason in judged if not reason]
    unused = tuple((files.subject, reason) for files, reason in judged if reason)
    return Source(root, chosen, scale, tuple(used), unused)


def _taken(files: SourceScan, channels: Sequence[str]) -> dict[str, Path]:
    return {channel: files.images[channel] for channel in channels if channel in files.images}


def _reason(files: SourceScan, partial: bool) -> str:
    if files.lesions is None:
        return NO_LABEL
    return PARTIAL if files.partial and not partial else ""


def _for_each(scale: Sequence[float], count: int) -> list[float]:
    low, high = SCALES
    if len(scale) not in (1, count) or not all(low <= factor <= high for factor in scale):
        raise LesionAugError(
            f"Expected one --scale for all sources or one for each of {count}, from {low} to {high}, "
            f"got {' '.join(f'{factor:g}' for factor in scale)}; correct it"
        )
    return list(scale) * count if len(scale) == 1 else list(scale)


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise LesionAugError(
                f"Expected scans of different names, got {name} twice; name them apart in a table (--layout table), or "
                "prepare their sources into different stores"
            )
        seen.add(name)
