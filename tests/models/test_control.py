import random

import numpy as np
import pytest
import torch
from golden_networks import numbers

from lesionaug.models.control import (
    TOUCHING,
    ball,
    control_sphere,
    control_spheres,
    encode,
    gaussian_histogram,
    lesion_histogram,
    random_ellipsoids,
)
from lesionaug.models.published_cleanup import (
    SWEEP_THRESHOLDS,
    drop_at_border,
    drop_small,
    fork_choices,
    fork_sweep,
    original_cleanup,
)

PATCH = (32, 64, 64)


@pytest.fixture(scope="session")
def geometry(golden):
    return np.load(golden / "geometry.npz")


def unpacked(geometry, name, shape=PATCH):
    return np.unpackbits(geometry[name])[: np.prod(shape)].reshape(shape).astype(bool)


@pytest.mark.realdata
def test_control_spheres(geometry):
    lesions = unpacked(geometry, "sphere_lesion_mask")
    assert np.array_equal(control_spheres(lesions), unpacked(geometry, "sphere_fork_union"))
    assert np.array_equal(control_sphere(lesions), unpacked(geometry, "sphere_original_single"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.realdata
def test_random_ellipsoids(geometry, seed):
    found = random_ellipsoids(np.random.RandomState(seed))
    assert np.array_equal(found, unpacked(geometry, f"random_spheres_seed{seed}"))


@pytest.mark.realdata
def test_histograms(geometry):
    image, mask = torch.tensor(geometry["hist_image"]), torch.tensor(geometry["hist_mask"]).bool()
    for name in ("hist_fork", "hist_original"):
        torch.testing.assert_close(lesion_histogram(image, mask), torch.tensor(geometry[name]), rtol=0, atol=1e-6)
    empty = lesion_histogram(image, torch.zeros_like(mask))
    assert torch.equal(empty, torch.tensor(geometry["hist_fork_empty_mask"]))


@pytest.mark.realdata
def test_control_coding(golden):
    outside, inside = numbers(golden, "geometry")["sphere_fork_values_outside_inside"]
    control = torch.tensor([True, False])
    assert encode(control, inside=1.0, outside=255.0).tolist() == [inside, outside]


@pytest.mark.realdata
def test_fork_sweep(golden, geometry):
    expected = numbers(golden, "geometry")["post_sweep"]
    sweep = fork_sweep(unpacked(geometry, "post_input"))
    assert list(SWEEP_THRESHOLDS) == expected["thresholds"]
    assert [int(mask.sum()) for mask in sweep] == expected["voxels"]
    chosen = random.Random(expected["random_seed_python"]).choice(fork_choices(sweep))
    assert np.array_equal(chosen, unpacked(geometry, "post_sweep_chosen"))


@pytest.mark.realdata
def test_original_cleanup(geometry):
    expected = unpacked(geometry, "post_original", (48, 96, 96))
    assert np.array_equal(original_cleanup(unpacked(geometry, "post_input")), expected)


def test_a_single_voxel_is_its_own_control():
    lesion = np.zeros((8, 8, 8), dtype=bool)
    lesion[2, 3, 4] = True
    assert np.array_equal(control_spheres(lesion), lesion)


def test_an_empty_mask_has_an_empty_control():
    empty = np.zeros((8, 8, 8), dtype=bool)
    assert not control_sphere(empty).any()
    assert not control_spheres(empty).any()


def test_spheres_of_far_lesions_are_those_of_each_alone():
    first, second = ball((24, 24, 24), (6, 6, 6), 3), ball((24, 24, 24), (17, 16, 18), 4)
    both = control_spheres(first | second)
    assert np.array_equal(both, control_spheres(first) | control_spheres(second))
    assert both.sum() < control_sphere(first | second).sum()


@pytest.mark.parametrize("size", [15, 60, 300, 700, 5000, 20_000])
def test_cleanup_of_any_size_is_one_lesion_enlarged(size):
    blob = ball((32, 64, 64), (16, 32, 32), (3 * size / (4 * np.pi)) ** (1 / 3))
    cleaned = original_cleanup(blob | ball((32, 64, 64), (4, 8, 8), 1))
    assert cleaned.shape == (48, 96, 96)
    assert cleaned.any()
    assert not cleaned[:12, :24, :24].any()


def test_the_sweep_loses_every_lesion_of_median_size():
    assert not any(mask.any() for mask in fork_sweep(ball(PATCH, (16, 32, 32), 2.4)))


def test_lesions_at_a_face_are_dropped_whole():
    inner, outer = ball((12, 12, 12), (6, 6, 6), 2), ball((12, 12, 12), (0, 0, 0), 2)
    assert np.array_equal(drop_at_border(inner | outer), inner)
    diagonal = np.zeros((6, 6, 6), dtype=bool)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = True
    assert drop_at_border(diagonal).sum() == 1
    assert not drop_at_border(diagonal, TOUCHING).any()


def test_small_lesions_are_dropped():
    small, large = ball((16, 16, 16), (3, 3, 3), 1), ball((16, 16, 16), (10, 10, 10), 3)
    assert np.array_equal(drop_small(small | large, 8), large)


def test_a_gaussian_histogram_is_that_of_many_voxels():
    mean, spread = torch.tensor([0.3, -0.8]), torch.tensor([0.15, 0.1])
    voxels = mean[:, None] + spread[:, None] * torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    for row, found in zip(voxels.clamp(-1, 1), gaussian_histogram(mean, spread, 16), strict=True):
        counted = lesion_histogram(row, torch.ones_like(row, dtype=torch.bool))
        torch.testing.assert_close(found, counted, rtol=0, atol=5e-3)


def test_a_gaussian_histogram_sums_to_one_wherever_it_lies():
    mean = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0])
    histogram = gaussian_histogram(mean, torch.full((5,), 0.05), 16)
    torch.testing.assert_close(histogram.sum(dim=1), torch.ones(5))
    assert histogram[0, 0] == 1
    assert histogram[-1, -1] == 1
