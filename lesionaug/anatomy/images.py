"""Anatomy from the images alone: T1w, FLAIR or both, skull-stripped or not, any orientation and spacing.

images ──► voxels of 2 mm: brain, atlas laid over it, tissues, ventricles, cortex, regions
                 └──► the scan's own voxels, in and around white matter: how likely a lesion may have this one
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cc3d
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lesionaug.anatomy.atlas import MAPS, packaged_atlas
from lesionaug.anatomy.background import reduced_image
from lesionaug.anatomy.brain import brain_of
from lesionaug.anatomy.core import Anatomy
from lesionaug.anatomy.credible import check_fit, measure_fit
from lesionaug.anatomy.grids import ReducedGrid
from lesionaug.anatomy.location import location_weight
from lesionaug.anatomy.looks import warn_of_looks
from lesionaug.anatomy.morphology import closed, filled, near
from lesionaug.anatomy.regions import distance_mm, region_map
from lesionaug.anatomy.tissue import FLUID, GREY, LESION, WHITE, TissueModel, classify, fit_tissues
from lesionaug.threads import torch_threads
from lesionaug.types import Mask, Volume, triple

WHITE_ENOUGH = 0.3
LIKELY_WHITE = 4.0  # odds against grey matter in the atlas above which a grey look does not exclude a voxel
ENCLOSED_WHITE = 0.7  # such odds for voxels between white ones: small lesions look grey
DEEP_GREY = 0.5  # probability in the atlas above which only the look of a lesion makes a voxel eligible
REACH = 1.5  # reduced voxels around white ones in which the scan's own voxels are looked at
LEAST_BELIEF = 0.03  # that a voxel may be any tissue, whatever its surroundings
ENCLOSED = 0.95  # of the surroundings that are white when reduced
DENOISE_MM = 0.6
LIKELY = 0.3  # lesions also take the border of white matter
LEAST_PIECE_MM3 = 100.0
MIN_PART = 50  # reduced voxels in one piece; eyes and nerves are smaller
LINING_GREY, LINING_WHITE = 0.2, 0.3  # in the atlas, up to and from which the wall of a ventricle is white matter
PLEXUS = 2  # reduced voxels; choroid plexus is thinner than twice as many
LIKELY_VENTRICLE = 0.15  # probability in the atlas, where fluid of ventricles is all around


@torch_threads(1)
def anatomy_from_images(
    image: Volume,
    channels: tuple[str, ...],
    affine: np.ndarray,
    lesion_mask: Mask | None = None,
    world_to_atlas: np.ndarray | None = None,
    brain_mask: Mask | None = None,
) -> Anatomy:
    """Brain, eligible white matter and regions of a scan.

    Args:
        image: Shape `(channels, i, j, k)`; unchanged results for `a * x + b` with `a > 0`.
        channels: Name of each channel, from `lesionaug.scan.CHANNELS`.
        affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.
        lesion_mask: Old lesions; not eligible, and white matter for all else.
        world_to_atlas: From a registration, 4 by 4, instead of the fast placement by the brain's outline.

        brain_mask: Brain tissue and ventricles, where somebody knows better; taken as it is.

    Raises:
        LesionAugError: No brain is found, it does not fit the atlas (`lesionaug.anatomy.credible`), or the affine
            makes no sense.

    Warns:
        LesionAugWarning: What is called `flair` looks like a T1w, or an image like a CT.
    """
    grid = ReducedGrid.of(triple(image.shape[1:]), affine)
    reduced = np.stack([reduced_image(grid, channel) for channel in image])
    brain, placed = brain_of(reduced, grid, packaged_atlas(), brain_mask)
    check_fit(measure_fit(reduced, filled(brain), grid.affine, placed, packaged_atlas()))
    grid, box = grid.cropped(brain)
    brain, reduced = brain[box], reduced[(slice(None), *box)]
    old = np.zeros(brain.shape, bool) if lesion_mask is None else grid.reduce(grid.orient(lesion_mask[0])) > 0
    maps = _maps(grid, placed if world_to_atlas is None else world_to_atlas)
    model = fit_tissues(reduced, channels, brain & ~old if (brain & ~old).any() else brain, maps)
    posterior = classify(model, reduced, brain, maps)
    warn_of_looks(reduced, channels, posterior)
    tissue = _tissue(posterior, brain, old, maps)
    infratentorial = _infratentorial(maps)
    ventricles = _ventricles(tissue.fluid > 0.5, maps, infratentorial)
    tissue = replace(tissue, white=tissue.white & ~_between(ventricles, maps))
    cortex = _cortex(tissue, infratentorial, maps)
    regions = region_map(ventricles, cortex, infratentorial, grid.spacing_mm)
    weight = location_weight(maps, distance_mm(ventricles, grid.spacing_mm), infratentorial)
    likely = _likely_tissue(image, model, grid, tissue, ventricles, maps)
    anatomy = _at_full_size(grid, likely, brain, weight, regions, lesion_mask)
    return anatomy if brain_mask is None else _within(anatomy, brain_mask)


def brain_from_images(image: Volume, affine: np.ndarray) -> Mask:
    """Brain tissue and ventricles alone; whether they fit the atlas is not asked.

    Args:
        image: Shape `(channels, i, j, k)`.
        affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.

    Raises:
        LesionAugError: No brain is found, or the affine makes no sense.
    """
    grid = ReducedGrid.of(triple(image.shape[1:]), affine)
    reduced = np.stack([reduced_image(grid, channel) for channel in image])
    brain, _ = brain_of(reduced, grid, packaged_atlas())
    return grid.restore(grid.expand(brain) > 0.5)[None]


def _within(anatomy: Anatomy, brain: Mask) -> Anatomy:
    """The same with this very brain, whose edge interpolation has moved."""
    return replace(anatomy, brain=brain, eligible=anatomy.eligible * brain, regions=anatomy.regions * brain)


def _maps(grid: ReducedGrid, world_to_atlas: np.ndarray) -> dict[str, np.ndarray]:
    names = MAPS[1:]  # the brain's outline is the scan's own
    resampled = packaged_atlas().resample(grid.affine, grid.reduced_shape, world_to_atlas, names)
    return dict(zip(names, resampled, strict=True))


@dataclass(frozen=True)
class _Tissue:
    """On the reduced grid.

    Args:
        white: Eligible white matter.
        whiteness: Probability of white matter or lesion.
        greyness: Of grey matter.
        fluid: Of fluid.
    """

    white: np.ndarray
    whiteness: np.ndarray
    greyness: np.ndarray
    fluid: np.ndarray


def _tissue(posterior: np.ndarray, brain: np.ndarray, old: np.ndarray, maps: dict[str, np.ndarray]) -> _Tissue:
    smooth = ndimage.gaussian_filter(posterior, (0, 0.5, 0.5, 0.5))
    fluid = np.where(old, 0, smooth[FLUID])
    whiteness = np.where(old, 1, smooth[WHITE] + smooth[LESION])
    white = (whiteness > WHITE_ENOUGH) | (maps["white"] > LIKELY_WHITE * (maps["cortex"] + maps["deep_grey"]))
    white |= closed(white, 1) & (maps["white"] > ENCLOSED_WHITE * maps["cortex"])
    white &= (maps["deep_grey"] < DEEP_GREY) | (smooth[LESION] > WHITE_ENOUGH) | old
    white = _without_islands(white & brain & (fluid < 0.5))
    return _Tissue(white, whiteness, np.where(old, 0, smooth[GREY]), fluid)


def _without_islands(mask: np.ndarray) -> np.ndarray:
    parts = cc3d.connected_components(mask, connectivity=6)
    return mask & (np.bincount(parts.ravel()) >= MIN_PART)[parts]


def _infratentorial(maps: dict[str, np.ndarray]) -> np.ndarray:
    solid = np.maximum(1 - maps["fluid"] + maps["ventricles"], 0.05)
    return maps["infratentorial"] > 0.5 * solid


def _between(ventricles: np.ndarray, maps: dict[str, np.ndarray]) -> np.ndarray:
    """Within or between the ventricles: fluid, septum, fornix, and choroid plexus, bright in FLAIR like a lesion."""
    return closed(ventricles, PLEXUS) & (maps["ventricles"] > LIKELY_VENTRICLE)


def _wall(ventricles: np.ndarray, maps: dict[str, np.ndarray]) -> np.ndarray:
    """Around the ventricles, where it is white matter."""
    white = (maps["deep_grey"] < LINING_GREY) & (maps["white"] > LINING_WHITE)
    return near(ventricles, REACH) & white & ~(_between(ventricles, maps) & ~ventricles)


def _cortex(tissue: _Tissue, infratentorial: np.ndarray, maps: dict[str, np.ndarray]) -> np.ndarray:
    return (tissue.greyness > 0.5) & (maps["cortex"] > maps["deep_grey"]) & ~tissue.white & ~infratentorial


def _ventricles(fluid: np.ndarray, maps: dict[str, np.ndarray], infratentorial: np.ndarray) -> np.ndarray:
    """Fluid in one piece with fluid where the atlas expects ventricles, short of the outer spaces."""
    inner = fluid & (maps["ventricles"] > 0.12) & ~infratentorial
    parts = cc3d.connected_components(inner, connectivity=6)
    sure = np.unique(parts[inner & (maps["ventricles"] > 0.35)])
    return np.isin(parts, sure[sure > 0])


def _likely_tissue(
    image: Volume,
    model: TissueModel,
    grid: ReducedGrid,
    tissue: _Tissue,
    ventricles: np.ndarray,
    maps: dict[str, np.ndarray],
) -> Tensor:
    """How likely the scan's own voxels in the box are white matter or lesion; 0 far from what is white when reduced.

    What the voxels of 2 mm say is the prior, so a sulcus or the wall of a ventricle is as sharp as the scan shows it,
    and where intensities say little, as between white and grey matter in FLAIR alone, they change little.
    """
    near_white = grid.expand(near(tissue.white, REACH).astype(np.float32)) > 0.5
    inside = np.flatnonzero(near_white.numpy())
    values = np.stack([_denoised(grid.orient(channel).float(), grid).reshape(-1)[inside] for channel in image])
    bias = np.stack([_picked(grid, field, inside) for field in model.bias_field()])
    beliefs = [_picked(grid, belief, inside) for belief in (tissue.whiteness, tissue.greyness, tissue.fluid)]
    priors = np.clip(np.stack(beliefs), LEAST_BELIEF, None)
    priors /= priors.sum(axis=0)
    posterior = model.posterior(values, bias, priors, _picked(grid, maps["lesions"], inside))
    # Small lesions, and single voxels by chance, look grey where all around is white.
    enclosed = (_picked(grid, tissue.white.astype(np.float32), inside) > ENCLOSED) & (posterior[FLUID] < 0.5)
    likely = torch.zeros(near_white.shape)
    # So does half a voxel of white matter beside half a voxel of fluid: lesions at the ventricles begin at their wall.
    wall = _picked(grid, _wall(ventricles, maps).astype(np.float32), inside) > 0.5
    enclosed |= wall & (posterior[FLUID] < 0.5)
    white = posterior[WHITE] + posterior[LESION]
    white = np.where(enclosed, np.maximum(white, 0.5), white)
    between = _picked(grid, (_between(ventricles, maps) & ~ventricles).astype(np.float32), inside) > 0.5
    likely.view(-1)[inside] = torch.from_numpy(np.where(between, 0, white))
    return likely


def _picked(grid: ReducedGrid, reduced: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return grid.expand(reduced).reshape(-1)[torch.from_numpy(inside)].numpy()


def _denoised(image: Tensor, grid: ReducedGrid) -> np.ndarray:
    """Blurred by half a millimetre, along axes that have voxels as fine."""
    sizes = grid.spacing_mm / grid.factors
    return ndimage.gaussian_filter(image.numpy(), np.where(sizes < 2 * DENOISE_MM, DENOISE_MM / sizes, 0))


def _at_full_size(
    grid: ReducedGrid,
    likely: Tensor,
    brain: np.ndarray,
    weight: np.ndarray,
    regions: np.ndarray,
    lesion_mask: Mask | None,
) -> Anatomy:
    inside = grid.expand(brain) > 0.5
    if lesion_mask is not None:
        likely = torch.where(grid.orient(lesion_mask[0]), 0, likely)
    white = torch.from_numpy(_in_large_pieces(((likely > LIKELY) & inside).numpy(), grid))
    eligible = grid.restore(grid.expand(weight).mul_(likely).mul_(white))[None]
    region = grid.restore(grid.repeat(regions))[None]
    return Anatomy(grid.restore(inside)[None], eligible, region * (eligible > 0))


def _in_large_pieces(mask: np.ndarray, grid: ReducedGrid) -> np.ndarray:
    """Without single voxels of grey matter that look white by chance."""
    parts = cc3d.connected_components(mask, connectivity=6)
    least = LEAST_PIECE_MM3 / float(np.prod(grid.spacing_mm / grid.factors))
    keep = np.bincount(parts.ravel()) >= least
    keep[0] = False
    return keep[parts]
