"""One plan at two visits: every lesion is what it is called, and the same lesion at both."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from scans import small_plan, small_scan

from lesionaug.dataset.pairs import change_label
from lesionaug.dataset.produce import renumbered
from lesionaug.errors import LesionAugError
from lesionaug.evolution import BASELINE, CHANGES, FOLLOWUP, VISITS, Evolution, EvolvingLesion, evolve
from lesionaug.loaded import ModelChoice, loaded_synthesizer
from lesionaug.scan import LesionPlan

SPEC = small_plan().lesions[3]  # 7 mm across


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def lesions_of(spec, count, **options):
    return evolve(LesionPlan((spec,) * count), generator(), **{"voxel_mm3": 1.0, **options}).lesions


def test_all_changes_occur_equally_often():
    counts = Counter(lesion.change for lesion in lesions_of(SPEC, 1000))
    assert set(counts) == set(CHANGES)
    assert all(150 < count < 250 for count in counts.values())


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_asked_for_is_what_becomes_of_all(change):
    lesions = lesions_of(SPEC, 20, changes=(change,))
    assert {lesion.change for lesion in lesions} == {change}
    assert all(max(lesion.baseline, lesion.followup) == 1 for lesion in lesions)
    assert all(0 <= min(lesion.baseline, lesion.followup) <= 1 for lesion in lesions)


def test_a_lesion_of_few_voxels_does_not_grow():
    small = replace(SPEC, diameter_mm=2.5)  # 8 mm3
    assert {lesion.change for lesion in lesions_of(small, 200)} == {"stable", "new", "vanishing"}
    assert {lesion.change for lesion in lesions_of(small, 20, changes=("shrinking", "new"))} == {"new"}
    assert {lesion.change for lesion in lesions_of(small, 20, changes=("enlarging",))} == {"stable"}
    assert "enlarging" in {lesion.change for lesion in lesions_of(small, 200, voxel_mm3=0.5)}


def test_lesions_do_not_depend_on_those_after_them():
    few = evolve(LesionPlan((SPEC, replace(SPEC, diameter_mm=2.0))), generator(), 1.0)
    many = evolve(LesionPlan((SPEC, replace(SPEC, diameter_mm=2.0), SPEC)), generator(), 1.0)
    assert many.lesions[:2] == few.lesions


@pytest.mark.parametrize(("changes", "message"), [((), "got none"), (("moving",), "got 'moving'")])
def test_unknown_changes_are_refused(changes, message):
    with pytest.raises(LesionAugError, match=message):
        lesions_of(SPEC, 1, changes=changes)


def one_of_each():
    shares = {"stable": (1, 1), "new": (0, 1), "enlarging": (0.4, 1), "vanishing": (1, 0)}
    return Evolution(
        tuple(EvolvingLesion(spec, *pair) for spec, pair in zip(small_plan(), shares.values(), strict=True))
    )


def test_visits_have_the_lesions_that_are_there():
    evolution = one_of_each()
    assert evolution.numbers(BASELINE) == (1, 3, 4)
    assert evolution.numbers(FOLLOWUP) == (1, 2, 3)
    assert [lesion.grown for lesion in evolution.at(BASELINE)] == [1, 0.4, 1]
    assert [lesion.seed for lesion in evolution.at(FOLLOWUP)] == [100, 101, 102]
    for visit in VISITS:
        plan = evolution.at(visit)
        assert LesionPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_plans_written_before_lesions_could_grow_are_read():
    fields = small_plan().to_dict()
    for lesion in fields["lesions"]:
        assert lesion.pop("grown") == 1
    assert LesionPlan.from_dict(fields) == small_plan()


@pytest.mark.parametrize("model", ["parametric", pytest.param("default", marks=pytest.mark.slow)])
def test_a_scan_changes_where_lesions_do(model):
    synthesizer, scan, evolution = loaded_synthesizer(ModelChoice(model=model)), small_scan(), one_of_each()
    before, after = (synthesizer.render(scan, evolution.at(visit)) for visit in VISITS)
    alone = [
        synthesizer.render(scan, LesionPlan((lesion.spec,))).lesion_mask & ~scan.lesion_mask
        for lesion in evolution.lesions
    ]
    stable, new, enlarging, vanishing = alone
    assert not (stable & ~before.lesion_mask).any()
    assert not (new & before.lesion_mask).any()
    assert not (vanishing & after.lesion_mask).any()
    small = enlarging & before.lesion_mask
    assert small.sum() == round(0.4 * int(enlarging.sum()))
    assert not (enlarging & ~after.lesion_mask).any()
    anywhere = before.lesion_mask | after.lesion_mask
    assert torch.equal(before.image[:, ~anywhere[0]], after.image[:, ~anywhere[0]])
    assert torch.equal(before.image[:, stable[0]], after.image[:, stable[0]])


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0), (2.5, 1.0, 1.0)])
def test_the_change_label_covers_both_visits_on_any_voxels(spacing_mm):
    shape = tuple(round(60 / s) for s in spacing_mm)
    scan, growing = small_scan(shape=shape, spacing_mm=spacing_mm), ((0.3, 1), (1, 0.5), (0.7, 1), (0, 1))
    centers = [tuple(int(place * n) for n in shape) for place in (0.25, 0.45, 0.6, 0.8)]
    specs = [replace(SPEC, center=center, seed=seed) for seed, center in enumerate(centers)]
    evolution = Evolution(tuple(EvolvingLesion(spec, *pair) for spec, pair in zip(specs, growing, strict=True)))
    synthesizer = loaded_synthesizer(ModelChoice(model="parametric"))
    visits, numbers = {}, {}
    for visit in VISITS:
        visits[visit], found = synthesizer.render_instances(scan, evolution.at(visit))
        numbers[visit] = renumbered(found, evolution.numbers(visit))
    label = torch.from_numpy(change_label(evolution, numbers, scan))[None]
    assert torch.equal(label > 0, visits[BASELINE].lesion_mask | visits[FOLLOWUP].lesion_mask)
    for number, lesion in enumerate(evolution.lesions, start=1):
        at = (numbers[BASELINE] == number) | (numbers[FOLLOWUP] == number)
        assert label[at].unique().tolist() == [CHANGES.index(lesion.change) + 1]
