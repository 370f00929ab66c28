"""What a network misses is drawn more often, and a curriculum that harms ends."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from scans import small_scan

from benchmarks.downstream.cases import Case
from benchmarks.downstream.curriculum import Course, Curriculum, apart, kind_of, missed, together
from lesionaug.scan import REGIONS
from lesionaug.variants import VoxelChange

SHAPE = (48, 48, 48)
SMALL, LARGE = (20, 24, 20), (28, 24, 20)  # first voxels of two lesions, in two regions


def lesion(start, side, value=900.0):
    """A cube."""
    box = np.zeros(SHAPE, bool)
    box[tuple(slice(a, a + side) for a in start)] = True
    indices = np.flatnonzero(box)
    values = {channel: np.full(len(indices), value, np.float32) for channel in ("flair", "t1w")}
    return VoxelChange(indices, values, np.ones(len(indices), bool))


def case():
    scan = small_scan(0, shape=SHAPE)
    regions = torch.ones_like(scan.regions)
    regions[:, 26:] = 3
    return Case("a", "a", replace(scan, regions=regions, lesion_mask=torch.zeros_like(scan.lesion_mask)), np.eye(4))


def curriculum(bank, held):
    """With the same bank for every case."""
    kept = SimpleNamespace(count=len(bank), change_of=lambda case, number: bank[number])
    return Curriculum(kept, (1, 1), 1.0, held)


def finds(*lesions):
    """A network that sees these and nothing else."""
    mask = np.zeros(SHAPE, bool)
    for one in lesions:
        mask.ravel()[one.lesions] = True
    return lambda case: mask


def test_what_was_missed_comes_more_often():
    small, large = lesion(SMALL, 2), lesion(LARGE, 6)
    course, here = curriculum([small, large, small, large], held=2).course(), case()
    course.look([here], finds(large))
    rng = np.random.default_rng(0)
    sizes = [int(course(here, (), rng).lesion_mask.sum()) for _ in range(200)]
    assert set(sizes) == {len(small.indices), len(large.indices)}
    # Half of what was seen once, the other half is prior: 3/4 v. 1/4 in both kinds, with LEAST below.
    assert np.mean(np.array(sizes) == len(small.indices)) == pytest.approx(0.775**2 / (0.775**2 + 0.325**2), abs=0.08)


def test_held_lesions_are_never_trained_on():
    taught, held = lesion(SMALL, 2), lesion(LARGE, 6)
    course, here = curriculum([taught, held], held=1).course(), case()
    rng = np.random.default_rng(0)
    assert all(not course(here, (), rng).lesion_mask.view(-1)[held.indices].any() for _ in range(20))


def test_a_curriculum_that_harms_ends_with_even_weights():
    small, large = lesion(SMALL, 2), lesion(LARGE, 6)
    course, here = curriculum([small, large, small, large], held=2).course(), case()
    for seen, stopped in ((finds(small, large), False), (finds(small), False), (finds(small), True)):
        course.look([here], seen)
        assert course.stopped == stopped
    assert course.weight(0, 0) == course.weight(3, 2) == 1
    course.look([here], finds(small, large))
    assert course.stopped


def test_trainings_do_not_learn_from_each_other():
    bank = [lesion(SMALL, 2), lesion(LARGE, 6)] * 2
    settings, here = curriculum(bank, held=2), case()
    first, second = settings.course(), settings.course()
    first.look([here], finds())
    assert not np.array_equal(first.misses[0], second.misses[0])
    assert np.array_equal(second.misses[0], Course(settings).misses[0])


def test_a_lesion_is_of_the_region_that_most_of_it_lies_in():
    here = case().scan
    assert kind_of(lesion(SMALL, 2), here) == (0, 0)
    assert kind_of(lesion((24, 24, 20), 5), here) == (3, REGIONS.index("infratentorial"))


def test_shares_of_what_was_hardly_seen_stay_near_a_half():
    sizes, regions = missed([(0, 1, True)] * 9 + [(0, 1, False)] * 9 + [(1, 2, False)])
    assert sizes.tolist() == pytest.approx([9.5 / 19, 0.75, 0.5, 0.5, 0.5])
    assert regions.tolist() == pytest.approx([0.5, 9.5 / 19, 0.75, 0.5])


def test_lesions_that_share_a_voxel_are_not_put_together():
    one, touching, far = lesion(SMALL, 3), lesion((22, 26, 22), 3, value=5.0), lesion(LARGE, 2)
    assert apart([one, touching, far]) == [one, far]
    both = together([far, one, touching], 3)
    assert np.array_equal(both.indices, np.union1d(one.indices, far.indices))
    assert set(both.values["flair"]) == {900.0}
    assert both.labelled.all()
    assert len(together([], 3).indices) == 0
