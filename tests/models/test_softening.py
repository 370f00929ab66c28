"""Lesions take on the blur of their scan, along each axis, and none in a sharp scan."""

from dataclasses import replace

import pytest
import torch

from lesionaug.models.base import PaintConditions
from lesionaug.models.grain import blur_each, scanner_blur
from lesionaug.models.softening import Softness, as_blurred_as_the_scan, smooth_tissue

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


def softness(blur=1.0, spread=0.0, peaks=1.0):
    return Softness(*(torch.tensor([value]) for value in (blur, spread, peaks)))


def softened(widths, *, halo=False):
    conditions = replace(scan(widths), halo=torch.tensor([halo]))
    flat = torch.full_like(conditions.background, 10.0)
    return as_blurred_as_the_scan(flat, conditions, softness())


def change_of_a_varied_lesion(widths, **follows):
    """In its label, of mean ten and a standard deviation of two, before it fades."""
    conditions = scan(widths)
    varied = 10 + 2 * torch.randn(conditions.background.shape, generator=torch.Generator().manual_seed(1))
    change, shown = as_blurred_as_the_scan(varied + smooth_tissue(conditions), conditions, softness(**follows))
    return (change / shown)[conditions.mask]


def skewness(values):
    return (((values - values.mean()) / values.std()) ** 3).mean().item()


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
def test_with_a_halo_a_lesion_falls_off_around_its_label_and_is_whole_in_its_middle(widths):
    _, shown = softened(widths, halo=True)
    outward = shown[0, 0, 16, 16, :17].flip(0)
    assert outward[0] > 0.97
    assert (outward.diff() <= 0).all()
    assert 0 < outward[5] < outward[4] <= 1, "first voxel outside, last inside"
    assert outward[10] == 0


def test_in_a_blurred_scan_no_step_shows_where_the_label_ends():
    _, shown = softened(BLURRED, halo=True)
    steps = -shown[0, 0, 16, 16, 6:17].flip(0).diff()
    assert steps.max() < 0.45
    assert 0.4 < shown[0, 0, 16, 16, 11] < 0.75, "raters draw within half height"


def test_in_a_blurred_scan_a_thin_part_of_a_label_shows_as_its_edge_does():
    conditions = replace(scan(BLURRED), halo=torch.tensor([True]))
    conditions.mask[..., 16, 16, 20:26] = True
    _, shown = as_blurred_as_the_scan(torch.full_like(conditions.background, 10.0), conditions, softness())
    thread, face = shown[0, 0, 16, 16, 22:26], shown[0, 0, 16, 16, 12]
    assert thread.min() > 0.7, "raters draw where they see something"
    assert thread.min() > face - 0.25


def test_a_halo_is_wider_in_a_blurred_scan_and_along_its_blurred_axis():
    sharp, thick, blurred = (softened(widths, halo=True)[1][0, 0] for widths in (SHARP, THICK_SLICES, BLURRED))
    assert sharp.sum() < thick.sum() < blurred.sum()
    assert thick[16, 16, 10] > thick[10, 16, 16]


@pytest.mark.parametrize("given_back", [0.0, 0.5, 1.0])
def test_a_blurred_lesion_varies_again_as_far_as_asked(given_back):
    blurred, restored = (change_of_a_varied_lesion(THICK_SLICES, spread=share) for share in (0.0, given_back))
    assert blurred.std() < 1.5
    wanted = blurred.std() + given_back * (2 - blurred.std())
    assert restored.std().item() == pytest.approx(wanted.item(), rel=0.05)
    assert restored.mean().item() == pytest.approx(blurred.mean().item(), rel=1e-3)
    assert torch.corrcoef(torch.stack([blurred, restored]))[0, 1] > 0.999


def test_little_that_a_blur_left_is_not_blown_up():
    nearly_flat, restored = (change_of_a_varied_lesion(BLURRED, blur=4.0, spread=share) for share in (0.0, 1.0))
    assert restored.std() <= 2.51 * nearly_flat.std()


def test_the_brightest_voxels_stand_out_in_blurred_scans_alone():
    for widths, stands_out in ((SHARP, False), (BLURRED, True)):
        plain, peaked = (change_of_a_varied_lesion(widths, blur=0.3, peaks=peaks) for peaks in (1.0, 1.8))
        assert (skewness(peaked) > skewness(plain) + 0.3) == stands_out
        assert torch.equal(plain.argsort(), peaked.argsort())
        assert torch.equal(plain, peaked) != stands_out


def test_a_dark_lesion_has_its_peak_in_the_dark():
    conditions = scan(BLURRED)
    varied = -10 + 2 * torch.randn(conditions.background.shape, generator=torch.Generator().manual_seed(1))
    change, shown = as_blurred_as_the_scan(varied + smooth_tissue(conditions), conditions, softness(0.3, peaks=1.8))
    assert skewness((change / shown)[conditions.mask]) < -0.3
