"""Augmentations keep what they promise: pairs stay pairs, centres stay, missing channels stay missing."""

import pytest
import torch
from lesionaug.pretrain.augment import elastic, on_another_host, other_resolution, turn

from lesionaug.intensity import ring
from lesionaug.models.grain import masked_median


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ball(n=16, radius=4.0):
    axis = torch.arange(n) - n // 2
    i, j, k = torch.meshgrid(axis, axis, axis, indexing="ij")
    return ((i**2 + j**2 + k**2) <= radius**2)[None]


@pytest.mark.parametrize("n", [16, 24])
@pytest.mark.parametrize("seed", range(4))
def test_elastic_bends_image_and_mask_alike(n, seed):
    mask = ball(n).float()
    image, same = elastic([2 * mask + 1, mask], generator(seed), 0.6)
    torch.testing.assert_close(image, 2 * same + 1)
    assert not torch.equal(same, mask)


def test_elastic_leaves_the_centre_voxel_in_place():
    centre = torch.zeros(1, 16, 16, 16)
    centre[0, 8, 8, 8] = 1
    (bent,) = elastic([centre], generator(), 0.6)
    assert bent[0, 8, 8, 8] == pytest.approx(1, abs=1e-5)


def test_elastic_by_nothing_is_nothing():
    image = torch.randn(2, 16, 16, 16, generator=generator())
    torch.testing.assert_close(elastic([image], generator(), 0.0)[0], image, atol=1e-5, rtol=1e-5)


def test_a_turn_keeps_volume_and_centre():
    mask = ball()
    for seed in range(20):
        (turned,) = turn([mask], generator(seed))
        assert turned.sum() == mask.sum()
        assert torch.equal(turned, mask)  # a ball around the centre voxel is its own image


def test_lower_resolution_smooths_and_keeps_the_mean():
    image = torch.randn(2, 24, 24, 24, generator=generator())
    inner = (slice(None), *[slice(6, 18)] * 3)
    for seed in range(5):
        lower = other_resolution(image, generator(seed))
        assert (lower[inner].std() <= image[inner].std() + 1e-6).all()
        assert lower[inner].mean() == pytest.approx(image[inner].mean().item(), abs=0.05)


def test_channels_that_are_missing_stay_missing():
    image = torch.randn(2, 16, 16, 16, generator=generator())
    image[1] = torch.nan
    assert other_resolution(image, generator())[1].isnan().all()
    bent = elastic([image], generator(), 0.6)[0]
    assert bent[1].isnan().all()
    assert not bent[0].isnan().any()
    tissue = torch.ones(1, 16, 16, 16, dtype=torch.bool)
    moved = on_another_host(image, torch.zeros_like(image), ball(), (tissue, tissue))
    assert moved[1].isnan().all()
    assert not moved[0].isnan().any()


def test_a_moved_lesion_keeps_its_contrast_and_the_host_its_tissue():
    mask, tissue = ball(), torch.ones(1, 16, 16, 16, dtype=torch.bool)
    lesion = torch.randn(1, 16, 16, 16, generator=generator(1)) + 3 * mask
    host = 0.1 * torch.randn(1, 16, 16, 16, generator=generator(2)) + 7
    moved = on_another_host(lesion, host, mask, (tissue & ~mask, tissue & ~mask))
    assert torch.equal(moved[~mask], host[~mask])

    def contrast(image):
        return image[mask].mean() - masked_median(image[None], ring(mask, tissue & ~mask)[None])[0, 0]

    assert contrast(moved) == pytest.approx(contrast(lesion).item(), abs=1e-4)
