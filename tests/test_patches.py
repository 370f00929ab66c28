"""Cut and paste: exact at the model's spacing, faithful at others."""

import pytest
import torch

from lesionaug.patches import PatchGrid, cut, cut_mask, uncut, uncut_mask

SPACINGS = [(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.7, 0.7, 3.0), (3.0, 1.0, 1.0)]


def grid(center, spacing=(1.0, 1.0, 1.0), shape=(16, 16, 16)):
    return PatchGrid.around(center, shape, spacing, 1.0)


@pytest.mark.parametrize("center", [(20, 20, 20), (0, 0, 0), (39, 5, 20), (2, 39, 38)])
def test_paste_of_cut_is_identity(center):
    volume = torch.randn(2, 40, 40, 40)
    patch = cut(volume, grid(center))
    back, box = uncut(patch, grid(center), volume.shape[1:])
    assert torch.equal(back, volume[(slice(None), *box)])


def test_centre_voxel_of_the_patch_is_the_centre():
    volume = torch.zeros(1, 40, 40, 40)
    volume[0, 11, 22, 33] = 1
    assert cut(volume, grid((11, 22, 33)))[0, 8, 8, 8] == 1


def test_outside_the_scan_is_fill():
    patch = cut(torch.ones(1, 10, 10, 10), grid((0, 0, 0)), fill=-5.0)
    assert patch[0, 0, 0, 0] == -5
    assert patch[0, 8, 8, 8] == 1


@pytest.mark.parametrize("spacing", SPACINGS)
def test_linear_ramps_survive_resampling(spacing):
    """Interpolation and its smoothing are exact on a linear function, away from the border."""
    shape = [round(60 / s) for s in spacing]
    axes = torch.meshgrid(*[torch.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    ramp = (axes[0] + 2 * axes[1] - axes[2])[None].float()
    center = tuple(n // 2 for n in shape)
    patch = cut(ramp, grid(center, spacing))
    origin = ramp[(0, *center)]
    wanted = torch.meshgrid(*[torch.arange(16.0) - 8] * 3, indexing="ij")
    torch.testing.assert_close(patch[0] - origin, wanted[0] + 2 * wanted[1] - wanted[2], atol=2e-2, rtol=0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [3.0, 5.5])
def test_masks_keep_their_volume(spacing, radius):
    offsets = torch.stack(torch.meshgrid(*[torch.arange(16.0) - 8] * 3, indexing="ij"))
    ball = (offsets.norm(dim=0) <= radius)[None]
    shape = tuple(round(60 / s) for s in spacing)
    mask, _ = uncut_mask(ball, grid(tuple(n // 2 for n in shape), spacing), shape)
    volume = mask.sum() * spacing[0] * spacing[1] * spacing[2]
    assert volume == pytest.approx(ball.sum().item(), abs=spacing[0] * spacing[1] * spacing[2])


def test_a_lesion_smaller_than_a_voxel_keeps_one():
    dot = torch.zeros(1, 16, 16, 16, dtype=torch.bool)
    dot[0, 8, 8, 8] = True
    mask, _ = uncut_mask(dot, grid((10, 10, 10), (3.0, 3.0, 3.0)), (20, 20, 20))
    assert mask.sum() == 1


def test_masks_are_cut_to_masks():
    mask = torch.zeros(1, 20, 20, 20, dtype=torch.bool)
    mask[0, 10:, :, :] = True
    patch = cut_mask(mask, grid((10, 10, 10), (2.0, 2.0, 2.0)))
    assert patch.dtype == torch.bool
    assert patch[0, 12:].all()
    assert not patch[0, :6].any()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_what_holds_a_mask_holds_it_on_the_scans_voxels_too(spacing):
    """A lesion that grows loses no voxel, whatever the slices."""
    shape = tuple(round(60 / s) for s in spacing)
    place = grid(tuple(n // 2 for n in shape), spacing)
    for seed in range(8):
        noise = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(seed))
        field = torch.nn.functional.avg_pool3d(noise, 5, stride=1, padding=2)[0]
        part, whole = field > field.quantile(0.97), field > field.quantile(0.9)
        small, _ = uncut_mask(part, place, shape, within=whole)
        large, _ = uncut_mask(whole, place, shape)
        assert not (small & ~large).any()
        assert int(small.sum()) == int(uncut_mask(part, place, shape)[0].sum())
