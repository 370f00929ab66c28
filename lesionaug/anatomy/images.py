"""Anatomy from the images alone: T1w, FLAIR or both, skull-stripped or not, any orientation and spacing."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from lesionaug.anatomy.atlas import MAPS, Atlas, packaged_atlas
from lesionaug.anatomy.brain import find_brain
from lesionaug.anatomy.core import Anatomy
from lesionaug.anatomy.grids import ReducedGrid
from lesionaug.anatomy.location import location_weight
from lesionaug.anatomy.regions import region_map
from lesionaug.anatomy.tissue import FLUID, GREY, LESION, WHITE, classify
from lesionaug.types import Mask, Volume

WHITE_ENOUGH = 0.4
LIKELY_WHITE = 4.0  # odds against grey matter in the atlas above which a grey look does not exclude a voxel


def anatomy_from_images(
    image: Volume,
    channels: tuple[str, ...],
    affine: np.ndarray,
    lesion_mask: Mask | None = None,
    world_to_mni: np.ndarray | None = None,
) -> Anatomy:
    """Brain, eligible white matter and regions of a scan.

    Args:
        image: Shape `(channels, i, j, k)`; unchanged results for `a * x + b` with `a > 0`.
        channels: Name of each channel, from `lesionaug.scan.CHANNELS`.
        affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.
        lesion_mask: Old lesions; not eligible, and white matter for all else.
        world_to_mni: From a registration, 4 by 4, instead of the fast placement by the brain's outline.

    Raises:
        LesionAugError: No brain is found, or the affine makes no sense.
    """
    grid = ReducedGrid.of(tuple(image.shape[1:]), affine)
    oriented = [grid.orient(channel) for channel in image]
    reduced = np.stack([grid.reduce(channel) for channel in oriented])
    atlas = packaged_atlas()
    brain, placed = find_brain(reduced, grid.affine, atlas)
    maps = _maps(atlas, grid, placed if world_to_mni is None else world_to_mni)
    old = np.zeros(brain.shape, bool) if lesion_mask is None else grid.reduce(grid.orient(lesion_mask[0])) > 0
    posterior = classify(reduced, channels, brain & ~old if (brain & ~old).any() else brain, maps)
    weight, regions = _eligible(posterior, brain, old, maps, grid.spacing_mm)
    return _at_full_size(grid, brain, weight, regions, posterior, lesion_mask, oriented)


def _maps(atlas: Atlas, grid: ReducedGrid, world_to_mni: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(MAPS, atlas.resample(grid.affine, grid.reduced_shape, world_to_mni), strict=True))


def _eligible(
    posterior: np.ndarray, brain: np.ndarray, old: np.ndarray, maps: dict[str, np.ndarray], spacing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Relative probability of a lesion centre, and regions, on the reduced grid."""
    smooth = np.stack([ndimage.gaussian_filter(p, 0.5) for p in posterior])
    fluid = (smooth[FLUID] > 0.5) & ~old
    likely = maps["white"] > LIKELY_WHITE * (maps["cortex"] + maps["deep_grey"])
    white = brain & ~fluid & ((smooth[WHITE] + smooth[LESION] > WHITE_ENOUGH) | likely | old)
    ventricles = _ventricles(fluid, maps)
    infratentorial = maps["infratentorial"] > 0.5
    cortex = (smooth[GREY] > 0.5) & (maps["cortex"] > maps["deep_grey"]) & ~white & ~infratentorial
    regions = region_map(white, ventricles, cortex, infratentorial, spacing)
    return np.where(white, location_weight(maps), 0), regions


def _ventricles(fluid: np.ndarray, maps: dict[str, np.ndarray]) -> np.ndarray:
    """Fluid in one piece with fluid where the atlas expects ventricles, short of the outer spaces."""
    inner = fluid & (maps["ventricles"] > 0.03) & (maps["infratentorial"] < 0.5)
    parts, _ = ndimage.label(inner)
    sure = np.unique(parts[inner & (maps["ventricles"] > 0.3)])
    return np.isin(parts, sure[sure > 0])


def _at_full_size(grid, brain, weight, regions, posterior, lesion_mask, oriented) -> Anatomy:
    def expand(values: np.ndarray) -> torch.Tensor:
        return grid.restore(grid.expand(values))[None]

    full_brain = expand(brain) > 0.5
    dry = expand(posterior[FLUID]) < 0.5
    inside = expand(weight > 0) > 0.5
    eligible = torch.where(full_brain & dry & inside, expand(weight), torch.zeros(()))
    if lesion_mask is not None:
        eligible = torch.where(lesion_mask, torch.zeros(()), eligible)
    nearest = ndimage.distance_transform_edt(regions == 0, return_distances=False, return_indices=True)
    filled = regions[tuple(nearest)]
    region = grid.restore(_repeat(grid, filled))[None]
    return Anatomy(full_brain, eligible, torch.where(eligible > 0, region, torch.zeros((), dtype=torch.uint8)))


def _repeat(grid: ReducedGrid, values: np.ndarray) -> torch.Tensor:
    """Reduced values at the voxels they were averaged from."""
    for axis, factor in enumerate(grid.factors):
        values = np.repeat(values, factor, axis=axis)
    i, j, k = grid.shape
    return torch.from_numpy(np.ascontiguousarray(values[:i, :j, :k]))
