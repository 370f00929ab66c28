"""Masks of a mask generator, drawn without a scan, to be compared with the real ones that they are to match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from benchmarks.realism.hosts import MAX_MM3
from benchmarks.realism.shape import MIN_VOXELS, lesions_of
from lesionaug.models.base import MaskConditions, MaskGenerator
from lesionaug.prior_fit import control_extent_mm

Array = np.ndarray


@dataclass(frozen=True)
class DrawnMasks:
    """Masks and what was asked for.

    Args:
        whole: One mask per request, all its parts.
        wanted_mm3: Volume asked for, for each.
        real: The real lesions whose volume and extent were asked for.
    """

    whole: tuple[Bool[Array, "i j k"], ...]
    wanted_mm3: tuple[float, ...]
    real: tuple[Bool[Array, "i j k"], ...]

    @property
    def parts(self) -> list[Bool[Array, "a b c"]]:
        """Connected lesions of all masks."""
        return [crop for mask in self.whole for crop in lesions_of(mask)]

    @property
    def share_in_parts(self) -> float:
        """Share of masks that fall into several components of any size."""
        return float(np.mean([len(lesions_of(mask, 1)) > 1 for mask in self.whole]))

    @property
    def share_empty(self) -> float:
        """Share of masks without a voxel."""
        return float(np.mean([not mask.any() for mask in self.whole]))

    @property
    def volume_ratio(self) -> tuple[float, float, float]:
        """Volume over wanted volume: 5th, 50th and 95th percentile."""
        ratios = [mask.sum() / wanted for mask, wanted in zip(self.whole, self.wanted_mm3, strict=True)]
        low, middle, high = np.percentile(ratios, (5, 50, 95))
        return float(low), float(middle), float(high)


def draw_masks(
    generator: MaskGenerator, lesions: Sequence[Bool[Array, "i j k"]], count: int = 300, seed: int = 0
) -> DrawnMasks:
    """One mask for each of so many real lesions, of its volume and extent; every voxel of the patch is allowed.

    Args:
        generator: Works at 1 mm.
        lesions: Real lesions to draw volumes and extents from, without the confluent ones.
        count: Of masks.
        seed: Of the choice and of the masks.
    """
    rng = np.random.default_rng(seed)
    fitting = [lesion for lesion in lesions if MIN_VOXELS <= lesion.sum() <= MAX_MM3]
    real = tuple(fitting[index] for index in rng.permutation(len(fitting))[:count])
    whole = tuple(_draw(generator, lesion, seed * count + index) for index, lesion in enumerate(real))
    return DrawnMasks(whole, tuple(float(lesion.sum()) for lesion in real), real)


@torch.inference_mode()
def _draw(generator: MaskGenerator, lesion: Array, seed: int) -> Array:
    volume, extent = float(lesion.sum()), control_extent_mm(np.argwhere(lesion), np.ones(3))
    shape = next((shape for shape in generator.patch_shapes if min(shape) >= extent + 6), generator.patch_shapes[-1])
    conditions = MaskConditions(
        extent_mm=torch.tensor([extent]),
        volume_mm3=torch.tensor([volume]),
        allowed=torch.ones(1, 1, *shape, dtype=torch.bool),
    )
    return generator(conditions, [torch.Generator().manual_seed(seed)])[0, 0].numpy()
