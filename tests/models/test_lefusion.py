"""LeFusion, whatever its weights: it never sees what it paints over, and keeps the host's grain."""

from dataclasses import replace

import pytest
import torch
from scans import random_lefusion

from lesionaug.models.base import ConstantContrast, Inpainter, PaintConditions
from lesionaug.models.grain import blur, grain_level, grain_of, scanner_blur
from lesionaug.models.lefusion import pose

CHANNELS = ("flair", "t1w", "t2w")


def job(seed=0, channels=CHANNELS, contrast=(2.0, -1.0, 1.5)):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(1, 1, 16, 16, 16, dtype=torch.bool)
    mask[..., 6:10, 6:10, 6:10] = True
    background = torch.randn(1, len(channels), 16, 16, 16, generator=generator)
    contrast = torch.tensor([[dict(zip(CHANNELS, contrast, strict=True))[channel] for channel in channels]])
    return PaintConditions(background, channels, mask, torch.ones_like(mask), contrast)


def paint(model, conditions, seed=0):
    return model(conditions, [torch.Generator().manual_seed(seed)])


@pytest.fixture(params=[random_lefusion, ConstantContrast], ids=["lefusion", "constant"])
def model(request):
    return request.param()


def test_it_is_an_inpainter(model):
    assert isinstance(model, Inpainter)


def test_background_keeps_its_bits(model):
    conditions = job()
    painted = paint(model, conditions)
    outside = ~conditions.mask.expand_as(painted)
    assert torch.equal(painted[outside], conditions.background[outside])


def test_the_network_never_sees_under_the_mask():
    conditions = job()
    changed = replace(conditions, background=torch.where(conditions.mask, 50.0, conditions.background))
    here, there = pose(conditions, CHANNELS), pose(changed, CHANNELS)
    assert torch.equal(here.context, there.context)
    assert torch.equal(here.facts, there.facts)
    assert torch.equal(here.level, there.level)


def test_channels_that_are_missing_are_told_as_missing():
    problem = pose(job(channels=("t1w",)), CHANNELS)
    assert problem.present.tolist() == [[False, True, False]]
    assert not problem.active[:, [0, 2]].any()
    assert not problem.context[:, [0, 2, 3, 5]].any()


def test_mean_contrast_is_exact():
    conditions = job()
    painted = paint(random_lefusion(), conditions)
    level = pose(conditions, CHANNELS).level
    mean = painted[:, :, conditions.mask[0, 0]].mean(dim=2)
    torch.testing.assert_close(mean - level, conditions.contrast, atol=1e-4, rtol=0)


def test_grain_follows_the_host():
    """Twice the noise in the host is twice the noise in the lesion, all else being equal."""
    smooth, grainy = (
        paint(random_lefusion(), replace(job(), background=noise * job().background)) for noise in (0.2, 1.6)
    )
    inside = job().mask
    level = [
        grain_of(image, torch.ones_like(inside)).masked_select(inside.expand_as(image)).std()
        for image in (smooth, grainy)
    ]
    assert level[1] > 1.5 * level[0]


def test_grain_level_measures_white_noise_in_proportion():
    conditions = job()
    tissue = ~conditions.mask
    one = grain_level(conditions.background, tissue, conditions.mask)
    three = grain_level(3 * conditions.background, tissue, conditions.mask)
    torch.testing.assert_close(three, 3 * one)


def test_plateau_has_the_wanted_mean_and_a_dim_rim():
    conditions = job()
    problem, mask = pose(conditions, CHANNELS), conditions.mask[0, 0]
    torch.testing.assert_close(problem.plateau[0][:, mask].mean(dim=1), conditions.contrast[0])
    assert not problem.plateau[0][:, ~mask].any()
    assert problem.plateau[0, 0, 7, 7, 7] > problem.plateau[0, 0, 6, 6, 6]


def test_seeds_are_lesions():
    one, same, other = (paint(random_lefusion(), job(), seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("width", [0.5, 0.7, 0.9])
def test_blur_of_the_scanner_is_found(width):
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 1, 32, 32, 32, generator=generator)
    mask = torch.zeros(1, 1, 32, 32, 32, dtype=torch.bool)
    mask[..., 8:24, 8:24, 8:24] = True
    found = scanner_blur(blur(noise, width), ~mask, mask)
    assert found.flatten().tolist() == pytest.approx(3 * [width], abs=0.15)
