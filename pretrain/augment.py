"""Paired augmentation of patches.

Of image and mask alike: the 48 symmetries of the cube, elastic. Of the image: contrast, resolution, missing channels,
another host below the lesion.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from lesionaug.intensity import ring
from lesionaug.models.grain import blur_each, masked_median

SYMMETRIES = tuple(itertools.product(itertools.permutations((1, 2, 3)), itertools.product((False, True), repeat=3)))


def draw(count: int, generator: torch.Generator) -> int:
    """Uniform integer below `count`."""
    return int(torch.randint(count, (), generator=generator))


def turn(volumes: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """The same random symmetry of the cube for all; even patches keep their centre voxel, by a shift after a flip."""
    axes, flips = SYMMETRIES[draw(len(SYMMETRIES), generator)]
    return [_turned(volume, axes, flips) for volume in volumes]


def _turned(volume: Tensor, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Tensor:
    volume = volume.permute(0, *axes)
    for axis, flip in enumerate(flips, start=1):
        if flip:
            # An even axis of n voxels is centred on n // 2; flipped, that voxel lands one before it.
            volume = volume.flip(axis).roll(1, axis)
    return volume.contiguous()


def chance(probability: float, generator: torch.Generator) -> bool:
    """True so often."""
    return float(torch.rand((), generator=generator)) < probability


def keep_channels(present: Tensor, generator: torch.Generator, drop: float = 0.3) -> Tensor:
    """Drop channels at random, but never the last one left.

    Args:
        present: Which channels there are, shape `(channels,)`.
        generator: Of the choice.
        drop: Probability of dropping each.
    """
    kept = present & (torch.rand(present.shape, generator=generator) >= drop)
    return kept if kept.any() else present


def elastic(volumes: list[Tensor], generator: torch.Generator, amount: float) -> list[Tensor]:
    """The same smooth random deformation for all, linearly interpolated; the centre voxel stays where it is.

    Args:
        volumes: Shape `(channels, n, n, n)` each; masks as zeros and ones, to be cut at one half.
        generator: Of the deformation.
        amount: Standard deviation of the displacement in voxels.
    """
    n = volumes[0].shape[-1]
    knots = amount * torch.randn(1, 3, 4, 4, 4, generator=generator)
    shift = F.interpolate(knots, size=(n, n, n), mode="trilinear", align_corners=True)
    shift = shift - shift[..., n // 2, n // 2, n // 2][..., None, None, None]
    still = F.affine_grid(torch.eye(3, 4)[None], [1, 1, n, n, n], align_corners=True)
    grid = still + 2 / (n - 1) * shift.permute(0, 2, 3, 4, 1)
    return [F.grid_sample(v[None], grid, padding_mode="border", align_corners=True)[0] for v in volumes]


def other_resolution(image: Tensor, generator: torch.Generator, widest: float = 1.2) -> Tensor:
    """The image as a scanner with thicker slices or larger voxels would show it: blurred along each axis or along one.

    Args:
        image: Shape `(channels, n, n, n)`.
        generator: Of the widths, each channel its own.
        widest: Width in voxels of the widest Gaussian.
    """
    widths = widest * torch.rand(len(image), 3, generator=generator)
    alone = torch.randint(4, (len(image), 1), generator=generator)  # an axis; 3 stands for all of them
    blurred = (alone == 3) | (alone == torch.arange(3))
    return blur_each(image[None], (widths * blurred)[None])[0]


def on_another_host(lesion: Tensor, host: Tensor, mask: Tensor, tissues: tuple[Tensor, Tensor]) -> Tensor:
    """A lesion's tissue, moved to the level of another scan's healthy tissue and put in there.

    Args:
        lesion: Patch with the lesion, channels first; a channel that is missing is NaN, and will be.
        host: Healthy patch of the same shape, likewise.
        mask: Of the lesion.
        tissues: Brain without lesions in the one and the other.
    """
    pairs = zip((lesion, host), tissues, strict=True)
    old, new = (masked_median(x.nan_to_num()[None], ring(mask, tissue)[None])[0] for x, tissue in pairs)
    moved = lesion + (new - old)[:, None, None, None]
    return torch.where(mask, moved, host) + 0 * (lesion + host)
