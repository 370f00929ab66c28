"""What the published inference scripts do to a mask after drawing it, kept for comparison.

`PublishedDiffMask` does neither: both suit large lesions. The sweep cannot emit a lesion made from a blob of less
than about 500 voxels, while the median MS lesion has 60.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from lesionaug.models.control import BoolVolume

SWEEP_SIGMA = 2.0
SWEEP_THRESHOLDS = tuple(np.arange(0.7, 0.85, 0.01))  # sixteen: rounding lets the end in
SWEEP_MIN_LESION = 75
SWEEP_TOTAL = (300, 1200)

ORIGINAL_RULES = ((20, 0.5, 0.01), (50, 0.5, 0.1), (100, 0.5, 0.2), (1000, 1.0, 0.3), (10_000, 1.5, 0.5))
ORIGINAL_LARGE = (2.0, 0.5)
ORIGINAL_ZOOM = 1.5


def fork_sweep(mask: BoolVolume) -> list[BoolVolume]:
    """Smoothed masks at rising thresholds, without small lesions and those at a face of the patch."""
    smooth = ndimage.gaussian_filter(ndimage.binary_fill_holes(mask).astype(float), SWEEP_SIGMA)
    return [drop_small(drop_at_border(smooth > threshold), SWEEP_MIN_LESION) for threshold in SWEEP_THRESHOLDS]


def fork_choices(sweep: list[BoolVolume]) -> list[BoolVolume]:
    """Those of a sweep with an accepted total volume; the fork takes one of them at random and fails on none."""
    low, high = SWEEP_TOTAL
    return [mask for mask in sweep if low <= mask.sum() <= high]


def original_cleanup(mask: BoolVolume) -> Bool[np.ndarray, "i2 j2 k2"]:
    """The largest component after smoothing that depends on size, enlarged by half."""
    count = mask.sum()
    rules = ((sigma, threshold) for limit, sigma, threshold in ORIGINAL_RULES if count < limit)
    sigma, threshold = next(rules, ORIGINAL_LARGE)
    smooth = ndimage.gaussian_filter(ndimage.binary_fill_holes(mask).astype(float), sigma)
    return ndimage.zoom(_largest(smooth > threshold).astype(float), ORIGINAL_ZOOM, order=1) >= 0.5


def drop_at_border(mask: BoolVolume, structure: BoolVolume | None = None) -> BoolVolume:
    """Without the components that touch a face of the volume.

    Args:
        mask: Lesions.
        structure: Neighbourhood that connects voxels; 6-connected where none is given.
    """
    labels, _ = ndimage.label(mask, structure)
    faces = [labels.take(index, axis) for axis in range(labels.ndim) for index in (0, -1)]
    return mask & ~np.isin(labels, np.unique(np.concatenate([face.ravel() for face in faces])))


def drop_small(mask: BoolVolume, min_voxels: int) -> BoolVolume:
    """Without the 6-connected components of fewer voxels."""
    labels, _ = ndimage.label(mask)
    return mask & (np.bincount(labels.ravel()) >= min_voxels)[labels]


def _largest(mask: BoolVolume) -> BoolVolume:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.bincount(labels.ravel())[1:].argmax() if count else mask
