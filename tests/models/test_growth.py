"""A lesion that grows is one lesion: what was there stays, and there is as much of it as asked for."""

import cc3d
import pytest
import torch
from scans import random_diffmask

from lesionaug.models.base import EllipsoidMasks, MaskConditions
from lesionaug.models.growth import grown_parts, innermost

SHARES = (0.02, 0.2, 0.5, 0.9)


@pytest.fixture(params=[random_diffmask, EllipsoidMasks], ids=["diffmask", "ellipsoids"])
def masks(request):
    """Full-grown, of 30 to 900 voxels."""
    volumes, extents = torch.tensor([30.0, 200.0, 900.0]), torch.tensor([6.0, 10.0, 15.0])
    allowed = torch.ones(3, 1, 24, 24, 24, dtype=torch.bool)
    generators = [torch.Generator().manual_seed(n) for n in range(3)]
    return request.param()(MaskConditions(extents, volumes, allowed), generators)


def test_each_part_lies_in_the_next_larger(masks):
    smaller = torch.zeros_like(masks)
    for share in (*SHARES, 1.0):
        larger = grown_parts(masks, [share] * 3)
        assert not (smaller & ~larger).any()
        smaller = larger
    assert torch.equal(smaller, masks)


def test_a_part_has_its_volume_in_one_piece(masks):
    for share in SHARES:
        for part, mask in zip(grown_parts(masks, [share] * 3), masks, strict=True):
            assert part.sum() == max(1, round(share * int(mask.sum())))
            assert cc3d.connected_components(part[0].numpy(), connectivity=26).max() == 1


def test_lesions_of_a_batch_grow_by_themselves(masks):
    together = grown_parts(masks, [0.3, 1.0, 0.6])
    for n, share in enumerate((0.3, 1.0, 0.6)):
        assert torch.equal(together[n], grown_parts(masks[n : n + 1], [share])[0])
    assert torch.equal(together[1], masks[1])


def test_the_surface_goes_first():
    mask = torch.zeros(1, 21, 21, 21, dtype=torch.bool)
    mask[0, 5:16, 5:16, 5:16] = True
    mask[0, 10, 10, 16:20] = True  # an arm
    part = innermost(mask, 0.4)
    assert part[0, 10, 10, 10]
    assert not part[0, 10, 10, 16:].any()
    offsets = (part[0].nonzero() - 10).float()
    assert offsets.norm(dim=1).max() < 6
    assert offsets.mean(dim=0).abs().max() < 0.5


def test_what_could_not_be_drawn_stays_away():
    assert not grown_parts(torch.zeros(1, 1, 8, 8, 8, dtype=torch.bool), [0.5]).any()
