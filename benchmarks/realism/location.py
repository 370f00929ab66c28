"""Where lesions lie: maps on a coarse grid of MNI space, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from benchmarks.realism.shape import lesions_with_boxes

Array = np.ndarray
CELL_MM = 4.0
LOW_MM = (-92.0, -128.0, -74.0)
SMOOTH_MM = 5.0  # with it half of the patients are as far from the others as `floors` says
CELLS = (46, 56, 47)  # holds the MNI 152 brain


def location_map(
    masks: Iterable[tuple[Bool[Array, "i j k"], Float[Array, "4 4"]]], smooth_mm: float = SMOOTH_MM
) -> Float[Array, "x y z"]:
    """Share of lesions centred in each 4 mm cell of MNI space, smoothed, summing to one.

    Args:
        masks: Lesion mask and its affine (voxels to MNI mm), for each scan; every lesion counts once.
        smooth_mm: Width of the Gaussian that spreads a lesion over neighbouring cells.

    Raises:
        ValueError: No lesion lies in the grid.
    """
    return map_of_points(np.concatenate([centroids_mm(mask, affine) for mask, affine in masks]), smooth_mm)


def map_of_points(points_mm: Float[Array, "n 3"], smooth_mm: float = SMOOTH_MM) -> Float[Array, "x y z"]:
    """As `location_map`, from lesion centres."""
    cells = np.floor((points_mm - np.array(LOW_MM)) / CELL_MM).astype(int)
    cells = cells[((cells >= 0) & (cells < CELLS)).all(axis=1)]
    if not len(cells):
        raise ValueError("Expected lesions in MNI space, got none in the grid; check the affine")
    counts = np.zeros(CELLS)
    np.add.at(counts, tuple(cells.T), 1)
    smooth = ndimage.gaussian_filter(counts, smooth_mm / CELL_MM)
    return smooth / smooth.sum()


def centroids_mm(mask: Bool[Array, "i j k"], affine: Float[Array, "4 4"]) -> Float[Array, "n 3"]:
    """Centre of each lesion in world coordinates."""
    centers = [np.argwhere(crop).mean(axis=0) + [part.start for part in box] for crop, box in lesions_with_boxes(mask)]
    return np.reshape(centers, (-1, 3)) @ affine[:3, :3].T + affine[:3, 3]


def jensen_shannon(a: Float[Array, "x y z"], b: Float[Array, "x y z"]) -> float:
    """Jensen-Shannon divergence of two maps in bits: 0 the same, 1 nothing in common."""
    a, b = a / a.sum(), b / b.sum()
    middle = (a + b) / 2
    return float((_divergence(a, middle) + _divergence(b, middle)) / 2)


def _divergence(a: Array, b: Array) -> float:
    some = a > 0
    return float((a[some] * np.log2(a[some] / b[some])).sum())


def correlation(a: Float[Array, "x y z"], b: Float[Array, "x y z"]) -> float:
    """Pearson correlation over the cells that either map reaches."""
    reached = (a > 0) | (b > 0)
    return float(np.corrcoef(a[reached], b[reached])[0, 1])


def split_half_location(
    patients: Sequence[Float[Array, "n 3"]], splits: int = 200, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """One random half of the patients to the other: median, and the worse 5 % (of the correlation, the lower ones).

    Args:
        patients: Lesion centres of each (`centroids_mm`).
        splits: Number of random halvings.
        seed: Of the halvings.
    """
    rng = np.random.default_rng(seed)
    half = len(patients) // 2
    found = []
    for _ in range(splits):
        order = rng.permutation(len(patients))
        maps = [map_of_points(np.concatenate([patients[i] for i in part])) for part in (order[:half], order[half:])]
        found.append((jensen_shannon(*maps), correlation(*maps)))
    divergence, similar = np.array(found).T
    return {
        "jensen_shannon": tuple(np.percentile(divergence, (50, 95))),
        "correlation": tuple(np.percentile(similar, (50, 5))),
    }
