"""Batches as the published models were trained on: whole lesions of fixed patches, each patch as often as any other.

Lesions that touch a face of the patch are no lessons, as published; neither are patches without any lesion left, which
the published training spent a share of its steps on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lesionaug.pretrain.augment import draw
from lesionaug.pretrain.index import MODEL, PUBLISHED, StoreSettings
from lesionaug.pretrain.patches import PatchGroup
from lesionaug.pretrain.published_patches import published_mask
from torch import Tensor

from lesionaug.errors import LesionAugError

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Pool:
    """Patches of one shape to draw from.

    Args:
        masks: Whole lesions, shape `(patches, 1, i, j, k)`.
        images: Of one channel in robust units, same shape; None where only masks are wanted.
    """

    masks: Tensor
    images: Tensor | None

    def draw(self, generator: torch.Generator, flip_axes: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        """A mask, and its image, flipped together.

        Args:
            generator: Of the choice.
            flip_axes: Of the patch, each of which is flipped half of the time.
        """
        index = draw(len(self.masks), generator)
        flipped = [1 + axis for axis in flip_axes if draw(2, generator)]
        image = None if self.images is None else self.images[index].float().flip(flipped)
        return self.masks[index].flip(flipped), image


def store_settings(shape: Shape) -> StoreSettings:
    """How a store has to be cut for patches of this shape: as published, or, for small trials, as cubes."""
    return PUBLISHED if shape in PUBLISHED.shapes else MODEL


def pool(groups: list[PatchGroup], shape: Shape, channel: str | None = None) -> Pool:
    """All patches of a shape that hold a whole lesion.

    Args:
        groups: Of a store.
        shape: Of the patches.
        channel: Contrast to take; None for masks alone.

    Raises:
        LesionAugError: There are none.
    """
    usable = [
        group
        for group in groups
        if not group.healthy and group.label.shape[2:] == shape and (channel is None or channel in group.channels)
    ]
    masks = [published_mask(group.label) for group in usable]
    taught = [mask.flatten(1).any(dim=1) for mask in masks]
    if not any(some.any() for some in taught):
        raise LesionAugError(_none_left(groups, shape, channel))
    images = [group.image[:, [group.channels.index(channel)]] for group in usable] if channel else []
    return Pool(
        torch.cat([mask[some] for mask, some in zip(masks, taught, strict=True)]),
        torch.cat([image[some] for image, some in zip(images, taught, strict=True)]) if channel else None,
    )


def _none_left(groups: list[PatchGroup], shape: Shape, channel: str | None) -> str:
    shapes = sorted({"x".join(map(str, group.label.shape[2:])) for group in groups if not group.healthy})
    channels = sorted({name for group in groups for name in group.channels})
    wanted = f"patches of {'x'.join(map(str, shape))} voxels with whole lesions" + (f" in {channel}" if channel else "")
    return (
        f"Expected {wanted}, got none among patches of {', '.join(shapes) or 'no lesion'} "
        f"in {', '.join(channels) or 'no contrast'}; prepare a store with --preset published, or choose another preset"
    )
