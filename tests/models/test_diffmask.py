"""DiffMask, whatever its weights: the wanted volume, in one piece, where it may be."""

from dataclasses import replace

import cc3d
import pytest
import torch
from scans import random_diffmask

from lesionaug.models.base import EllipsoidMasks, MaskConditions, MaskGenerator, patch_offsets_mm
from lesionaug.models.flooding import cut_at_volume, cut_in_breadth
from lesionaug.models.forms import form_of
from lesionaug.models.registry import load_mask_generator


def conditions(volumes, extents, size=16, allowed=None):
    allowed = torch.ones(len(volumes), 1, size, size, size, dtype=torch.bool) if allowed is None else allowed
    return MaskConditions(torch.tensor(extents), torch.tensor(volumes), allowed)


def generators(count, seed=0):
    return [torch.Generator().manual_seed(seed + n) for n in range(count)]


@pytest.fixture(params=[random_diffmask, EllipsoidMasks], ids=["diffmask", "ellipsoids"])
def model(request):
    return request.param()


def test_it_is_a_mask_generator(model):
    assert isinstance(model, MaskGenerator)


def test_masks_stay_in_sphere_and_allowed_tissue(model):
    allowed = torch.rand(3, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.2
    masks = model(conditions([20.0, 60.0, 150.0], [6.0, 8.0, 10.0], allowed=allowed), generators(3))
    distance = patch_offsets_mm((16, 16, 16), 1.0).norm(dim=0)
    for mask, extent in zip(masks, (6.0, 8.0, 10.0), strict=True):
        assert mask.any()
        assert distance[mask[0]].max() <= extent / 2
    assert not (masks & ~allowed).any()


@pytest.mark.parametrize("volume", [1.0, 3.0, 17.0, 60.0, 200.0])
def test_diffmask_draws_the_volume_in_one_piece(volume):
    masks = random_diffmask()(conditions([volume], [10.0]), generators(1))
    assert masks.sum().item() == pytest.approx(volume, rel=0.1)
    assert cc3d.connected_components(masks[0, 0].numpy(), connectivity=26).max() == 1


def test_where_the_room_is_too_small_all_of_it_is_taken():
    room = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    room[0, 2:4, 2:4, 2:4] = True
    assert torch.equal(cut_at_volume(torch.randn(1, 8, 8, 8), room, 50), room)


def test_a_large_lesion_has_no_arms():
    """It stays in the broad part of its room, and takes the thin part where the broad one does not hold it."""
    room = torch.zeros(1, 32, 32, 32, dtype=torch.bool)
    room[0, 4:16, 10:22, 10:22] = True
    room[0, 16:31, 15:17, 10:22] = True
    field = torch.linspace(-1, 1, 32)[None, :, None, None].expand(1, 32, 32, 32)  # draws it into the blade
    assert not cut_in_breadth(field, room, 900)[0, 17:].any()
    assert torch.equal(cut_in_breadth(field, room, int(room.sum())), room)


def test_no_room_no_mask():
    room = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    assert not cut_at_volume(torch.randn(1, 8, 8, 8), room, 5).any()


def test_seeds_are_lesions(model):
    one, same, other = (model(conditions([60.0], [9.0]), [torch.Generator().manual_seed(seed)]) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_lesions_of_a_blurred_scan_are_smoother():
    """The same noise, the same volume, fewer faces."""
    asked = conditions([120.0] * 6, [10.0] * 6)
    sharp = random_diffmask()(asked, generators(6))
    blurred = random_diffmask()(replace(asked, blur=torch.full((6, 3), 1.0)), generators(6))
    assert sharp.flatten(1).sum(dim=1).tolist() == blurred.flatten(1).sum(dim=1).tolist()
    assert _faces(blurred) < _faces(sharp)


def _faces(masks):
    return sum(int((masks ^ masks.roll(1, axis)).sum()) for axis in (2, 3, 4))


def test_the_packaged_model_draws_longer_lesions_when_it_is_told_so_louder():
    model, count = load_mask_generator("default", device="cpu"), 24
    job = MaskConditions(
        torch.full((count,), 11.0), torch.full((count,), 100.0), torch.ones(count, 1, 16, 16, 16, dtype=torch.bool)
    )
    faint, loud = (replace(model, config=replace(model.config, insistence=factor)) for factor in (0.5, 2.0))
    length = [
        torch.stack([form_of(mask)[0] for mask in each(job, [torch.Generator().manual_seed(k) for k in range(count)])])
        for each in (faint, loud)
    ]
    assert length[1].mean() > length[0].mean() + 0.05
