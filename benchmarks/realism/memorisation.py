"""Are generated masks copies of training lesions?

The yardstick is what two real lesions of different patients have in common by chance, which depends on size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray
MIN_MM3 = 50.0  # smaller lesions are alike by necessity
LIMITS = ((200.0, 0.84), (1000.0, 0.81), (np.inf, 0.68))
"""Upper volume (mm3) and the 99th percentile of the best Dice between real lesions of different patients."""
VOLUME_FACTOR = 2.0  # beyond it Dice is at most 2/3: below every limit
SHIFTS = np.array(list(product((-1, 0, 1), repeat=3)))
FLIPS = np.array(list(product((-1, 1), repeat=3)))

Mask = Bool[Array, "i j k"]


@dataclass(frozen=True)
class Memorisation:
    """Verdict over a set of masks.

    Args:
        share_above: Share of masks more alike to a training lesion than the 99th percentile of real ones; alarm
            above 0.03.
        closer_to_seen: Share closer to the training lesions than to as many unseen ones; expected 0.5, alarm at 0.6.
        count: Masks of 50 mm3 or more that were judged.
    """

    share_above: float
    closer_to_seen: float
    count: int


def memorisation(masks: Sequence[Mask], seen: Sequence[Mask], unseen: Sequence[Mask], seed: int = 0) -> Memorisation:
    """Compare masks (1 mm) with lesions that the generator was trained on and with lesions that it never saw.

    Raises:
        ValueError: No mask of 50 mm3 or more, or no unseen lesions.
    """
    masks, seen, unseen = ([m for m in group if m.sum() >= MIN_MM3] for group in (masks, seen, unseen))
    if not masks or not seen or not unseen:
        raise ValueError(
            f"Expected masks, seen and unseen lesions of {MIN_MM3:.0f} mm3 or more, got {len(masks)}, {len(seen)}, "
            f"{len(unseen)}; generate larger ones or pass more patients"
        )
    rng = np.random.default_rng(seed)
    to_seen = best_dices(masks, seen)
    # The best of many is better than the best of few: both sides get the same number.
    equal = min(len(seen), len(unseen))
    some_seen, some_unseen = ([group[i] for i in rng.permutation(len(group))[:equal]] for group in (seen, unseen))
    near, far = best_dices(masks, some_seen), best_dices(masks, some_unseen)
    return Memorisation(
        share_above=float(np.mean([dice > limit_of(mask) for dice, mask in zip(to_seen, masks, strict=True)])),
        closer_to_seen=float(np.mean(near > far) + 0.5 * np.mean(near == far)),
        count=len(masks),
    )


def limit_of(mask: Mask) -> float:
    """Best Dice that real lesions of this volume exceed once in a hundred."""
    return next(limit for upper, limit in LIMITS if mask.sum() <= upper)


def best_dices(masks: Sequence[Mask], lesions: Sequence[Mask]) -> Float[Array, " masks"]:
    """`best_dice` of each mask; lesions of more than twice or less than half its volume are passed over."""
    sizes = np.array([lesion.sum() for lesion in lesions])
    found = []
    for mask in masks:
        ratio = sizes / mask.sum()
        near = np.flatnonzero((ratio <= VOLUME_FACTOR) & (ratio >= 1 / VOLUME_FACTOR))
        found.append(max((best_dice(mask, lesions[index]) for index in near), default=0.0))
    return np.array(found)


def best_dice(mask: Mask, lesion: Mask) -> float:
    """Best Dice of two masks over one-voxel shifts about the common centroid and all flips.

    Reference:
        Dice 1945; shifts and flips make up for where and how a lesion was cut out.
    """
    points, others = _centred_points(mask), _centred_points(lesion)
    side = 2 * int(max(np.abs(points).max(), np.abs(others).max())) + 5
    cube = np.zeros((side,) * 3, bool)
    cube[tuple((points + side // 2).T)] = True
    flipped = others[None] * FLIPS[:, None] + side // 2
    strides = np.array([side * side, side, 1])
    moved = (flipped @ strides)[:, None] + (SHIFTS @ strides)[None, :, None]
    return float(2 * cube.ravel()[moved].sum(axis=-1).max() / (len(points) + len(others)))


def _centred_points(mask: Mask) -> Int[Array, "n 3"]:
    points = np.argwhere(mask)
    return points - np.floor(points.mean(axis=0) + 0.5).astype(int)
