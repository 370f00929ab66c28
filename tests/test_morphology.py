"""Morphology says what distance maps and scipy say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from lesionaug.anatomy.grids import enlarged
from lesionaug.anatomy.morphology import box_of, closed, deep, filled, largest, near, opened
from lesionaug.anatomy.tissue import _bias_field, _positions

SPACINGS = ((2.0, 2.0, 2.0), (1.9, 2.1, 3.0), (1.4, 2.6, 2.0))


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    """Blobs, some of which touch the faces."""
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(30, 36, 33)), 2.5) > 0.02


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [1.0, 4.0, 8.0])
def test_near_and_deep_are_thresholds_of_distances(mask, spacing, radius):
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    assert np.array_equal(near(mask, radius, spacing), outside <= radius)
    assert np.array_equal(deep(mask, radius, spacing), inside > radius)


def test_nothing_is_near_nothing():
    empty = np.zeros((5, 6, 7), bool)
    assert not near(empty, 3).any()
    assert not largest(empty).any()
    assert not filled(empty).any()
    assert near(~empty, 3).all()


def test_one_voxel_opens_and_closes_as_in_scipy(mask):
    padded = ndimage.binary_closing(np.pad(mask, 2))[2:-2, 2:-2, 2:-2]
    assert np.array_equal(opened(mask, 1), ndimage.binary_opening(mask))
    assert np.array_equal(closed(mask, 1), padded)


def test_closing_only_adds_and_opening_only_removes(mask):
    assert not (mask & ~closed(mask, 5, SPACINGS[1])).any()
    assert not (opened(mask, 5, SPACINGS[1]) & ~mask).any()


def test_holes_and_parts_are_those_of_scipy(mask):
    parts, _ = ndimage.label(mask)
    assert np.array_equal(filled(mask), ndimage.binary_fill_holes(mask))
    assert np.array_equal(largest(mask), parts == 1 + np.bincount(parts.ravel())[1:].argmax())


def test_box_has_all_of_a_mask_and_stays_inside():
    mask = np.zeros((9, 9, 9), bool)
    mask[1:4, 5, 7:] = True
    assert box_of(mask) == (slice(1, 4), slice(5, 6), slice(7, 9))
    assert box_of(mask, 2) == (slice(0, 6), slice(3, 8), slice(5, 9))


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 3, 2), (4, 1, 1)])
def test_enlarging_is_linear_interpolation(factors):
    volume = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(0))
    size = [n * f for n, f in zip(volume.shape, factors, strict=True)]
    expected = F.interpolate(volume[None, None], size=size, mode="trilinear", align_corners=False)[0, 0]
    assert torch.allclose(enlarged(volume, factors), expected, atol=1e-6)


def test_bias_field_is_the_sum_of_its_polynomials():
    shape = (5, 7, 6)
    bias = np.random.default_rng(0).normal(size=(2, 19)).astype(np.float32)
    where = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape))
    direct = bias @ _positions(where, shape)
    assert np.allclose(_bias_field(bias, shape).reshape(2, -1), direct, atol=1e-4)
