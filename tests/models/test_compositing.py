"""Partial volume: a lesion's label, blurred as its scan is, and shifted as raters draw."""

import pytest
import torch

from lesionaug.models.compositing import EDGE_SHIFT_MM, EDGE_SLOPE, EDGE_START_MM, REACH_MM, continued, opacity
from lesionaug.scan import CHANNELS


def half_space():
    mask = torch.zeros(1, 1, 24, 24, 24, dtype=torch.bool)
    mask[..., :12, :, :] = True
    return mask


def ball(radius=4.0):
    offsets = torch.stack(torch.meshgrid(*[torch.arange(24.0) - 12] * 3, indexing="ij"))
    return (offsets.norm(dim=0) <= radius)[None, None]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("blur", [1.2, 1.6])
def test_a_straight_edge_is_a_normal_distribution(channel, blur):
    row = CHANNELS.index(channel)
    width = EDGE_SLOPE[row] * blur + EDGE_START_MM[row]
    shown = opacity(half_space(), torch.full((1, 1, 3), blur), (channel,))[0, 0, :, 12, 12]
    outside = torch.arange(24.0) - 11.5
    wanted = torch.special.ndtr((EDGE_SHIFT_MM[row] - outside) / width)
    near = outside.abs() < 2
    torch.testing.assert_close(shown[near], wanted[near], atol=0.08, rtol=0)


def test_no_opacity_far_from_a_label():
    mask = ball()
    shown = opacity(mask, torch.full((1, 1, 3), 3.0), ("flair",))
    far = (torch.stack(torch.meshgrid(*[torch.arange(24.0) - 12] * 3, indexing="ij")).norm(dim=0)) > 4 + REACH_MM + 1.5
    assert not shown[0, 0][far].any()


def test_a_more_blurred_scan_has_wider_halos():
    sharp, blurred = (opacity(ball(), torch.full((1, 1, 3), blur), ("flair",)) for blur in (0.5, 1.5))
    outside = ~ball()[0, 0]
    assert blurred[0, 0][outside].sum() > 2 * sharp[0, 0][outside].sum()


def test_blur_along_one_axis_shows_along_that_axis():
    shown = opacity(ball(), torch.tensor([[[1.8, 0.5, 0.5]]]), ("flair",))[0, 0]
    assert shown[18, 12, 12] > shown[12, 18, 12]


def test_what_is_constant_in_a_lesion_is_carried_on():
    mask = ball()
    torch.testing.assert_close(continued(3.0 * mask, mask)[0, 0, 17, 12, 12], torch.tensor(3.0))
