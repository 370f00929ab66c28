"""Forms: what they measure, and that they are lent by lesions of the wanted size."""

import math

import pytest
import torch

from lesionaug.models.base import MaskConditions
from lesionaug.models.forms import NEIGHBOURS, Forms, form_of, size_and_stretch


def generators(count):
    return [torch.Generator().manual_seed(n) for n in range(count)]


def block(i, j, k):
    mask = torch.zeros(1, 24, 24, 24, dtype=torch.bool)
    mask[0, 2 : 2 + i, 3 : 3 + j, 4 : 4 + k] = True
    return mask


@pytest.mark.parametrize("edges", [(6, 6, 6), (12, 6, 3), (3, 12, 12), (1, 1, 1), (5, 1, 1)])
def test_form_is_the_ratio_of_a_blocks_edges(edges):
    third, second, first = sorted(edges)
    expected = [math.log(first / second), math.log(second / third)]
    torch.testing.assert_close(form_of(block(*edges)), torch.tensor(expected), atol=1e-4, rtol=0)


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
    table = torch.cat([torch.cat([small, large]) + noise, torch.tensor([[0.0, 0.0]] * 40 + [[1.0, 1.0]] * 40)], dim=1)
    drawn = Forms(table).draw(asked(10.0, 5.0, 8), 1.0, generators(8))
    assert not drawn.any()
    assert Forms(table).draw(asked(900.0, 16.0, 8), 1.0, generators(8)).all()


def test_forms_vary_by_the_lesions_own_seed_alone():
    table = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    forms, conditions = Forms(table), asked(30.0, 6.0, 12)
    drawn = forms.draw(conditions, 1.0, generators(12))
    assert 3 < len(drawn.unique(dim=0)) <= NEIGHBOURS
    alone = forms.draw(asked(30.0, 6.0, 1), 1.0, generators(12)[3:4])
    assert torch.equal(alone[0], drawn[3])
