"""Lesions take on the blur of their scan, along each axis, and none in a sharp scan."""

import pytest
import torch

from lesionaug.models.base import PaintConditions
from lesionaug.models.grain import blur_each, scanner_blur
from lesionaug.models.softening import as_blurred_as_the_scan

THICK_SLICES = (0.6, 0.6, 1.2)


def scan(widths, seed=0):
    """Noise as such a scanner leaves it, with a hole to paint."""
    noise = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, 1, 32, 32, 32, dtype=torch.bool)
    mask[..., 12:20, 12:20, 12:20] = True
    background = blur_each(noise, torch.tensor([[widths]]))
    return PaintConditions(background, ("flair",), mask, torch.ones_like(mask), torch.ones(1, 1))


def softened(widths):
    conditions = scan(widths)
    flat = torch.full_like(conditions.background, 10.0)
    return as_blurred_as_the_scan(flat, conditions, torch.ones(1))


def test_blur_is_found_along_each_axis():
    conditions = scan(THICK_SLICES)
    found = scanner_blur(conditions.background, ~conditions.mask, conditions.mask)
    assert found.flatten().tolist() == pytest.approx(list(THICK_SLICES), abs=0.25)


def test_a_lesion_in_a_sharp_scan_keeps_its_contrast_to_the_rim():
    _, fade = softened((0.3, 0.3, 0.3))
    assert fade[scan((0.3, 0.3, 0.3)).mask].min() == 1


def test_a_lesion_in_a_blurred_scan_ends_softly():
    painted, fade = softened((1.2, 1.2, 1.2))
    assert painted[0, 0, 16, 16, 16] > 9
    assert fade[0, 0, 12, 12, 12] < 0.1
    assert fade[0, 0, 16, 16, 12] < fade[0, 0, 16, 16, 14]


def test_it_is_soft_along_the_axis_that_is_blurred():
    _, fade = softened(THICK_SLICES)
    assert fade[0, 0, 16, 16, 12] < fade[0, 0, 12, 16, 16]
