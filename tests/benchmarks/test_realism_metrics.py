"""Every distance of the realism benchmark against a second library, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the realism benchmark needs scikit-learn")

from scipy import stats
from scipy.spatial.distance import dice, jensenshannon
from sklearn.metrics import roc_auc_score

from benchmarks.realism import in_host, location, memorisation, shape, textures, twosample
from benchmarks.realism.halving import Aim, Comparison


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("n", "m"), [(3, 5), (40, 40), (200, 17)])
def test_ks_is_that_of_scipy(n: int, m: int, rng: np.random.Generator):
    a, b = np.round(rng.normal(0, 2, n), 1), np.round(rng.normal(0.5, 2, m), 1)  # rounded: with ties
    assert shape.ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)


def test_weighted_ks_is_that_of_repeated_values(rng: np.random.Generator):
    a, b, times = rng.normal(size=12), rng.normal(size=9), rng.integers(1, 5, 12)
    found = shape.ks_distance(a, b, times.astype(float), np.ones(9))
    assert found == pytest.approx(stats.ks_2samp(np.repeat(a, times), b).statistic)


def test_jensen_shannon_is_that_of_scipy(rng: np.random.Generator):
    a, b = rng.random((4, 5, 6)), rng.random((4, 5, 6)) * (rng.random((4, 5, 6)) > 0.5)
    assert location.jensen_shannon(a, b) == pytest.approx(jensenshannon(a.ravel(), b.ravel(), base=2) ** 2)


def test_correlation_is_that_of_scipy_over_cells_that_either_map_reaches(rng: np.random.Generator):
    a, b = (rng.random((6, 6, 6)) * (rng.random((6, 6, 6)) > 0.7) for _ in range(2))
    reached = (a > 0) | (b > 0)
    assert location.correlation(a, b) == pytest.approx(stats.pearsonr(a[reached], b[reached]).statistic)


def test_auc_is_that_of_scikit_learn(rng: np.random.Generator):
    positive, scores = rng.random(60) > 0.6, np.round(rng.normal(size=60), 1)
    assert twosample.auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_auc_within_folds_compares_lesions_of_one_fold_alone(rng: np.random.Generator):
    folds, positive = np.repeat([0, 1], 30), rng.random(60) > 0.5
    scores = rng.normal(size=60) + 100 * folds  # no common scale
    each = [roc_auc_score(positive[folds == k], scores[folds == k]) for k in (0, 1)]
    pairs = [positive[folds == k].sum() * (~positive[folds == k]).sum() for k in (0, 1)]
    assert twosample.auc_within(scores, positive, folds) == pytest.approx(np.average(each, weights=pairs))


def test_dice_is_that_of_scipy_where_masks_are_in_place(rng: np.random.Generator):
    mask = rng.random((7, 7, 7)) > 0.5
    mask[[0, -1, 0], [0, 0, -1], [0, -1, 0]] = True
    assert memorisation.best_dice(mask, mask) == pytest.approx(1 - dice(mask.ravel(), mask.ravel()))


def test_correlation_of_cubes_is_that_of_numpy(rng: np.random.Generator):
    one, other = rng.normal(size=(2, 1, *(textures.SIDE,) * 3))
    both = [np.flip(other[0], axes).ravel() for axes in ((), 0, 1, 2, (0, 1), (0, 2), (1, 2), (0, 1, 2))]
    expected = max(np.corrcoef(one.ravel(), flipped)[0, 1] for flipped in both)
    assert textures.nearest(one, other)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("real", "synthetic", "count"),
    [("abcdef", "abcdef", 5), ("abc", "defg", 3), ("ab", "bc", 2), ("abcd", "ef", 2), ("aab", "aac", 2)],
)
def test_folds_share_no_patient_and_all_have_both_groups(real: str, synthetic: str, count: int):
    for seed in range(20):
        folds = twosample.patient_folds(np.array([*real]), np.array([*synthetic]), np.random.default_rng(seed))
        assert set(folds) == {*real, *synthetic}
        assert {folds[name] for name in real} == {folds[name] for name in synthetic} == set(range(count))


def test_patients_of_one_group_alone_are_not_enough():
    with pytest.raises(ValueError, match="got 1 and 3"):
        twosample.patient_folds(np.array(["a", "a"]), np.array(["a", "b", "c"]), np.random.default_rng(0))


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.3, 0.7), (3.0, 0.95, 1.0)])
def test_patient_wise_test_finds_a_shift_and_only_a_shift(shift: float, low: float, high: float):
    rng = np.random.default_rng(1)
    patients = np.repeat([*"abcd"], 15)
    styles = {name: rng.normal(0, 3, 6) for name in "abcd"}  # of the scanners
    real, synthetic = (np.array([styles[name] + rng.normal(size=6) for name in patients]) for _ in range(2))
    found = twosample.patient_wise_auc(real, synthetic + shift * np.eye(6)[0] * 3, patients, patients, trees=30)
    assert low <= found.logreg <= high
    assert low <= found.forest <= high
    assert found.logreg_se < 0.15


def test_in_host_distance_is_the_mean_over_hosts_and_knows_what_chance_does(rng: np.random.Generator):
    def lesions(count: int, level: float) -> np.ndarray:
        return np.column_stack([rng.normal(level, 1, count), rng.uniform(3, 5, count)])

    hosts = (0.0, 50.0)  # far apart: pooled, nothing else would show
    (same,) = in_host.in_host_rows([(lesions(80, h), lesions(80, h)) for h in hosts], {"f": 0}, 0)
    (moved,) = in_host.in_host_rows([(lesions(80, h), lesions(80, h + 3)) for h in hosts], {"f": 0}, 0)
    assert same.reached
    assert moved.value > 0.8
    assert moved.worst_real < 0.4
    large = lesions(5, 0) + np.array([0, 9])
    (nothing,) = in_host.in_host_rows([(lesions(5, 0), large)], {"f": 0}, 0)
    assert nothing.value is None


@pytest.mark.parametrize(("aim", "worst", "allowed"), [(Aim(0.1), 0.3, 0.3), (Aim(0.1), 0.05, 0.1), (Aim(), 0.3, None)])
def test_an_aim_asks_for_no_more_than_real_halves_reach(aim: Aim, worst: float, allowed: float | None):
    assert aim.allowing(worst) == allowed
    assert Aim(0.75, at_least=True).allowing(0.4) == 0.4


def test_halves_that_do_not_suffice_are_left_out():
    comparison = Comparison({"x": Aim(1.0)}, lambda a, b: {"x": float(len(a) + len(b))}, lambda s: "few" * (len(s) < 2))
    rows = comparison.rows([1, 2, 3], [([1], [2]), ([1, 2], [3, 4])])
    assert (rows[0].value, rows[0].floor) == (5, 4)
    assert "1 splits" in rows[0].note
    assert comparison.rows([1, 2], [([1], [2])])[0].value is None
    assert comparison.rows([1], [([1, 2], [3, 4])])[0].note == "generated: few"


def test_matched_volumes_have_one_distribution(rng: np.random.Generator):
    a, b = np.exp(rng.normal(3, 1, 500)), np.exp(rng.normal(4, 1, 300))
    bins = [shape.volume_bins(volumes) for volumes in (a, b)]
    weights = shape.volume_weights(a, b)
    for level in np.union1d(*bins):
        one, other = (w[inside == level].sum() for w, inside in zip(weights, bins, strict=True))
        assert one == pytest.approx(other)
    assert stats.ks_2samp(a, b).statistic > 0.3 > 0.1 > shape.ks_distance(a, b, *weights)
