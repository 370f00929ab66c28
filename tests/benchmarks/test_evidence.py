"""Laws of the tables that carry the claims: aims and floors are told apart, pairs and pages say what they show."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the realism benchmark needs scikit-learn")

from benchmarks.realism import hosts, plans
from benchmarks.realism.followup import Pair, appeared, painted
from benchmarks.realism.plans import Lesions, distances
from benchmarks.realism.yardsticks import Yardstick
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer
from lesionaug.synthesis import LesionSynthesizer

SPACING = (0.8, 0.8, 3.0)
PLACES = {"new": (30, 30, 8), "old": (30, 50, 8), "gone": (50, 30, 8), "faint": (50, 50, 8)}


def made_pair() -> Pair:
    """Four lesions that change: one appears, one was there, one goes, one hardly shows."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (80, 80, 18)), indexing="ij"), axis=-1)
    brain = np.linalg.norm((grid - [40, 40, 9]) * SPACING, axis=-1) < 28
    blobs = {name: np.linalg.norm((grid - place) * SPACING, axis=-1) < 4 for name, place in PLACES.items()}
    tissue = 100 + 10 * rng.standard_normal(brain.shape)
    bright = {"new": (0, 30), "old": (30, 45), "gone": (30, 0), "faint": (0, 4)}
    studies = [tissue + sum(bright[name][k] * blob for name, blob in blobs.items()) for k in (0, 1)]
    first, second = (np.where(brain, study, 0).astype(np.float32) for study in studies)
    return Pair("made", first, second, brain, np.logical_or.reduce(list(blobs.values())) & brain, SPACING)


def flat() -> LesionSynthesizer:
    return LesionSynthesizer(LesionPrior.load(), DiffusionRenderer(EllipsoidMasks(), ConstantContrast()))


def made_lesions(seed: int, shift_mm: float = 0.0, factor: float = 1.0, scans: int = 4) -> Lesions:
    rng = np.random.default_rng(seed)
    volumes = tuple(factor * np.exp(rng.normal(4, 1, 50)) for _ in range(scans))
    return Lesions(volumes, tuple(rng.normal(0, 8, (50, 3)) + shift_mm for _ in range(scans)))


@pytest.mark.parametrize(("value", "at_least", "reached"), [(0.2, False, False), (0.2, True, True), (0.1, False, True)])
def test_an_aim_is_reached_from_its_side(value: float, at_least: bool, reached: bool):
    row = Yardstick("name", value, aim=0.1, at_least=at_least)
    assert row.reached is reached
    assert ("NO" in row.line()) is not reached
    assert Yardstick("name", value).reached is None


def test_plans_like_the_patients_are_near_and_others_far():
    real = made_lesions(0)
    near, large, moved = (distances(made_lesions(1, *change), real) for change in ((), (0.0, 3.0), (30.0,)))
    assert near["volume KS"] < 0.15 < large["volume KS"]
    assert near["share under 50 mm3, difference"] < 0.1 < large["share under 50 mm3, difference"]
    assert near["location Jensen-Shannon"] < moved["location Jensen-Shannon"]
    assert near["location r"] > 0.5 > moved["location r"]
    assert large["load KS"] == 1
    assert near["count KS"] == 0


def test_no_plan_is_made_twice():
    """Sites that shared their seeds had shared their few numbers of lesions: counts and loads looked wrong."""

    class Asked:
        def plans(self, prior, count, seed, density):
            return range(seed, seed + count)

    seeds = [seed for made in plans.plans_on([Asked()] * 3, None, 40, 7) for seed in made]
    assert len(set(seeds)) == len(seeds) == 120


def test_patients_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="got nobody"):
        plans.Patients(("a",), (), Lesions((), ())).index(["nobody"])


def test_only_what_was_not_there_before_has_appeared():
    (found,) = appeared(made_pair())
    assert found.center == PLACES["new"]
    assert not (found.whole & ~made_pair().change).any()


def test_the_lesion_of_study_2_is_painted_where_it_is_with_the_contrast_asked_for():
    pair = made_pair()
    lesions = list(appeared(pair))
    image = painted(flat(), pair, lesions, [2.0], halo=False)
    before = pair.in_own_units(pair.study1)
    changed = np.abs(image - before) > 1e-3
    inside = lesions[0].whole
    assert 2 * (changed & inside).sum() / (changed.sum() + inside.sum()) > 0.8
    rise = lesions[0].features(image)["contrast"] - lesions[0].features(before)["contrast"]
    assert rise == pytest.approx(2.0, rel=0.3)


def test_pairs_are_read_in_the_layout_of_the_data(tmp_path, monkeypatch):
    pair, folder = made_pair(), tmp_path / "data" / "open_ms" / "longitudinal" / "made"
    folder.mkdir(parents=True)
    files = {"study1_flair": pair.study1, "study2_flair": pair.study2, "brainmask": pair.brain, "change": pair.change}
    for name, data in files.items():
        nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag((*SPACING, 1))), folder / f"{name}.nii.gz")
    monkeypatch.setenv("LESIONAUG_SHARED", str(tmp_path))
    found = Pair.load("made")
    assert found.spacing_mm == pytest.approx(SPACING)
    np.testing.assert_array_equal(found.change, pair.change)


@pytest.mark.realdata
@pytest.mark.slow
def test_a_half_of_the_patients_in_atlas_space_is_as_near_the_other_as_measured_before():
    if not (hosts.shared() / "data" / "open_ms").is_dir():
        pytest.skip("needs the shared data (LESIONAUG_SHARED)")
    patients = plans.Patients.load()
    half = len(patients.names) // 2
    found = distances(patients.lesions.of(range(half)), patients.lesions.of(range(half, 2 * half)))
    assert found["location Jensen-Shannon"] < 0.25
    assert found["location r"] > 0.5
