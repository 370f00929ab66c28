"""Are generated lesions copies of real ones? Masks by overlap, tissue by correlation; see `memorisation`, `textures`.

Without knowing what a method learnt from, the real scans at hand stand for it: that finds what was copied from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.realism.halving import Scans
from benchmarks.realism.memorisation import MIN_MM3, best_dices, limit_of, memorisation
from benchmarks.realism.report import MAX_CLOSER, MAX_COPIED
from benchmarks.realism.textures import LIMIT, nearest
from benchmarks.realism.yardsticks import Yardstick

Array = np.ndarray
MOST_MASKS = 200  # of a group are compared, drawn at random where there are more
MIN_COMPARED = 5
MASKS, CLOSER, TEXTURES = (
    "memorised masks, share",
    "closer to seen than to unseen, share",
    "memorised textures, share",
)


def copy_rows(real: Scans, generated: Scans, seen: Scans | None, seed: int) -> list[Yardstick]:
    """Shares of lesions that are too much alike to lesions of the scans that a method may have copied.

    Args:
        real: Scans of two patients or more.
        generated: Of one method.
        seen: Scans that the method learnt from; the real ones where that is not known.
        seed: Draws masks where there are many.
    """
    rng = np.random.default_rng(seed)
    return [
        _masks_row(real, generated, seen or real, rng),
        _closer_row(real, generated, seen, seed),
        _textures_row(real, generated, seen or real),
    ]


def _masks_row(real: Scans, generated: Scans, learnt: Scans, rng: np.random.Generator) -> Yardstick:
    masks = _some([mask for scan in generated for mask in scan.masks], rng)
    if len(masks) < MIN_COMPARED:
        return Yardstick(MASKS, None, MAX_COPIED, note=f"not enough, {len(masks)} masks of {MIN_MM3:.0f} mm3 or more")
    owned = _some([(scan.patient, mask) for scan in real for mask in scan.masks], rng)
    by_chance = [_copied([mask], _masks_of_others(learnt, patient)) for patient, mask in owned]
    floor = float(np.mean(by_chance)) if by_chance else None
    note = f"{len(masks)} masks of {MIN_MM3:.0f} mm3 or more; real: {len(owned)} against those of other patients"
    return Yardstick(MASKS, _copied(masks, _masks_of_others(learnt)), MAX_COPIED, floor=floor, note=note)


def _closer_row(real: Scans, generated: Scans, seen: Scans | None, seed: int) -> Yardstick:
    if seen is None:
        return Yardstick(CLOSER, None, MAX_CLOSER, note="unknown, as --seen does not say what was learnt from")
    patients = {scan.patient for scan in seen}
    unseen = [mask for scan in real if scan.patient not in patients for mask in scan.masks]
    try:
        found = memorisation([mask for scan in generated for mask in scan.masks], _masks_of_others(seen), unseen, seed)
    except ValueError as error:
        return Yardstick(CLOSER, None, MAX_CLOSER, note=f"not enough: {error}")
    note = f"{found.count} masks; expected where nothing is learnt by heart: 0.5"
    return Yardstick(CLOSER, found.closer_to_seen, MAX_CLOSER, floor=0.5, note=note)


def _textures_row(real: Scans, generated: Scans, learnt: Scans) -> Yardstick:
    if any(scan.cubes is None for scan in (*real, *generated, *learnt)):
        return Yardstick(TEXTURES, None, MAX_COPIED, note="needs images with voxels of 1 mm, and brains, of all scans")
    cubes, others = _cubes(generated), _cubes(learnt)
    if min(len(cubes), len(others)) < MIN_COMPARED:
        note = f"not enough, {len(cubes)} lesions and {len(others)} that may be copied"
        return Yardstick(TEXTURES, None, MAX_COPIED, note=note)
    alike, floor = nearest(cubes, others), _real_alike(real, learnt)
    note = f"{len(cubes)} lesions; highest correlation {alike.max():.2f}"
    note += f", of real ones with other patients' {floor.max():.2f}" if len(floor) else ""
    by_chance = float((floor > LIMIT).mean()) if len(floor) else None
    return Yardstick(TEXTURES, float((alike > LIMIT).mean()), MAX_COPIED, floor=by_chance, note=note)


def _real_alike(real: Scans, learnt: Scans) -> Array:
    """Correlation of each real lesion with the nearest one of another patient."""
    found = []
    for scan in real:
        others = _cubes([other for other in learnt if other.patient != scan.patient])
        if len(others) and len(_cubes([scan])):
            found.append(nearest(_cubes([scan]), others))
    return np.concatenate(found) if found else np.zeros(0)


def _cubes(scans: Scans) -> Array:
    return np.concatenate([scan.cubes for scan in scans if scan.cubes is not None]) if len(scans) else np.zeros((0, 1))


def _masks_of_others(scans: Scans, patient: str | None = None) -> list[Array]:
    return [mask for scan in scans if scan.patient != patient for mask in scan.masks]


def _copied(masks: Sequence[Array], learnt: Sequence[Array]) -> float:
    return float(np.mean([dice > limit_of(mask) for dice, mask in zip(best_dices(masks, learnt), masks, strict=True)]))


def _some(items: list, rng: np.random.Generator) -> list:
    return [items[index] for index in sorted(rng.permutation(len(items))[:MOST_MASKS])]
