"""An anatomy as one volume, which can be cropped, flipped and resampled along with the images it was found in."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from lesionaug.anatomy.core import Anatomy
from lesionaug.errors import LesionAugError

KINDS = {"Mask": torch.bool, "RegionMap": torch.uint8, "Weight": torch.float32, "Volume": torch.float32}
"""Number type of the maps, by their annotation."""


def carried(anatomy: Anatomy) -> Tensor:
    """All maps of an anatomy, one channel each, shape `(maps, i, j, k)`, float32.

    Every step that moves voxels must take it for a label, as it does with nearest neighbours: regions cannot be mixed.
    """
    return torch.cat([getattr(anatomy, field.name).float() for field in fields(Anatomy)])


def uncarried(volume: Tensor) -> Anatomy:
    """Inverse of `carried`.

    Args:
        volume: Shape `(maps, i, j, k)`; of any part of the head.

    Raises:
        LesionAugError: It has other channels.
    """
    maps = fields(Anatomy)
    if volume.ndim != 4 or len(volume) != len(maps):
        raise LesionAugError(
            f"Expected an anatomy of {len(maps)} channels, got the shape {tuple(volume.shape)}; "
            "add it with AddAnatomy before cropping, and crop it like a label"
        )
    kinds = [KINDS[str(field.type)] for field in maps]
    return Anatomy(*(_as(channel[None], kind) for channel, kind in zip(volume, kinds, strict=True)))


def _as(channel: Tensor, kind: torch.dtype) -> Tensor:
    if kind == torch.bool:
        return channel > 0.5
    return channel.to(kind) if kind.is_floating_point else channel.round().to(kind)
