"""Lesions of a store or of sources, scan by scan, without their voxels: for statistics and splits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cc3d
import numpy as np
from lesionaug.pretrain.cutting import measured, record_of, voxels_of
from lesionaug.pretrain.index import FILE, LesionRecord, ScanRecord, read_index
from lesionaug.pretrain.labelled import THIS
from lesionaug.pretrain.patches import PatchGroup, read_store
from lesionaug.pretrain.reading import read_label
from lesionaug.pretrain.sources import find_sources

from lesionaug.layouts.choice import LayoutName
from lesionaug.layouts.core import SourceScan


def is_store(folder: Path) -> bool:
    """Whether a folder holds patches and not scans."""
    return (folder / FILE).exists() or (folder.is_dir() and any(folder.glob("*.safetensors")))


def records_of_store(store: Path) -> tuple[ScanRecord, ...]:
    """Scans of a store; one of format 1 knows nothing of lesions too large for a patch."""
    index = read_index(store)
    if index is not None:
        return index.scans
    groups: dict[str, list[PatchGroup]] = defaultdict(list)
    for group in read_store(store):
        groups[group.subject].append(group)
    return tuple(_of_patches(parts) for _, parts in sorted(groups.items()))


def records_of_sources(
    roots: Sequence[Path], layout: LayoutName, scale: Sequence[float], connectivity: Literal[6, 26]
) -> tuple[ScanRecord, ...]:
    """Scans of folders and tables; only their labels are read."""
    sources = find_sources(roots, layout, scale)
    return tuple(_of_label(files, source.scale, connectivity) for source in sources for files in source.scans)


def _of_label(files: SourceScan, scale: float, connectivity: Literal[6, 26]) -> ScanRecord:
    scan = read_label(files, scale)
    labels = np.asarray(cc3d.connected_components(scan.lesions, connectivity=connectivity))
    return record_of(scan, tuple(measured(voxels, scan, patch=True) for _, voxels in voxels_of(labels)), 0)


def _of_patches(groups: list[PatchGroup]) -> ScanRecord:
    """From the lesions in the middle of the patches, whose voxels are 1 mm wide."""
    first, healthy = groups[0], sum(len(group) for group in groups if group.healthy)
    lesions = tuple(_lesion(label[0].numpy()) for group in groups if not group.healthy for label in group.label)
    return ScanRecord(first.subject, first.patient, first.channels, (1.0, 1.0, 1.0), "unknown", lesions, healthy)


def _lesion(label: np.ndarray) -> LesionRecord:
    voxels = np.argwhere((label & THIS) > 0)
    radius = float(np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).max())
    return LesionRecord(float(len(voxels)), radius, (math.nan,) * 3, patch=True)
