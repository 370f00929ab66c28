"""Augmentation of patches without lesions: MONAI's transforms, light for every arm, heavy for one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandSimulateLowResolutiond,
    Transform,
)

from benchmarks.downstream.arms import Generic

Patch = dict[str, torch.Tensor]
BOTH = ("image", "label")


def generic(kind: Generic, seed: int) -> Callable[[Patch], Patch]:
    """A transform of patches with the keys `image` and `label`, shape `(channels, i, j, k)` each.

    Args:
        kind: Light flips left and right and changes brightness; heavy turns, scales, blurs, coarsens, adds noise and
            changes gamma too, with the probabilities of nnU-Net's DA5 or about.
        seed: Of all that is random.
    """
    transforms = Compose([*_light(), *(_heavy() if kind == "heavy" else [])])
    transforms.set_random_state(seed)
    return transforms


def _light() -> list[Transform]:
    return [RandFlipd(BOTH, prob=0.5, spatial_axis=0), RandScaleIntensityd("image", factors=0.1, prob=0.5)]


def _heavy() -> list[Transform]:
    turn, stretch = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
    return [
        RandAffined(
            BOTH, prob=0.4, rotate_range=turn, scale_range=stretch, mode=("bilinear", "nearest"), padding_mode="zeros"
        ),
        RandGaussianNoised("image", prob=0.2, std=0.2),
        RandGaussianSmoothd("image", (0.3, 1.0), (0.3, 1.0), (0.3, 1.0), prob=0.2),
        RandSimulateLowResolutiond("image", prob=0.15, zoom_range=(0.5, 1.0)),
        RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
    ]
