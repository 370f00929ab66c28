"""Robust units: invertible, and blind to scanner units."""

import pytest
import torch

from lesionaug.errors import LesionAugError
from lesionaug.intensity import dilate, lesion_contrast, ring, robust_scale


@pytest.fixture
def scan():
    torch.manual_seed(0)
    brain = torch.zeros(1, 24, 24, 24, dtype=torch.bool)
    brain[:, 4:20, 4:20, 4:20] = True
    return 100 + 10 * torch.randn(2, 24, 24, 24), brain


def test_inverse_undoes_normalise(scan):
    image, brain = scan
    scale = robust_scale(image, brain)
    torch.testing.assert_close(scale.inverse(scale.normalise(image)), image)


@pytest.mark.parametrize(("a", "b"), [(3.0, 0.0), (0.01, 5.0), (1.0, -700.0)])
def test_scanner_units_cancel(scan, a, b):
    image, brain = scan
    there, here = robust_scale(a * image + b, brain), robust_scale(image, brain)
    torch.testing.assert_close(there.normalise(a * image + b), here.normalise(image), atol=1e-3, rtol=1e-3)


def test_gaussian_noise_has_unit_spread(scan):
    image, brain = scan
    assert robust_scale(image, brain).spread == pytest.approx([10, 10], rel=0.1)


@pytest.mark.parametrize("image", [torch.ones(1, 24, 24, 24)])
def test_constant_image_is_refused(scan, image):
    with pytest.raises(LesionAugError, match="constant"):
        robust_scale(image, scan[1])


def test_empty_brain_is_refused(scan):
    with pytest.raises(LesionAugError, match="empty"):
        robust_scale(scan[0], torch.zeros_like(scan[1]))


def test_ring_surrounds_without_touching():
    mask = torch.zeros(1, 24, 24, 24, dtype=torch.bool)
    mask[0, 10:14, 10:14, 10:14] = True
    around = ring(mask, torch.ones_like(mask))
    assert not (around & dilate(mask, 1)).any()
    assert (around & ~dilate(mask, 4)).sum() == 0
    assert around.any()


def test_contrast_is_the_step_that_was_made(scan):
    image, brain = scan
    mask = torch.zeros_like(brain)
    mask[0, 10:14, 10:14, 10:14] = True
    image = torch.ones_like(image)
    image[:, mask[0]] += torch.tensor([[2.5], [-1.0]])
    torch.testing.assert_close(lesion_contrast(image, mask, brain), torch.tensor([2.5, -1.0]))
