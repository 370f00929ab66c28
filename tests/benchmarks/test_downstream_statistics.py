"""What is said of a difference between arms is no more than its runs allow."""

import numpy as np
import pytest

pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from benchmarks.downstream.report import pairs_of, shared_runs
from benchmarks.downstream.statistics import (
    FEW,
    GAIN,
    Differences,
    compare,
    detectable,
    differences,
    draws_needed,
    holm,
    power,
    signed_rank,
)
from lesionaug.errors import LesionAugError


def records_of(values: dict[str, np.ndarray]) -> list[dict]:
    """One record per arm, draw and seed from arrays `(draws, seeds, patients)`."""
    return [
        {
            "run": {"arm": arm, "fold": "all", "patients": 2, "draw": draw, "seed": seed},
            "cases": {f"p{n}": {"patient": f"p{n}", "dice": float(x)} for n, x in enumerate(row)},
        }
        for arm, table in values.items()
        for draw, seeds in enumerate(table)
        for seed, row in enumerate(seeds)
    ]


def test_what_was_spoilt_is_compared_with_what_was_not():
    records = records_of({arm: np.zeros((1, 1, 1)) for arm in ("none", "lesionaug", "lesionaug_anywhere")})
    assert ("lesionaug_anywhere", "lesionaug") in pairs_of(records)


def test_differences_are_paired_and_incomplete_pairs_left_out():
    base = np.random.default_rng(0).random((2, 2, 3))
    records = records_of({"none": base, "better": base + 0.1})
    found = differences(records, "better", "none", 2, "dice")
    assert found.by_patient == pytest.approx([0.1] * 3)
    assert found.runs == 4
    assert differences(records[:-1], "better", "none", 2, "dice").runs == 3
    with pytest.raises(LesionAugError, match="got none"):
        differences(records, "better", "best", 2, "dice")


def test_time_points_of_a_patient_count_as_one():
    records = records_of({"none": np.zeros((1, 1, 2)), "better": np.array([[[0.2, 0.4]]])})
    for record in records:
        record["cases"]["p1"]["patient"] = "p0"
    assert differences(records, "better", "none", 2, "dice").by_patient == pytest.approx([0.3])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = []
    for trial in range(60):
        patient, draw = rng.normal(0, 0.02, 16), rng.normal(0, 0.02, (12, 1, 1))
        values = 0.05 + patient + draw + rng.normal(0, 0.01, (12, 2, 16))
        found = compare(Differences(tuple(values), tuple("abcdefghijklmnop")), seed=trial)
        covered.append(found.any_draws.low <= 0.05 <= found.any_draws.high)
    assert np.mean(covered) >= 0.85


def test_intervals_for_these_draws_cover_what_more_seeds_and_patients_would_show():
    """Draws that differ by far more than seeds make the other interval wide, but not this one."""
    rng = np.random.default_rng(3)
    draws = rng.normal(0, 0.05, (8, 1, 1))
    covered, narrower = [], []
    for trial in range(60):
        values = 0.05 + draws - draws.mean() + rng.normal(0, 0.02, (8, 3, 1)) + rng.normal(0, 0.02, (1, 1, 10))
        found = compare(Differences(tuple(values), tuple("abcdefghij")), seed=trial)
        covered.append(found.these_draws.low <= 0.05 <= found.these_draws.high)
        narrower.append(found.these_draws.detectable < found.any_draws.detectable)
    assert np.mean(covered) >= 0.85
    assert all(narrower)


def test_one_seed_for_each_draw_says_nothing_of_these_draws():
    values = np.random.default_rng(0).normal(0.2, 0.01, (5, 1, 10))
    assert compare(Differences(tuple(values), tuple("abcdefghij"))).these_draws is None


def test_these_draws_by_hand():
    """Two draws of two seeds that differ by 0.2, so with a variance of 0.02; test patients do not differ."""
    values = (np.array([[0.1] * 3, [0.3] * 3]), np.array([[0.2] * 3, [0.4] * 3]))
    found = compare(Differences(values, tuple("abc"))).these_draws
    error, freedom = np.sqrt(0.02 / 4), 2
    assert found.freedom == pytest.approx(freedom)
    assert found.high - found.low == pytest.approx(2 * 4.302653 * error)


def test_a_clear_gain_is_seen_and_none_is_not():
    rng = np.random.default_rng(2)
    names = tuple(f"p{n}" for n in range(10))
    clear = compare(Differences(tuple(rng.normal(0.05, 0.01, (3, 2, 10))), names))
    assert clear.any_draws.low > 0
    assert clear.these_draws.low > 0
    assert clear.p < 0.01
    assert clear.wins == 10
    same = compare(Differences(tuple(np.zeros((3, 2, 10))), names))
    assert (same.mean, same.any_draws.low, same.any_draws.high, same.p, same.wins) == (0, 0, 0, 1, 0)
    assert (same.these_draws.low, same.these_draws.high) == (0, 0)


@pytest.mark.parametrize(("draws", "seeds"), [(3, 2), (3, 1), (4, 1)])
def test_few_draws_do_not_make_intervals_too_narrow(draws, seeds):
    """Where nothing differs, an interval of 95 % must not leave out 0 much more often than in 5 % of all studies."""
    rng = np.random.default_rng(5)
    wrong = []
    for trial in range(150):
        noise = [rng.normal(0, 0.02, shape) for shape in ((draws, 1, 1), (draws, seeds, 1), (1, 1, 10))]
        values = sum(noise) + rng.normal(0, 0.02, (draws, seeds, 10))
        found = compare(Differences(tuple(values), tuple("abcdefghij")), seed=trial)
        wrong.append(found.any_draws.low > 0 or found.any_draws.high < 0)
    assert np.mean(wrong) <= 0.1


def test_seeds_of_one_draw_give_no_interval():
    values = np.random.default_rng(0).normal(0.2, 0.01, (1, 5, 10))
    found = compare(Differences(tuple(values), tuple("abcdefghij")))
    assert found.any_draws is None
    in_folds = compare(Differences(tuple(values), tuple("abcdefghij"), folds=10))
    assert in_folds.any_draws.low > 0, "a fold has networks of its own"


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])


def test_signed_rank_by_hand():
    """Six patients, all better: one of 64 sign patterns, two-sided."""
    assert signed_rank(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == pytest.approx(2 / 64)


def test_power_is_what_is_asked_for_at_the_detectable_difference():
    for freedom in (2, 7, 29):
        assert power(detectable(0.013, freedom), 0.013, freedom) == pytest.approx(0.8, abs=1e-6)
        assert power(0.0, 0.013, freedom) == pytest.approx(0.025)
    assert detectable(0.013, 3) > detectable(0.013, 30)


def test_needed_draws_are_the_fewest_that_detect_it():
    needed = draws_needed(0.013, 8)
    errors = {count: 0.013 * np.sqrt(8 / count) for count in (needed - 1, needed)}
    assert detectable(errors[needed], needed - 1) <= GAIN < detectable(errors[needed - 1], needed - 2)
    assert draws_needed(0.0, 3) == FEW


def test_levels_are_of_runs_that_all_arms_have():
    """An arm that was run with easy patients only must not look better for it."""
    dice = {"none": np.array([[[0.9]], [[0.1]]]), "lesionaug": np.array([[[0.8]]])}
    found = [{**record, "healthy": {}} for record in records_of(dice)]
    shared = shared_runs(found)
    assert {(record["run"]["arm"], record["run"]["draw"]) for record in shared} == {("none", 0), ("lesionaug", 0)}
