"""Healthy tissue in place of lesions, so that patients can be hosts as healthy people are.

A lesion lies where lesions may lie, mostly in white matter; that tissue is carried on into the hole, its level from
around, its grain from elsewhere in the same scan. No network: see `docs/filling.md` for what LeFusion makes of holes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from lesionaug.anatomy.morphology import box_of, near
from lesionaug.errors import LesionAugError
from lesionaug.intensity import MAD_TO_SD
from lesionaug.scan import Scan

MARGIN_MM = 2.0  # around a label: haze that raters leave out
GUARD_MM = 1.0  # beyond the margin, from where on tissue counts as healthy
SCALES_MM = (16.0, 8.0, 4.0, 2.0, 1.0)  # of the tissue's level, coarse to fine
TRUST = 0.02  # share of the tissue around a voxel from which on a finer scale counts
GRAIN_MM = 1.5  # what is finer is grain
INSIDE = 0.75  # share of healthy tissue around a voxel from which on its grain is that of tissue, not of an edge
LIMIT = 3.0  # standard deviations from the level, beyond which a voxel is something else
NEAR_MM, STEP_MM, TRIES = 6.0, 0.4, 300  # how far away grain is taken from, how much farther at each try
APART_MM = 3.0  # closer grain would be seen twice


@dataclass(frozen=True)
class Holes:
    """What is filled, and from what; shape `(i, j, k)`, as all arrays of this module.

    Args:
        image: Of each channel.
        healthy: Tissue without lesions, of the kind that lesions lie in.
        hole: Lesions and their margin.
        spacing_mm: Voxel size.
    """

    image: np.ndarray
    healthy: np.ndarray
    hole: np.ndarray
    spacing_mm: np.ndarray


def fill_lesions(scan: Scan, seed: int = 0, margin_mm: float = MARGIN_MM) -> Scan:
    """The scan as if it had no lesions.

    Every voxel outside the lesions and their margin keeps its bits, and so does what is no tissue of theirs in the
    margin: cortex, fluid.

    Args:
        scan: With its lesions.
        seed: Of where grain is taken from.
        margin_mm: How far beyond the label a lesion still shows.

    Raises:
        LesionAugError: There is no healthy tissue to fill lesions with, or the margin is less than nothing.
    """
    if margin_mm < 0:
        raise LesionAugError(f"Expected a margin of 0 mm or more, got {margin_mm}; correct it")
    if not scan.lesion_mask.any():
        return scan
    box = box_of(scan.brain[0].numpy() | scan.lesion_mask[0].numpy())
    holes = _holes(scan, box, margin_mm)
    level = np.stack([level_of(channel, holes.healthy, holes.spacing_mm) for channel in holes.image])
    holes = _without_others(holes, level, scan.lesion_mask[0].numpy()[box])
    filled = level + borrowed(grain_of(holes), holes, np.random.default_rng(seed))
    image = scan.image.clone()
    here = (slice(None), *box)
    image[here] = torch.from_numpy(np.where(holes.hole, filled, holes.image)).to(image.dtype)
    return replace(scan, image=image, lesion_mask=torch.zeros_like(scan.lesion_mask))


def _holes(scan: Scan, box: tuple[slice, ...], margin_mm: float) -> Holes:
    spacing = np.asarray(scan.spacing_mm)
    lesions = scan.lesion_mask[0].numpy()[box]
    tissue = ((scan.eligible > 0) & scan.brain)[0].numpy()[box]
    healthy = tissue & ~near(lesions, margin_mm + GUARD_MM, spacing)
    if not healthy.any():
        raise LesionAugError("Expected healthy tissue between the lesions, got none; check the label, or the margin")
    image = scan.image[(slice(None), *box)].numpy()
    healthy = _usual(image, healthy, spacing)
    return Holes(image, healthy, near(lesions, margin_mm, spacing) & (tissue | lesions), spacing)


def _usual(image: np.ndarray, healthy: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Without lesions that nobody labelled, vessels, and what is half cortex or fluid."""
    for channel in image:
        apart = channel - level_of(channel, healthy, spacing_mm, SCALES_MM[:2])
        healthy = healthy & (np.abs(apart) <= LIMIT * _spread(apart[healthy]))
    return healthy


def level_of(
    channel: np.ndarray, healthy: np.ndarray, spacing_mm: np.ndarray, scales_mm: tuple[float, ...] = SCALES_MM
) -> np.ndarray:
    """Level of the healthy tissue, everywhere: each scale is believed as far as there is healthy tissue around.

    Args:
        channel: Intensities.
        healthy: Where they count.
        spacing_mm: Voxel size.
        scales_mm: Widths of Gaussians, coarse to fine.
    """
    level = np.full(channel.shape, channel[healthy].mean(), np.float32)
    for scale in scales_mm:
        width = scale / spacing_mm
        weight = ndimage.gaussian_filter(healthy.astype(np.float32), width, truncate=3)
        total = ndimage.gaussian_filter(np.where(healthy, channel, 0).astype(np.float32), width, truncate=3)
        level = (total + TRUST * level) / (weight + TRUST)
    return level


def _without_others(holes: Holes, level: np.ndarray, lesions: np.ndarray) -> Holes:
    """The margin without what cannot be haze, as it differs from healthy tissue in the other direction than lesions."""
    apart = holes.image - level
    kept = np.zeros_like(lesions)
    for channel in apart:
        side = np.sign(np.median(channel[lesions]))
        kept |= channel * side < -LIMIT * _spread(channel[holes.healthy])
    return replace(holes, hole=holes.hole & (lesions | ~kept))


def grain_of(holes: Holes) -> np.ndarray:
    """What is finer than the level of healthy tissue, in each channel, without its extremes."""
    grain = np.stack([c - level_of(c, holes.healthy, holes.spacing_mm, (GRAIN_MM,)) for c in holes.image])
    limits = [LIMIT * _spread(channel[holes.healthy]) for channel in grain]
    return np.stack([np.clip(channel, -limit, limit) for channel, limit in zip(grain, limits, strict=True)])


def borrowed(grain: np.ndarray, holes: Holes, generator: np.random.Generator) -> np.ndarray:
    """Grain for holes, in pieces as large as healthy tissue nearby has; none where it has none.

    Args:
        grain: Of each channel.
        holes: Where from, and where to.
        generator: Of the directions in which to look.
    """
    result, left = np.zeros_like(grain), np.argwhere(holes.hole)
    around = ndimage.gaussian_filter(holes.healthy.astype(np.float32), GRAIN_MM / holes.spacing_mm)
    inside = holes.healthy & (around > INSIDE)
    for attempt in range(TRIES):
        if not len(left):
            break
        reach = NEAR_MM + STEP_MM * attempt
        shift = np.round(generator.uniform(-reach, reach, 3) / holes.spacing_mm).astype(int)
        if np.linalg.norm(shift * holes.spacing_mm) < APART_MM:
            continue
        found = _is_at(left + shift, inside)
        here, there = tuple(left[found].T), tuple((left[found] + shift).T)
        result[(slice(None), *here)] = grain[(slice(None), *there)]
        left = left[~found]
    return result


def _is_at(places: np.ndarray, mask: np.ndarray) -> np.ndarray:
    there = ((places >= 0) & (places < mask.shape)).all(axis=1)
    return there & mask[tuple(np.clip(places, 0, np.array(mask.shape) - 1).T)]


def _spread(values: np.ndarray) -> float:
    """Robust standard deviation."""
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
