"""What is exactly background: constants that repeat around the head, whatever they are worth.

Scans come with zeros around them, with other constants after z-scoring, padding and random rotations, or with several
of them. After z-scoring of the non-zero voxels alone, zero is the mean of the tissue: only that it repeats tells.
"""

from __future__ import annotations

import cc3d
import numpy as np
import torch
from torch import Tensor

from lesionaug.anatomy.grids import ReducedGrid
from lesionaug.anatomy.morphology import near, opened

SAME = 1e-6  # of the image's range: rounding of a mean of equal numbers
LEAST_SHARE = 1e-3  # of the volume that is flat and has one value, for it to count
LEAST_HEAD = 1e-2  # of the volume
BRIDGE = 2  # voxels of a mixture between two constants, where an average covers both
DARKEST, BRIGHT = 0.001, 0.98  # quantiles of what is not background


def background_of(image: np.ndarray) -> np.ndarray:
    """Voxels that hold one of the constants around the head; none where the background is noise.

    Args:
        image: Shape `(i, j, k)`.
    """
    tolerance = SAME * float(np.ptp(image))
    flat = _flat(image, tolerance)
    everywhere = _around(image, flat, tolerance)
    # In an image without noise tissue is flat, too: then what is so at the faces has to do.
    if everywhere.any() and opened(~everywhere, 1).mean() < LEAST_HEAD:
        return _around(image, flat & _faces(image.shape), tolerance)
    return everywhere


def signal_of(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Distance from the intensity of air, 1 for bright tissue; not finite for a constant image.

    Args:
        image: Shape `(i, j, k)`.
        background: Of `background_of`.
    """
    level = _air(image, background)
    distance = np.abs(np.where(background, level, image) - level)
    with np.errstate(divide="ignore", invalid="ignore"):
        return distance / np.quantile(distance, BRIGHT)


def reduced_image(grid: ReducedGrid, volume: Tensor) -> np.ndarray:
    """Block averages of a scan, in which a background that is not dark does not shine into the edge of the head.

    Args:
        grid: Of the scan.
        volume: Shape `(i, j, k)`, as it is stored.
    """
    oriented = grid.orient(volume)
    image = grid.reduce(oriented)
    background = background_of(image)
    if not background.any():
        return image
    air, tolerance = _air(image, background), SAME * float(np.ptp(image))
    odd = [value for value in _common(image[background], tolerance, 0) if value > air + tolerance]
    if not odd:
        return image
    oriented = oriented.float()
    for value in odd:
        oriented = torch.where((oriented - value).abs() <= tolerance, air, oriented)
    return grid.reduce(oriented)


def _air(image: np.ndarray, background: np.ndarray) -> float:
    """Intensity of air: that of the faces, if it is darker than the head, and else the darkest of the head."""
    at_faces = _faces(image.shape)
    noise = image[at_faces & ~background]
    if 2 * len(noise) > at_faces.sum() or background.all():
        return float(np.median(image[at_faces]))
    darkest, bright = np.quantile(image[~background], (DARKEST, BRIGHT))
    constants = np.unique(image[background])
    below = constants[constants <= darkest]
    # A constant far below everything is padding, and says nothing of how dark air is.
    return float(max(below.max(initial=-np.inf), 2 * darkest - bright)) if len(below) else float(darkest)


def _flat(image: np.ndarray, tolerance: float) -> np.ndarray:
    """Voxels whose neighbours along each axis have the same value."""
    flat = np.ones(image.shape, bool)
    for axis in range(3):
        same = np.abs(np.diff(image, axis=axis)) <= tolerance
        here = np.moveaxis(flat, axis, 0)
        along = np.moveaxis(same, axis, 0)
        here[1:] &= along
        here[:-1] &= along
    return flat


def _around(image: np.ndarray, flat: np.ndarray, tolerance: float) -> np.ndarray:
    """Voxels with a value that many flat voxels have, connected to the faces but for narrow gaps."""
    constant = np.zeros(image.shape, bool)
    for value in _common(image[flat], tolerance, LEAST_SHARE * image.size):
        constant |= np.abs(image - value) <= tolerance
    if not constant.any():
        return constant
    parts = cc3d.connected_components(near(constant, BRIDGE), connectivity=6)
    outer = np.unique(parts[_faces(image.shape)])
    return constant & np.isin(parts, outer[outer > 0])


def _common(values: np.ndarray, tolerance: float, least: float) -> list[float]:
    """Values that occur often, nearly equal ones counted as one."""
    found, counts = np.unique(values, return_counts=True)
    starts = np.flatnonzero(np.diff(found, prepend=-np.inf) > tolerance)
    totals = np.add.reduceat(counts, starts) if len(starts) else counts
    return [float(value) for value, total in zip(found[starts], totals, strict=True) if total >= least]


def _faces(shape: tuple[int, ...]) -> np.ndarray:
    inner = np.zeros([max(n - 2, 0) for n in shape], bool)
    return np.pad(inner, 1, constant_values=True)
