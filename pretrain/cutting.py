"""Cut a scan into patches at model spacing: one per lesion, and some of normal-appearing tissue.

    lesion (26-connected) ──► smallest patch that holds its control sphere ──► image | this, other, cut, brain

Every lesion that a patch touches is labelled. Where scan and model differ in spacing, each lesion keeps its volume:
the voxels it covers most, as many as make it up, and at least one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
import numpy as np
import torch
from lesionaug.pretrain.index import MODEL, LesionRecord, ScanRecord
from lesionaug.pretrain.labelled import (
    BRAIN,
    CUT,
    NEAR_CORTEX,
    NEAR_VENTRICLES,
    OTHER,
    THIS,
    TISSUE,
    LabelledScan,
)
from torch import Tensor

from lesionaug.anatomy.morphology import deep, near
from lesionaug.intensity import robust_scale
from lesionaug.models.base import PATCH_SHAPES
from lesionaug.patches import PatchGrid, cut, cut_mask
from lesionaug.types import triple

HEALTHY_SHAPE = (24, 24, 24)
INSIDE_MM = 6.0  # of the brain, where a healthy patch is centred
AWAY_MM = 8.0  # from lesions


@dataclass(frozen=True)
class Cutout:
    """Patches of a scan, and what the index says of it.

    Args:
        tensors: By kind and content, as in the files: `lesion_16_image`, `healthy_24_label`, ...
        record: For the index.
    """

    tensors: dict[str, Tensor]
    record: ScanRecord


@dataclass(frozen=True)
class _Source:
    """A scan as patches are cut from it: normalised image, numbered lesions and how many voxels each has."""

    scan: LabelledScan
    image: Tensor
    labels: np.ndarray
    sizes: np.ndarray


def cut_scan(scan: LabelledScan, healthy: int = 0, seed: int = 0) -> Cutout:
    """All patches of a scan.

    Args:
        scan: What to cut.
        healthy: Patches of normal-appearing tissue to add, fewer where there is less room.
        seed: Of their positions.
    """
    labels = np.asarray(cc3d.connected_components(scan.lesions, connectivity=MODEL.connectivity))
    source = _Source(scan, normalised(scan), labels, np.bincount(labels.ravel()))
    patches, lesions = defaultdict(list), []
    for label, voxels in voxels_of(labels):
        center, shape = _home(voxels, scan.spacing_mm)
        lesions.append(measured(voxels, scan, patch=shape is not None))
        if shape is not None:
            grid = PatchGrid.around(center, shape, scan.spacing_mm, MODEL.spacing_mm)
            _add(patches, f"lesion_{shape[0]}", source, label, grid, lesions[-1].volume_mm3)
    centers = _healthy_centers(scan, healthy, np.random.default_rng(seed))
    for center in centers:
        grid = PatchGrid.around(triple(center.tolist()), HEALTHY_SHAPE, scan.spacing_mm, MODEL.spacing_mm)
        _add(patches, f"healthy_{HEALTHY_SHAPE[0]}", source, -1, grid, 0.0)
    return Cutout(stacked(patches), record_of(scan, tuple(lesions), len(centers)))


def cut_one(patches: dict[str, list[Tensor]], scan: LabelledScan, voxels: np.ndarray) -> LesionRecord:
    """The patch of a lesion that is not among those of its scan, as of a database, whose lesions lie over each other.

    Args:
        patches: What it is added to, if it fits into a patch.
        scan: Where it lies.
        voxels: Of the lesion, shape `(n, 3)`.
    """
    labels = np.zeros(scan.lesions.shape, np.uint8)
    labels[tuple(voxels.T)] = 1
    center, shape = _home(voxels, scan.spacing_mm)
    record = measured(voxels, scan, patch=shape is not None)
    if shape is not None:
        source = _Source(scan, torch.from_numpy(scan.image), labels, np.array([0, len(voxels)]))
        grid = PatchGrid.around(center, shape, scan.spacing_mm, MODEL.spacing_mm)
        _add(patches, f"lesion_{shape[0]}", source, 1, grid, record.volume_mm3)
    return record


def record_of(scan: LabelledScan, lesions: tuple[LesionRecord, ...], healthy: int) -> ScanRecord:
    """What the index says of a scan."""
    spacing = tuple(round(s, 4) for s in scan.spacing_mm)
    return ScanRecord(scan.subject, scan.patient, scan.channels, spacing, scan.brain_from, lesions, healthy)


def stacked(patches: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """Lists of patches as tensors."""
    return {name: torch.stack(parts) for name, parts in patches.items()}


def normalised(scan: LabelledScan) -> Tensor:
    """The image in robust units, shape `(channels, i, j, k)`."""
    image = torch.from_numpy(np.ascontiguousarray(scan.image, dtype=np.float32))
    if not scan.channels:
        return image
    return robust_scale(image, torch.from_numpy(scan.brain)[None]).normalise(image)


def voxels_of(labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Number of each lesion, and its voxels, shape `(n, 3)`."""
    boxes = cc3d.statistics(labels.astype(np.uint32))["bounding_boxes"]
    for label, box in enumerate(boxes[1:], start=1):
        yield label, np.argwhere(labels[box] == label) + [axis.start for axis in box]


def measured(voxels: np.ndarray, scan: LabelledScan, *, patch: bool) -> LesionRecord:
    """Size and place of a lesion."""
    centroid = voxels.mean(axis=0)
    radius = np.linalg.norm((voxels - centroid) * scan.spacing_mm, axis=1).max()
    volume = len(voxels) * math.prod(scan.spacing_mm)
    return LesionRecord(round(float(volume), 3), round(float(radius), 3), scan.world(centroid), patch)


def world_of(grid: PatchGrid, to_world: np.ndarray) -> Tensor:
    """Patch voxel to world in mm, 4 by 4."""
    to_scan = np.diag((*grid.step, 1.0))
    to_scan[:3, 3] = [c - (n // 2) * s for c, n, s in zip(grid.center, grid.shape, grid.step, strict=True)]
    return torch.from_numpy(to_world @ to_scan).float()


def _home(voxels: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[tuple, tuple | None]:
    """Centre voxel of a lesion, and the smallest patch that holds its control sphere."""
    center = np.rint(voxels.mean(axis=0)).astype(int)
    extent = 2 * np.linalg.norm((voxels - center) * spacing_mm, axis=1).max() + 1
    shape = next((shape for shape in PATCH_SHAPES if shape[0] >= extent + MODEL.context), None)
    return tuple(int(c) for c in center), shape


def _healthy_centers(scan: LabelledScan, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions in the brain well away from lesions; none where not all lesions are known."""
    if not count or not scan.channels or not scan.complete:
        return np.zeros((0, 3), int)
    spacing = np.array(scan.spacing_mm)
    room = deep(scan.brain, INSIDE_MM, spacing) & ~near(scan.lesions, AWAY_MM, spacing)
    return rng.permutation(np.argwhere(room))[:count]


def _add(patches: dict, kind: str, source: _Source, lesion: int, grid: PatchGrid, volume_mm3: float) -> None:
    # Everything is cut out of the patch's surroundings: smoothing a whole scan for each patch would take minutes.
    box, local = grid.surroundings(source.labels.shape)
    image = cut(source.image[(slice(None), *box)], local) if source.scan.channels else torch.zeros(0, *grid.shape)
    label = _lesion_bits(source.labels[box], source.sizes, lesion, local)
    brain = cut_mask(torch.from_numpy(source.scan.brain[box].copy())[None], local)
    patches[f"{kind}_image"].append(image.half())
    patches[f"{kind}_label"].append(label + brain.byte() * BRAIN + _anatomy_bits(source.scan.anatomy, box, local))
    patches[f"{kind}_affine"].append(world_of(grid, source.scan.to_world))
    patches[f"{kind}_volume_mm3"].append(torch.tensor(volume_mm3))


def _anatomy_bits(anatomy: np.ndarray | None, box: tuple[slice, ...], grid: PatchGrid) -> Tensor:
    bits = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    if anatomy is not None:
        for bit in (TISSUE, NEAR_VENTRICLES, NEAR_CORTEX):
            bits += bit * cut_mask(torch.from_numpy((anatomy[box] & bit) > 0)[None], grid).byte()
    return bits


def _lesion_bits(labels: np.ndarray, sizes: np.ndarray, lesion: int, grid: PatchGrid) -> Tensor:
    inside = np.bincount(labels[grid.box(labels.shape)].ravel(), minlength=len(sizes))
    bits = torch.zeros(1, *grid.shape, dtype=torch.uint8)
    for label in np.flatnonzero(inside):
        if label not in (0, lesion):
            kind = OTHER if inside[label] == sizes[label] else OTHER + CUT
            bits[_cut_lesion(labels == label, grid, int(inside[label]))] = kind
    if lesion > 0:
        bits[_cut_lesion(labels == lesion, grid, int(inside[lesion]))] = THIS
    return bits


def _cut_lesion(lesion: np.ndarray, grid: PatchGrid, voxels: int) -> Tensor:
    mask = torch.from_numpy(lesion)[None]
    if grid.is_exact:
        return cut_mask(mask, grid)
    covered = cut(mask.float(), grid)
    ranked = covered.flatten().sort(descending=True, stable=True)
    chosen = ranked.indices[: max(1, round(voxels / math.prod(grid.step)))]
    return torch.zeros_like(covered, dtype=torch.bool).flatten().index_fill(0, chosen, True).view_as(covered) & (
        covered > 0
    )
