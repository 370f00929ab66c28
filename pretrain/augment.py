"""Paired augmentation of patches: the 48 symmetries of the cube, intensity, missing channels, missing tissue."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

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


def missing_tissue(lesion: Tensor, generator: torch.Generator) -> Tensor:
    """Random tissue that a mask may use: a half-space or blobs are taken away, never the lesion itself.

    Masks without images come without anatomy; this is what teaches the network to stop at a ventricle or a sulcus.

    Args:
        lesion: Mask, shape `(1, n, n, n)`.
        generator: Of the choice.
    """
    n = lesion.shape[-1]
    coarse = torch.randn(1, 1, *[max(2, n // 4)] * 3, generator=generator)
    smooth = F.interpolate(coarse, size=(n, n, n), mode="trilinear")[0]
    threshold = torch.quantile(smooth.flatten(), 0.3 + 0.7 * float(torch.rand((), generator=generator)))
    return (smooth <= threshold) | lesion


def keep_channels(present: Tensor, generator: torch.Generator, drop: float = 0.3) -> Tensor:
    """Drop channels at random, but never the last one left.

    Args:
        present: Which channels there are, shape `(channels,)`.
        generator: Of the choice.
        drop: Probability of dropping each.
    """
    kept = present & (torch.rand(present.shape, generator=generator) >= drop)
    return kept if kept.any() else present
