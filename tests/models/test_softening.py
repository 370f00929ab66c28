"""Lesions take on the blur of their scan, along each axis, and none in a sharp scan."""

from dataclasses import replace

import pytest
import torch

from lesionaug.models.base import PaintConditions
from lesionaug.models.grain import blur_each, scanner_blur
from lesionaug.models.softening import as_blurred_as_the_scan

SHARP = (0.3, 0.3, 0.3)
THICK_SLICES = (0.6, 0.6, 1.2)
BLURRED = (1.2, 1.2, 1.2)


def scan(widths, seed=0):
    """Noise as such a scanner leaves it, with a hole to paint."""
    noise = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, 1, 32, 32, 32, dtype=torch.bool)
    mask[..., 12:20, 12:20, 12:20] = True
    background = blur_each(noise, torch.tensor([[widths]]))
    return PaintConditions(background, ("flair",), mask, torch.ones_like(mask), torch.ones(1, 1))


def softened(widths, *, halo=False):
    conditions = replace(scan(widths), halo=torch.tensor([halo]))
    flat = torch.full_like(conditions.background, 10.0)
    return as_blurred_as_the_scan(flat, conditions, torch.ones(1))


def test_blur_is_found_along_each_axis():
    conditions = scan(THICK_SLICES)
    found = scanner_blur(conditions.background, ~conditions.mask, conditions.mask)
    assert found.flatten().tolist() == pytest.approx(list(THICK_SLICES), abs=0.25)


def test_a_lesion_in_a_sharp_scan_keeps_its_contrast_to_the_rim():
    _, shown = softened(SHARP)
    assert shown[scan(SHARP).mask].min() == 1


def test_a_lesion_in_a_blurred_scan_ends_softly_in_its_label():
    change, shown = softened(BLURRED)
    assert change[0, 0, 16, 16, 16] > 9
    assert 0.4 < shown[0, 0, 12, 12, 12] < 0.6
    assert shown[0, 0, 16, 16, 12] < shown[0, 0, 16, 16, 14]
    assert (shown[~scan(BLURRED).mask] == 0).all()


def test_it_is_soft_along_the_axis_that_is_blurred():
    _, shown = softened(THICK_SLICES)
    assert shown[0, 0, 16, 16, 12] < shown[0, 0, 12, 16, 16]


@pytest.mark.parametrize("widths", [SHARP, THICK_SLICES, BLURRED])
def test_with_a_halo_a_lesion_is_whole_in_its_label_and_falls_off_around_it(widths):
    _, shown = softened(widths, halo=True)
    assert (shown[scan(widths).mask] == 1).all()
    outward = shown[0, 0, 16, 16, :12].flip(0)
    assert 0 < outward[0] < 1
    assert (outward.diff() <= 0).all()
    assert outward[6] == 0


def test_a_halo_is_wider_in_a_blurred_scan_and_along_its_blurred_axis():
    sharp, thick, blurred = (softened(widths, halo=True)[1][0, 0] for widths in (SHARP, THICK_SLICES, BLURRED))
    assert sharp.sum() < thick.sum() < blurred.sum()
    assert thick[16, 16, 10] > thick[10, 16, 16]
