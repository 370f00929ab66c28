"""Whether a placement in the atlas can be believed: measured, and refused where lesions would go astray unnoticed.

Limits were chosen from 61 placements of 27 real scans (channels alone and together; three scanners, with and without
skull, slices to 7.7 mm apart) and 252 broken ones: flipped and exchanged axes, crops of 96 and 128 mm, half brains,
masks shifted, mirrored, shrunk, inverted or too large. Accepted real ones have an outline of 0.941 and more, symmetry
0.951, a stretch of 1.25 at most, cuts of 0.14 (above 0.40), and turning them gains 1.25 at most. Refused are eight
real ones whose skull was left on in part (`ms3_07`, `ms3_13`, T1w or T2w alone of `P14_T2` and `P14_T3`), which are
misplaced indeed; of the broken ones three pass, masks that are 12 mm too small. Neither the share of white matter
(0.37 to 0.58 in real ones, 0.43 to 0.60 in most broken ones) nor the angle of the placement tells the two apart. What
no limit can notice is a flip of left and right, which puts lesions nowhere that they may not be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesionaug.anatomy.atlas import LOWEST_MM, Atlas
from lesionaug.anatomy.background import background_of
from lesionaug.anatomy.grids import spacing_of
from lesionaug.anatomy.morphology import box_of
from lesionaug.errors import LesionAugError

VOLUME_ML = (700.0, 3000.0)
OUTLINE = 0.933
SYMMETRY = 0.93
STRETCH = 1.4
CUT = 0.2
CUT_ABOVE = 0.5
TURNED = 1.3
AIR = 0.05
STEP_MM = 4.5  # at about which voxels are looked at
TURNS = (np.diag((1.0, -1, 1, 1)), np.diag((1.0, 1, -1, 1)), np.diag((1.0, -1, -1, 1)))
"""Of the head: front to back, upside down, and both, which is a turn around the ears."""

CROPS = "if this is a crop, find the anatomy before cropping and carry it along (AddAnatomy, anatomy=...)"
REMEDY = f"hand in a brain mask (brain_mask=..., --brain), check how the file lies in space, or, {CROPS}"


@dataclass(frozen=True)
class Fit:
    """How well a brain and its image agree with where they were placed.

    Args:
        volume_ml: Of the brain.
        outline: Dice overlap of the brain and the atlas' outline, above the brainstem.
        symmetry: Dice overlap of the brain and its mirror image through the atlas' mid-plane.
        stretch: Largest over smallest scale of the placement along any direction.
        cut: Largest cut through the brain at the volume's faces but the lower and the upper one, relative to the
            largest slice along that axis.
        cut_above: Likewise at the upper face; thick slices often leave out the vertex.
        pattern: Share of an image's variance that the atlas' tissues explain there; of the channel with most.
        turned: The same after placing the head turned, the best of `TURNS`.
    """

    volume_ml: float
    outline: float
    symmetry: float
    stretch: float
    cut: float
    cut_above: float
    pattern: float
    turned: float


def measure_fit(
    images: np.ndarray, brain: np.ndarray, affine: np.ndarray, world_to_atlas: np.ndarray, atlas: Atlas
) -> Fit:
    """Measures of a placement.

    Args:
        images: Shape `(channels, i, j, k)`, right-anterior-superior voxels of about 2 mm.
        brain: Brain mask, shape `(i, j, k)`, not empty.
        affine: Voxel to world in mm.
        world_to_atlas: The placement.
        atlas: In which it is.
    """
    cuts = _cuts(brain)
    box = box_of(brain)
    steps = np.maximum(1, np.rint(STEP_MM / spacing_of(affine))).astype(int)
    every = (*(slice(side.start, side.stop, step) for side, step in zip(box, steps, strict=True)),)
    affine = affine @ _thinning(every)
    thin, thin_images = brain[every], images[(slice(None), *every)]
    scales = np.linalg.svd(world_to_atlas[:3, :3])[1]
    return Fit(
        volume_ml=float(thin.sum() * spacing_of(affine).prod() / 1000),
        outline=_outline(thin, affine, world_to_atlas, atlas),
        symmetry=_symmetry(thin, affine, world_to_atlas),
        stretch=float(scales[0] / scales[2]),
        cut=max(cuts[:4]),
        cut_above=cuts[5],
        pattern=_pattern(thin_images, thin, affine, world_to_atlas, atlas),
        turned=max(
            _pattern(thin_images, thin, turn @ affine, atlas.place(thin, turn @ affine), atlas) for turn in TURNS
        ),
    )


def check_fit(fit: Fit) -> None:
    """Refuse a placement that cannot be believed.

    Raises:
        LesionAugError: It is outside the limits.
    """
    reason = next(_doubts(fit), None)
    if reason:
        raise LesionAugError(f"Expected a whole head that fits the atlas, got {reason}; {REMEDY}")


def check_mask(images: np.ndarray, brain: np.ndarray) -> None:
    """Refuse a brain mask that was handed in and lies beside the brain, or is empty.

    Args:
        images: Shape `(channels, i, j, k)`.
        brain: Shape `(i, j, k)`.

    Raises:
        LesionAugError: There is nothing in it, or much of it is exactly background in all images.
    """
    if not brain.any():
        raise LesionAugError("Expected a brain mask with voxels, got an empty one; check the file, or leave it out")
    air = min(float(background_of(image)[brain].mean()) for image in images)
    if air > AIR:
        raise LesionAugError(
            f"Expected a brain mask on the brain, got {air:.0%} of background in it ({AIR:.0%} at most); "
            "check that it is of this scan, or leave it out"
        )


def _doubts(fit: Fit) -> Iterator[str]:
    low, high = VOLUME_ML
    if not low <= fit.volume_ml <= high:
        yield f"a brain of {fit.volume_ml:.0f} ml ({low:.0f} to {high:.0f})"
    if fit.cut > CUT or fit.cut_above > CUT_ABOVE:
        cut = max(fit.cut, fit.cut_above)
        yield f"a brain that is cut off at the volume's edge (at {cut:.0%} of its width)"
    if fit.outline < OUTLINE:
        yield f"a brain whose outline overlaps the atlas' by {fit.outline:.2f} ({OUTLINE:.3f} or more)"
    if fit.symmetry < SYMMETRY:
        yield f"a brain whose halves overlap by {fit.symmetry:.2f} ({SYMMETRY:.2f} or more)"
    if fit.stretch > STRETCH:
        yield f"a brain stretched by {fit.stretch:.2f} between its directions ({STRETCH:.2f} at most)"
    if fit.turned > TURNED * fit.pattern:
        yield (
            f"a brain that looks as if it were turned (its tissues agree with the atlas by {fit.pattern:.2f}, "
            f"turned by {fit.turned:.2f})"
        )


def _thinning(every: tuple[slice, ...]) -> np.ndarray:
    """Index into some of the voxels to index into all."""
    matrix = np.diag((*(side.step for side in every), 1.0))
    matrix[:3, 3] = [side.start for side in every]
    return matrix


def _cuts(brain: np.ndarray) -> list[float]:
    """Brain in the first and last plane of each axis, relative to the largest; left, right, back, front, bottom, top.

    Example:
        >>> half = np.ones((4, 6, 6), bool)
        >>> half[2:] = False
        >>> _cuts(half)[:2]
        [1.0, 0.0]
    """
    result = []
    for axis in range(3):
        areas = brain.sum(axis=tuple({0, 1, 2} - {axis}))
        result += [float(areas[end] / areas.max()) for end in (0, -1)]
    return result


def _outline(brain: np.ndarray, affine: np.ndarray, world_to_atlas: np.ndarray, atlas: Atlas) -> float:
    expected = atlas.resample(affine, brain.shape, world_to_atlas, ("brain",))[0] > 0.5
    down = (world_to_atlas @ affine)[2]
    height = down[3] + sum(down[axis] * index for axis, index in enumerate(np.ogrid[tuple(map(slice, brain.shape))]))
    counts = height > LOWEST_MM
    return _dice(brain & counts, expected & counts)


def _symmetry(brain: np.ndarray, affine: np.ndarray, world_to_atlas: np.ndarray) -> float:
    to_atlas = world_to_atlas @ affine
    matrix = np.linalg.inv(to_atlas) @ np.diag((-1.0, 1, 1, 1)) @ to_atlas
    mirrored = ndimage.affine_transform(brain.astype(np.float32), matrix[:3, :3], matrix[:3, 3], order=1)
    return _dice(brain, mirrored > 0.5)


def _pattern(
    images: np.ndarray, brain: np.ndarray, affine: np.ndarray, world_to_atlas: np.ndarray, atlas: Atlas
) -> float:
    names = ("white", "cortex", "deep_grey", "fluid")
    white, cortex, deep, fluid = atlas.resample(affine, brain.shape, world_to_atlas, names)[:, brain]
    tissues = np.stack([white, cortex + deep, fluid, np.ones_like(white)], axis=1)
    return max(_explained(image[brain], tissues) for image in images)


def _explained(values: np.ndarray, tissues: np.ndarray) -> float:
    """Share of variance of values `(n,)`, but for extremes, that is linear in `(n, tissues)`."""
    values = np.clip(values, *np.quantile(values, (0.01, 0.99))).astype(np.float64)
    # Normal equations: four by four, whatever the number of voxels.
    weights = np.linalg.lstsq(tissues.T @ tissues, tissues.T @ values, rcond=None)[0]
    return float(1 - (values - tissues @ weights).var() / max(values.var(), 1e-12))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))
