"""Metrics of the downstream benchmark against counting by hand and against other libraries."""

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from benchmarks.downstream.lesions import by_iou, by_overlap, by_size, components, lesions_of
from benchmarks.downstream.scores import dice, healthy_scores, scores, surface_dice
from lesionaug.errors import LesionAugError

SHAPE = (24, 26, 28)


def boxes(*corners_and_sizes) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for corner, size in corners_and_sizes:
        mask[tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))] = True
    return mask


def blobs(seed: int, share: float = 0.05) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 1.2)
    return noise > np.quantile(noise, 1 - share)


def test_dice_by_hand():
    real, predicted = boxes(((2, 2, 2), (4, 4, 4))), boxes(((4, 2, 2), (4, 4, 4)))
    assert dice(predicted, real) == pytest.approx(2 * 32 / 128)
    assert dice(real, real) == 1
    nothing = np.zeros(SHAPE, bool)
    assert dice(nothing, real) == 0
    assert dice(nothing, nothing) == 1


@pytest.mark.parametrize("seed", range(4))
def test_dice_is_that_of_scikit_learn(seed):
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    real, predicted = blobs(seed), blobs(seed + 10) | blobs(seed)
    assert dice(predicted, real) == pytest.approx(f1_score(real.ravel(), predicted.ravel()))


def test_surface_dice_forgives_a_millimetre_and_not_two():
    real = boxes(((6, 6, 6), (6, 6, 6)))
    assert surface_dice(np.roll(real, 1, 0), real, (1, 1, 1)) == 1
    assert surface_dice(np.roll(real, 1, 0), real, (2, 2, 2)) < 1
    assert surface_dice(np.roll(real, 8, 0), real, (1, 1, 1)) == 0
    assert surface_dice(np.zeros(SHAPE, bool), real, (1, 1, 1)) == 0
    assert surface_dice(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), (1, 1, 1)) == 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.0, 1.4)])
def test_surface_dice_is_that_of_distance_maps(spacing):
    real, predicted = blobs(1), blobs(2)
    edges = [mask & ~ndimage.binary_erosion(mask, border_value=0) for mask in (predicted, real)]
    apart = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    near = (apart[1][edges[0]] <= 1).sum() + (apart[0][edges[1]] <= 1).sum()
    expected = near / (edges[0].sum() + edges[1].sum())
    assert surface_dice(predicted, real, spacing) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_components_are_those_of_scipy(seed):
    mask = blobs(seed)
    ours, count = components(mask)
    theirs, expected = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == expected
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)
    assert pairs.shape[1] == count + 1


def test_lesions_have_three_cubic_millimetres():
    mask = boxes(((2, 2, 2), (1, 1, 2)), ((10, 10, 10), (1, 1, 3)))
    assert lesions_of(mask, 1.0)[1].tolist() == [3]
    assert lesions_of(mask, 1.5)[1].tolist() == [2, 3]
    assert len(lesions_of(mask, 0.5)[1]) == 0


def test_a_tenth_of_a_lesion_is_enough_and_less_is_not():
    real = boxes(((2, 2, 2), (10, 2, 1)))  # 20 voxels
    two, one = (
        boxes(((2, 2, 2), (2, 1, 1)), ((2, 2, 3), (1, 1, 1))),
        boxes(((2, 2, 2), (1, 1, 1)), ((1, 1, 1), (1, 1, 1))),
    )
    assert by_overlap(two, real, 1.0).found.tolist() == [True]
    assert by_overlap(one, real, 1.0).found.tolist() == [False]


def test_lesions_by_hand():
    real = boxes(((2, 2, 2), (3, 3, 3)), ((10, 2, 2), (3, 3, 3)), ((18, 2, 2), (3, 3, 3)))
    predicted = boxes(
        ((2, 2, 2), (3, 3, 3)), ((10, 3, 2), (3, 3, 3)), ((2, 18, 2), (3, 3, 3)), ((10, 18, 2), (3, 3, 3))
    )
    found = by_overlap(predicted, real, 1.0)
    assert found.found.tolist() == [True, True, False]
    assert found.rates() == pytest.approx({"recall": 2 / 3, "precision": 0.5, "f1": 2 * (2 / 3) * 0.5 / (2 / 3 + 0.5)})
    assert by_iou(predicted, real, 1.0).rates() == pytest.approx(found.rates())


def test_one_prediction_over_two_lesions_finds_both_by_overlap_and_one_by_iou():
    real = boxes(((2, 2, 2), (4, 4, 4)), ((7, 2, 2), (4, 4, 4)))
    predicted = boxes(((2, 2, 2), (9, 4, 4)))
    assert by_overlap(predicted, real, 1.0).found.tolist() == [True, True]
    assert by_iou(predicted, real, 1.0).found.sum() == 1


def test_a_prediction_of_everything_finds_all_and_is_wrong():
    real = boxes(((2, 2, 2), (3, 3, 3)))
    rates = by_overlap(np.ones(SHAPE, bool), real, 1.0).rates()
    assert (rates["recall"], rates["precision"], rates["f1"]) == (1, 0, 0)


def test_sizes_are_binned_by_real_volume():
    real = boxes(((1, 1, 1), (1, 1, 4)), ((6, 1, 1), (5, 2, 1)), ((1, 8, 1), (5, 5, 5)), ((10, 10, 10), (9, 9, 9)))
    predicted = boxes(((1, 8, 1), (5, 5, 5)), ((6, 1, 1), (5, 2, 1)))
    found = by_size(by_overlap(predicted, real, 1.0), real, 1.0)
    assert found == {"3-10": (1, 2), "10-50": (0, 0), "50-100": (0, 0), "100-500": (1, 1), ">500": (0, 1)}
    coarse = by_size(by_overlap(predicted, real, 8.0), real, 8.0)
    assert coarse == {"3-10": (0, 0), "10-50": (0, 1), "50-100": (1, 1), "100-500": (0, 0), ">500": (1, 2)}


def test_scores_hold_together():
    real, predicted = boxes(((2, 2, 2), (4, 4, 4))), boxes(((2, 2, 2), (4, 4, 5)))
    found = scores(predicted, real, (1.0, 1.0, 2.0))
    assert found["avd_ml"] == pytest.approx(16 * 2 / 1000)
    assert found["load_ml"] == pytest.approx(64 * 2 / 1000)
    assert (found["recall"], found["lesions"]) == (1, 1)
    empty = scores(np.zeros(SHAPE, bool), real, (1, 1, 1))
    assert (empty["dice"], empty["nsd"], empty["recall"], empty["f1"]) == (0, 0, 0, 0)
    assert healthy_scores(predicted, (1, 1, 1)) == {"false_lesions": 1, "false_ml": pytest.approx(0.08)}


def test_bad_masks_are_refused():
    real = boxes(((2, 2, 2), (4, 4, 4)))
    with pytest.raises(LesionAugError, match="one shape"):
        scores(real[1:], real, (1, 1, 1))
    with pytest.raises(LesionAugError, match="got an empty one"):
        scores(real, np.zeros(SHAPE, bool), (1, 1, 1))
