"""Pages of `samples`: what a model makes of a few patches of a store, beside what a rater and a scanner made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from lesionaug.pretrain.patches import BRAIN, THIS, PatchGroup
from lesionaug.pretrain.samples import Column, draw_page, mid_slice
from torch import Tensor

from lesionaug.intensity import lesion_contrast
from lesionaug.models.base import Inpainter, MaskConditions, MaskGenerator, PaintConditions, patch_offsets_mm

ROWS = 6
GRAY = (-3.0, 5.0)  # robust units


@dataclass(frozen=True)
class Example:
    """One patch with a lesion.

    Args:
        image: Shape `(1, channels, i, j, k)`.
        channels: Of `image`.
        mask: Shape `(1, 1, i, j, k)`.
        brain: Likewise.
    """

    image: Tensor
    channels: tuple[str, ...]
    mask: Tensor
    brain: Tensor


def examples(groups: list[PatchGroup], count: int = ROWS) -> list[Example]:
    """Patches with lesions of all sizes but the smallest, which are a voxel or two: the same each time.

    Args:
        groups: To take them from.
        count: How many at most.
    """
    places = [(group, index) for group in groups if not group.healthy for index in range(len(group))]
    places.sort(key=lambda place: int(((place[0].label[place[1]] & THIS) > 0).sum()))
    first = len(places) // 3 if len(places) > count else 0
    chosen = np.linspace(first, len(places) - 1, min(count, len(places))).round().astype(int)
    return [_example(*places[place]) for place in chosen]


def _example(group: PatchGroup, index: int) -> Example:
    label = group.label[index : index + 1]
    return Example(group.image[index : index + 1].float(), group.channels, (label & THIS) > 0, (label & BRAIN) > 0)


@torch.no_grad()
def mask_page(model: MaskGenerator, chosen: list[Example], heading: str, device: torch.device) -> np.ndarray:
    """Control sphere, the rater's mask, and the model's for the same sphere and volume.

    Args:
        model: Draws.
        chosen: One lesion a row.
        heading: Of the page.
        device: Of the model.
    """
    drawn = [_drawn(model, example, row, device) for row, example in enumerate(chosen)]
    return draw_page(
        heading,
        [
            Column("control", _slices([_sphere(example) & _room(example) for example in chosen])),
            Column("rater", _slices([example.mask for example in chosen])),
            Column("model", _slices(drawn)),
        ],
    )


@torch.no_grad()
def paint_page(model: Inpainter, chosen: list[Example], heading: str, device: torch.device) -> np.ndarray:
    """Tissue with a hole in it, the hole, what the model paints there, and what the scanner saw.

    Args:
        model: Paints.
        chosen: One lesion a row, each in the first of its contrasts that the model knows.
        heading: Of the page.
        device: Of the model.
    """
    known = [_known_to(model, example) for example in chosen]
    painted = [_painted(model, example, row, device) for row, example in enumerate(known)]
    return draw_page(
        heading,
        [
            Column("background", _slices([e.image.masked_fill(e.mask, GRAY[0]) for e in known]), GRAY),
            Column("mask", _slices([e.mask for e in known])),
            Column("model", _slices(painted), GRAY),
            Column("scanner", _slices([e.image for e in known]), GRAY),
        ],
    )


def _drawn(model: MaskGenerator, example: Example, seed: int, device: torch.device) -> Tensor:
    conditions = MaskConditions(
        torch.tensor([_extent(example.mask)]), example.mask.sum()[None].float(), _room(example).to(device)
    )
    return model(conditions, [torch.Generator().manual_seed(seed)])


def _painted(model: Inpainter, example: Example, seed: int, device: torch.device) -> Tensor:
    contrast = lesion_contrast(example.image[0], example.mask[0], example.brain[0] & ~example.mask[0])[None]
    conditions = PaintConditions(
        example.image.to(device),
        example.channels,
        example.mask.to(device),
        example.brain.to(device),
        contrast.to(device),
    )
    return model(conditions, [torch.Generator().manual_seed(seed)])


def _known_to(model: Inpainter, example: Example) -> Example:
    own = [index for index, channel in enumerate(example.channels) if channel in model.channels]
    return replace(example, image=example.image[:, own], channels=tuple(example.channels[index] for index in own))


def _room(example: Example) -> Tensor:
    """Raters leave the brain of a brain mask now and then."""
    return example.brain | example.mask


def _extent(mask: Tensor) -> float:
    return 2 * float(_distance(mask)[mask[0, 0]].max()) + 1


def _sphere(example: Example) -> Tensor:
    return (_distance(example.mask) <= _extent(example.mask) / 2)[None, None]


def _distance(mask: Tensor) -> Tensor:
    return patch_offsets_mm(mask.shape[2:], 1.0).norm(dim=0)


def _slices(patches: list[Tensor]) -> list[Tensor]:
    return [mid_slice(patch) for patch in patches]
