"""What a network sees of a lesion counts for that lesion alone."""

import numpy as np
import pytest

pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from benchmarks.downstream.seen import SOURCES, Sight, sights, table


def boxes(*corners_and_sides):
    mask = np.zeros((40, 40, 40), bool)
    for corner, side in corners_and_sides:
        mask[tuple(slice(a, a + side) for a in corner)] = True
    return mask


def test_a_lesion_seen_larger_and_one_not_seen():
    lesions = boxes(((5, 5, 5), 3), ((25, 25, 25), 3))
    seen, unseen = sights(boxes(((5, 5, 5), 4)), lesions, lesions, 1.0)
    assert (seen.labelled, seen.seen, seen.both) == (27, 63, 27)  # a corner of the 64 is three steps away
    assert seen.found
    assert (unseen.seen, unseen.found) == (0, False)


def test_what_is_seen_far_from_a_lesion_is_not_of_it():
    lesion = boxes(((5, 5, 5), 3))
    (sight,) = sights(boxes(((20, 20, 20), 6)), lesion, lesion, 1.0)
    assert sight.seen == 0


def test_lesions_near_others_are_left_out():
    lesions, old = boxes(((5, 5, 5), 3), ((25, 25, 25), 3)), boxes(((9, 5, 5), 3))
    assert len(sights(lesions, lesions, lesions | old, 1.0)) == 1


def test_volumes_are_of_found_lesions_and_in_mm3():
    found = {"real": [Sight(8, 12, 8, 2.0), Sight(8, 0, 0, 2.0)], "lesionaug": []}
    rows = {(row["mm3"], row["lesions"]): row for row in table(found)}
    real = rows["10-50", "real"]  # 8 voxels of 2 mm3
    assert (real["count"], real["found"], real["seen / labelled volume"]) == (2, 0.5, 1.5)
    assert real["Dice of found"] == pytest.approx(2 * 8 / 20)
    assert rows["10-50", "lesionaug"]["found"] is None
    assert sum(row["count"] for row in rows.values()) == 2
    assert set(found) <= set(SOURCES)
