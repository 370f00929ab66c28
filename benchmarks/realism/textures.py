"""Are painted lesions copies of those that the inpainting model learnt from?

Cubes around lesions are compared by normalised cross-correlation, which neither brightness nor contrast changes. The
yardstick is what real lesions of other patients have in common with those learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from benchmarks.realism.hosts import HostResult, HostScan, in_units_before
from benchmarks.realism.shape import lesions_with_boxes

Array = np.ndarray
SIDE = 11  # voxels
LIMIT = 0.86
"""Correlation with the nearest lesion of another patient that real ones exceed once in a hundred."""


@dataclass(frozen=True)
class TextureCopies:
    """Verdict over lesions painted into scans that the model never saw.

    Args:
        share_above: Share of painted lesions more alike to one learnt from than `LIMIT`.
        real_above: The same share of the real lesions of these scans.
        highest: Correlation of the most suspicious painted lesion.
        real_highest: And of the most alike real one.
        count: Painted lesions.
    """

    share_above: float
    real_above: float
    highest: float
    real_highest: float
    count: int


def texture_copies(results: Sequence[HostResult], seen: Sequence[HostScan], channel: str = "flair") -> TextureCopies:
    """Compare painted lesions, and real ones of the same hosts, with those of scans that the model learnt from.

    Args:
        results: Hosts that it did not learn from, before and after.
        seen: Scans that it learnt from.
        channel: Contrast compared.

    Raises:
        ValueError: A group without lesions.
    """
    learnt = _joined([lesion_cubes(scan.robust_images()[channel], scan.lesions) for scan in seen])
    painted = _joined([lesion_cubes(in_units_before(result, channel), result.new_lesions) for result in results])
    real = _joined([lesion_cubes(r.host.robust_images()[channel], r.host.lesions) for r in results])
    if not len(learnt) or not len(painted) or not len(real):
        raise ValueError(f"Expected lesions in each group, got {len(learnt)}, {len(painted)}, {len(real)}; name others")
    alike, by_chance = nearest(painted, learnt), nearest(real, learnt)
    return TextureCopies(
        share_above=float((alike > LIMIT).mean()),
        real_above=float((by_chance > LIMIT).mean()),
        highest=float(alike.max()),
        real_highest=float(by_chance.max()),
        count=len(alike),
    )


def lesion_cubes(image: Float[Array, "i j k"], lesions: Bool[Array, "i j k"]) -> Float[Array, "n a a a"]:
    """Cubes of `SIDE` voxels about the centroids of lesions, without those that the scan's border cuts."""
    cubes = []
    for crop, box in lesions_with_boxes(lesions):
        center = np.round(ndimage.center_of_mass(crop)).astype(int) + [part.start for part in box]
        start = center - SIDE // 2
        if (start >= 0).all() and (start + SIDE <= image.shape).all():
            cubes.append(image[tuple(slice(a, a + SIDE) for a in start)])
    return np.array(cubes, dtype=np.float64).reshape(-1, SIDE, SIDE, SIDE)


def nearest(cubes: Float[Array, "n a a a"], others: Float[Array, "m a a a"]) -> Float[Array, " n"]:
    """Highest correlation of each cube with any of the others, over all mirrorings."""
    found = np.full(len(cubes), -1.0)
    mirrored = _standard(cubes)
    for axes in ((), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)):
        found = np.maximum(found, (mirrored @ _standard(np.flip(others, axes)).T).max(axis=1))
    return found


def _standard(cubes: Array) -> Array:
    """Rows of mean zero and length one."""
    rows = cubes.reshape(len(cubes), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _joined(groups: Sequence[Array]) -> Array:
    return np.concatenate(groups)
