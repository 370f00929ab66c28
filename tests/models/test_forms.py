"""Forms: what they measure, and that they are lent by lesions of the wanted size."""

import math

import pytest
import torch

from lesionaug.models.base import MaskConditions
from lesionaug.models.forms import NEIGHBOURS, RATIOS, Forms, form_of, size_and_stretch


def generators(count):
    return [torch.Generator().manual_seed(n) for n in range(count)]


def block(i, j, k):
    mask = torch.zeros(1, 24, 24, 24, dtype=torch.bool)
    mask[0, 2 : 2 + i, 3 : 3 + j, 4 : 4 + k] = True
    return mask


def ball(radius):
    axis = torch.arange(24) - 12
    i, j, k = torch.meshgrid(axis, axis, axis, indexing="ij")
    return ((i**2 + j**2 + k**2) <= radius**2)[None]


def cross(length):
    mask = torch.zeros(1, 24, 24, 24, dtype=torch.bool)
    arm = slice(12 - length // 2, 12 + length // 2)
    mask[0, arm, 11:13, 11:13] = mask[0, 11:13, arm, 11:13] = mask[0, 11:13, 11:13, arm] = True
    return mask


@pytest.mark.parametrize("edges", [(6, 6, 6), (12, 6, 3), (3, 12, 12), (1, 1, 1), (5, 1, 1)])
def test_form_is_the_ratio_of_a_blocks_edges(edges):
    third, second, first = sorted(edges)
    expected = [math.log(first / second), math.log(second / third)]
    torch.testing.assert_close(form_of(block(*edges))[:2], torch.tensor(expected), atol=1e-4, rtol=0)


def test_a_ball_is_as_spread_and_as_deep_as_a_ball():
    torch.testing.assert_close(form_of(ball(8.0))[2:], torch.zeros(2), atol=0.08, rtol=0)


def test_arms_spread_a_lesion_and_make_it_thin():
    compact, arms = form_of(ball(3.0)), form_of(cross(20))
    assert arms[2] > compact[2] + 0.3
    assert arms[3] < compact[3] - 0.3


def test_form_does_not_depend_on_direction_or_place():
    mask = block(4, 9, 2)
    torch.testing.assert_close(form_of(mask), form_of(mask.permute(0, 3, 1, 2).roll(5, 1)))


def asked(volume, extent, count):
    allowed = torch.ones(count, 1, 16, 16, 16, dtype=torch.bool)
    return MaskConditions(torch.full((count,), extent), torch.full((count,), volume), allowed)


def test_a_form_is_lent_by_a_lesion_of_about_the_size():
    small, large = (
        size_and_stretch(torch.full((40,), v), torch.full((40,), e)) for v, e in ((10.0, 5.0), (900.0, 16.0))
    )
    noise = 0.01 * torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    table = torch.cat(
        [torch.cat([small, large]) + noise, torch.tensor([[0.0] * RATIOS] * 40 + [[1.0] * RATIOS] * 40)], dim=1
    )
    drawn = Forms(table).draw(asked(10.0, 5.0, 8), 1.0, generators(8))
    assert not drawn.any()
    assert Forms(table).draw(asked(900.0, 16.0, 8), 1.0, generators(8)).all()


def test_forms_vary_by_the_lesions_own_seed_alone():
    table = torch.randn(200, 2 + RATIOS, generator=torch.Generator().manual_seed(1))
    forms, conditions = Forms(table), asked(30.0, 6.0, 12)
    drawn = forms.draw(conditions, 1.0, generators(12))
    assert 3 < len(drawn.unique(dim=0)) <= NEIGHBOURS
    alone = forms.draw(asked(30.0, 6.0, 1), 1.0, generators(12)[3:4])
    assert torch.equal(alone[0], drawn[3])
