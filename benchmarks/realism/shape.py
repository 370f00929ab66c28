"""Shape of single lesions, and how far two sets of lesions are apart (Kolmogorov-Smirnov, also at equal volume).

Calibration: the distances of real lesions to real lesions of other patients (`split_half_floors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

MIN_VOXELS = 10  # fewer have no shape to speak of; with it the published floors are met (see `floors`)
SHAPE_FEATURES = ("volume_mm3", "sphericity", "elongation", "surface_to_volume", "extent_mm")

Array = np.ndarray


def lesions_of(mask: Bool[Array, "i j k"], min_voxels: int = MIN_VOXELS) -> list[Bool[Array, "a b c"]]:
    """Tight crops of the 26-connected components of a mask, without the smallest."""
    return [crop for crop, _ in lesions_with_boxes(mask, min_voxels)]


def lesions_with_boxes(
    mask: Bool[Array, "i j k"], min_voxels: int = MIN_VOXELS
) -> list[tuple[Bool[Array, "a b c"], tuple[slice, slice, slice]]]:
    """As `lesions_of`, each crop with the box that it was cut from."""
    labels = cc3d.connected_components(np.ascontiguousarray(mask, dtype=np.uint8), connectivity=26)
    crops = [(labels[box] == index, box) for index, box in enumerate(ndimage.find_objects(labels), start=1)]
    return [(crop, box) for crop, box in crops if crop.sum() >= min_voxels]


def shape_features(mask: Bool[Array, "i j k"], spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> dict[str, float]:
    """Shape of one lesion.

    Args:
        mask: The lesion, at least one voxel.
        spacing_mm: Voxel size along each axis.

    Returns:
        `volume_mm3`: voxels times voxel volume.
        `sphericity`: surface of the ball of equal volume over the lesion's surface (`surface_mm2`); a
        ball has about 1, everything else less.
        `elongation`: square root of the largest over the smallest principal second moment, each with the moment of
        a voxel about its own centre added, so that it is finite for flat lesions; a ball has 1.
        `surface_to_volume`: surface over volume, per mm.
        `extent_mm`: largest distance between two voxel centres plus one mean voxel size.
    """
    volume = float(mask.sum() * np.prod(spacing_mm))
    surface = surface_mm2(mask, spacing_mm)
    return {
        "volume_mm3": volume,
        "sphericity": np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface,
        "elongation": elongation(mask, spacing_mm),
        "surface_to_volume": surface / volume,
        "extent_mm": extent_mm(mask, spacing_mm),
    }


def surface_mm2(mask: Bool[Array, "i j k"], spacing_mm: Sequence[float]) -> float:
    """Area of the surface from how often lines in 13 directions cross it.

    Reference:
        Crofton's formula as in Legland, Kieu and Devaux, Computation of Minkowski measures on 2D and 3D binary
        images, Image Analysis & Stereology 26 (2007).
    """
    padded, voxel = np.pad(mask, 1), np.prod(spacing_mm)
    total = 0.0
    for step, length, weight in _line_directions(tuple(spacing_mm)):
        crossings = (padded != np.roll(padded, step, axis=(0, 1, 2))).sum()
        total += weight * crossings * voxel / length  # integral of |n . u| over the surface, for direction u
    return float(2 * total)  # the mean of |n . u| over all u is one half


@lru_cache
def _line_directions(spacing_mm: tuple[float, ...]) -> list[tuple[tuple[int, ...], float, float]]:
    """Steps to the 26 neighbours, one of each opposite pair: step, length, share of all directions nearest to it."""
    steps = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
    offsets = np.array(steps) * np.array(spacing_mm)
    lengths = np.linalg.norm(offsets, axis=1)
    nearest = np.abs(_directions(4096) @ (offsets / lengths[:, None]).T).argmax(axis=1)
    weights = np.bincount(nearest, minlength=len(steps)) / len(nearest)
    return list(zip(steps, lengths.tolist(), weights.tolist(), strict=True))


def elongation(mask: Bool[Array, "i j k"], spacing_mm: Sequence[float]) -> float:
    """Square root of the ratio of the largest to the smallest principal second moment."""
    points = np.argwhere(mask) * np.asarray(spacing_mm)
    centred = points - points.mean(axis=0)
    moments = centred.T @ centred / len(points) + np.diag(np.square(spacing_mm)) / 12  # of a box: side^2 / 12
    values = np.linalg.eigvalsh(moments)
    return float(np.sqrt(values[-1] / values[0]))


def extent_mm(mask: Bool[Array, "i j k"], spacing_mm: Sequence[float]) -> float:
    """Largest distance between two voxels, from outer side to outer side."""
    border = mask & ~ndimage.binary_erosion(mask)
    points = np.argwhere(border) * np.asarray(spacing_mm, dtype=float)
    # The two farthest points of a body are extreme along the line that joins them; 128 directions miss it by under 1 %.
    directions = _directions(128)
    along = points @ directions.T
    return float(np.ptp(along, axis=0).max() + np.mean(spacing_mm))


def _directions(count: int) -> Float[Array, "count 3"]:
    """Evenly spread over the half sphere (Fibonacci lattice)."""
    z = (np.arange(count) + 0.5) / count
    angle = np.pi * (1 + 5**0.5) * np.arange(count)
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def shape_table(
    masks: Sequence[Bool[Array, "i j k"]], spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)
) -> dict[str, Float[Array, " lesions"]]:
    """Shape features of many lesions, one array per feature."""
    rows = [shape_features(mask, spacing_mm) for mask in masks]
    return {name: np.array([row[name] for row in rows]) for name in SHAPE_FEATURES}


def ks_distance(
    a: Float[Array, " n"],
    b: Float[Array, " m"],
    a_weights: Float[Array, " n"] | None = None,
    b_weights: Float[Array, " m"] | None = None,
) -> float:
    """Largest distance between two (weighted) empirical distribution functions.

    Raises:
        ValueError: A sample without any weight.
    """
    grid = np.unique(np.concatenate([a, b]))
    return float(np.abs(_distribution(a, a_weights, grid) - _distribution(b, b_weights, grid)).max())


def _distribution(values: Array, weights: Array | None, grid: Array) -> Array:
    weights = np.ones(len(values)) if weights is None else weights
    if weights.sum() <= 0:
        raise ValueError("Expected lesions to compare, got none (of a volume that both sets have); pass more lesions")
    order = np.argsort(values)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    return cumulative[np.searchsorted(values[order], grid, side="right")]


def volume_matched_ks(
    a: Float[Array, " n"], b: Float[Array, " m"], a_volumes: Float[Array, " n"], b_volumes: Float[Array, " m"]
) -> float:
    """`ks_distance` after weighting both sets to the same distribution of volume.

    Volumes are binned by factors of the square root of two; each bin carries the smaller of the two sets' shares in
    both. Bins that only one set has drop out.
    """
    return ks_distance(a, b, *volume_weights(a_volumes, b_volumes))


def volume_weights(
    a_volumes: Float[Array, " n"], b_volumes: Float[Array, " m"]
) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
    """Weights that give two sets of lesions the same distribution of volume; see `volume_matched_ks`."""
    a_bins, b_bins = volume_bins(a_volumes), volume_bins(b_volumes)
    a_weights, b_weights = np.zeros(len(a_bins)), np.zeros(len(b_bins))
    for level in np.intersect1d(a_bins, b_bins):
        in_a, in_b = a_bins == level, b_bins == level
        share = min(in_a.mean(), in_b.mean())
        a_weights[in_a], b_weights[in_b] = share / in_a.sum(), share / in_b.sum()
    return a_weights, b_weights


def volume_bins(volumes: Float[Array, " n"]) -> Int[Array, " n"]:
    """Bin of each volume; a bin is as wide as a factor of the square root of two."""
    return np.round(2 * np.log2(volumes)).astype(int)


def shape_distances(a: dict[str, Array], b: dict[str, Array]) -> dict[str, float]:
    """KS of volume as it is, of every other feature of `shape_table` at equal volume."""
    distances = {"volume_mm3": ks_distance(a["volume_mm3"], b["volume_mm3"])}
    for name in SHAPE_FEATURES[1:]:
        distances[name] = volume_matched_ks(a[name], b[name], a["volume_mm3"], b["volume_mm3"])
    return distances


def split_half_floors(
    patients: Sequence[dict[str, Array]], splits: int = 200, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Distances of one random half of the patients to the other: median and 95th percentile per feature.

    Args:
        patients: One `shape_table` each.
        splits: Number of random halvings.
        seed: Of the halvings.
    """
    rng = np.random.default_rng(seed)
    half = len(patients) // 2
    found = []
    for _ in range(splits):
        order = rng.permutation(len(patients))
        groups = (order[:half], order[half : 2 * half])
        found.append(shape_distances(*(_pool([patients[index] for index in group]) for group in groups)))
    return {name: tuple(np.percentile([row[name] for row in found], (50, 95))) for name in SHAPE_FEATURES}


def _pool(tables: Sequence[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([table[name] for table in tables]) for name in SHAPE_FEATURES}
