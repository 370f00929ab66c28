"""Anatomy from a label map of FreeSurfer or SynthSeg."""

from __future__ import annotations

import numpy as np
import torch

from lesionaug.anatomy.atlas import MAPS, packaged_atlas
from lesionaug.anatomy.core import Anatomy
from lesionaug.anatomy.grids import ReducedGrid, spacing_of
from lesionaug.anatomy.location import location_weight
from lesionaug.anatomy.morphology import filled
from lesionaug.anatomy.regions import distance_mm, region_map
from lesionaug.errors import LesionAugError
from lesionaug.threads import torch_threads
from lesionaug.types import Mask

_VENTRICLES = (4, 5, 14, 15, 43, 44, 72)
_CEREBELLUM = (7, 8, 46, 47)
_WHITE = (2, 7, 16, 28, 41, 46, 60, 77, 78, 79, 85, 251, 252, 253, 254, 255)
_DEEP_GREY = (10, 11, 12, 13, 17, 18, 26, 49, 50, 51, 52, 53, 54, 58)
_CORTEX = (3, 8, 42, 47)
_FLUID = (24, *_VENTRICLES)

TISSUES: dict[str, tuple[int, ...]] = {
    "brain": tuple(sorted({*_WHITE, *_DEEP_GREY, *_CORTEX, *_FLUID, 25, 30, 57, 62})),
    "white": _WHITE,
    "cortex": _CORTEX,
    "deep_grey": _DEEP_GREY,
    "ventricles": _VENTRICLES,
    "fluid": _FLUID,
    "infratentorial": (15, 16, *_CEREBELLUM),
}
"""FreeSurfer labels of each tissue; 77 to 79 are hypointensities of white matter, 1000 to 2999 parcels of cortex."""

PARCELS = (1000, 3000)  # of cortex
MIN_WHITE_MM3 = 1e4


@torch_threads(1)
def anatomy_from_labels(labels: np.ndarray, affine: np.ndarray, lesion_mask: Mask | None = None) -> Anatomy:
    """Brain, eligible white matter and regions of a labelled scan.

    Args:
        labels: FreeSurfer or SynthSeg labels, shape `(i, j, k)`.
        affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.
        lesion_mask: Old lesions, which are not eligible.

    Raises:
        LesionAugError: There is next to no white matter, or the affine makes no sense.
    """
    labels = np.asarray(labels)
    tissue = {name: np.isin(labels, values) for name, values in TISSUES.items()}
    parcels = (labels >= PARCELS[0]) & (labels < PARCELS[1])
    tissue["brain"] |= parcels
    tissue["cortex"] |= parcels
    _check_white(tissue["white"], affine, f"labels {np.unique(labels)[:12].tolist()}")
    cortex = tissue["cortex"] & ~tissue["infratentorial"]
    cerebral = tissue["ventricles"] & ~tissue["infratentorial"]
    return _anatomy(tissue["brain"], tissue["white"], cerebral, cortex, tissue["infratentorial"], affine, lesion_mask)


@torch_threads(1)
def anatomy_from_white_matter(
    white: np.ndarray, brain: np.ndarray, affine: np.ndarray, lesion_mask: Mask | None = None
) -> Anatomy:
    """Eligible white matter and regions from a map of the white matter; what it lacks comes from the atlas.

    Args:
        white: Mask or probability, shape `(i, j, k)`.
        brain: Mask of the brain.
        affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.
        lesion_mask: Old lesions, which are not eligible.

    Raises:
        LesionAugError: There is next to no white matter, or the affine makes no sense.
    """
    white, brain = np.asarray(white) > 0.5, np.asarray(brain) > 0
    _check_white(white & brain, affine, "a map without it")
    grid, maps = _atlas_maps(brain, affine)
    full = {name: _full(grid, maps[name]) for name in ("ventricles", "cortex", "infratentorial")}
    infratentorial = full["infratentorial"] > 0.5
    ventricles = brain & ~white & (full["ventricles"] > 0.4) & ~infratentorial
    cortex = brain & ~white & (full["cortex"] > 0.3) & ~infratentorial
    return _anatomy(brain, white & brain, ventricles, cortex, infratentorial, affine, lesion_mask)


def _check_white(white: np.ndarray, affine: np.ndarray, got: str) -> None:
    if white.sum() * spacing_of(affine).prod() < MIN_WHITE_MM3:
        raise LesionAugError(f"Expected 10 ml of white matter or more (labels 2, 41), got {got}; check the map")


def _anatomy(
    brain: np.ndarray,
    white: np.ndarray,
    ventricles: np.ndarray,
    cortex: np.ndarray,
    infratentorial: np.ndarray,
    affine: np.ndarray,
    lesion_mask: Mask | None,
) -> Anatomy:
    grid, maps = _atlas_maps(brain, affine)
    to_ventricles = distance_mm(_reduced(grid, ventricles), grid.spacing_mm)
    likely = location_weight(maps, to_ventricles, _reduced(grid, infratentorial))
    weight = np.where(white, _full(grid, likely), 0).astype(np.float32)
    if lesion_mask is not None:
        weight[lesion_mask[0].numpy()] = 0
    regions = region_map(ventricles, cortex, infratentorial, spacing_of(affine))
    regions[weight == 0] = 0
    return Anatomy(*(torch.from_numpy(volume)[None] for volume in (brain, weight, regions)))


def _atlas_maps(brain: np.ndarray, affine: np.ndarray) -> tuple[ReducedGrid, dict[str, np.ndarray]]:
    grid = ReducedGrid.of(brain.shape, affine)
    outline = filled(grid.reduce(grid.orient(torch.from_numpy(brain))) > 0.5)
    placed = packaged_atlas().place(outline, grid.affine)
    maps = packaged_atlas().resample(grid.affine, outline.shape, placed)
    return grid, dict(zip(MAPS, maps, strict=True))


def _reduced(grid: ReducedGrid, mask: np.ndarray) -> np.ndarray:
    return grid.reduce(grid.orient(torch.from_numpy(mask))) > 0.5


def _full(grid: ReducedGrid, reduced: np.ndarray) -> np.ndarray:
    return grid.restore(grid.expand(reduced)).numpy()
