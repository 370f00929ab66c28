"""The two jobs of lesion synthesis as protocols, and the stand-ins without a network that a diffusion model must beat.

Both work on batches of patches at the model's spacing, with the lesion's control sphere in the middle: the centre
voxel of an axis of `n` voxels is `n // 2`. One generator per lesion makes a lesion independent of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lesionaug.types import Patches, PatchMasks


@dataclass(frozen=True)
class MaskConditions:
    """What the shape of a lesion is drawn from.

    Args:
        extent_mm: Diameter of each control sphere.
        volume_mm3: Volume each mask is to have.
        allowed: Voxels a mask may use.
        near_ventricles: Voxels of the periventricular region; nothing is known of the anatomy if not given.
        near_cortex: Those of the juxtacortical one, likewise.
        blur: How blurred the scan is around each lesion along each axis, as widths in voxels of a Gaussian; sharp if
            not given.
    """

    extent_mm: Float[Tensor, " batch"]
    volume_mm3: Float[Tensor, " batch"]
    allowed: PatchMasks
    near_ventricles: PatchMasks | None = None
    near_cortex: PatchMasks | None = None
    blur: Float[Tensor, "batch 3"] | None = None


@dataclass(frozen=True)
class PaintConditions:
    """What the tissue of a lesion is painted from.

    Args:
        background: Healthy tissue in units of the scan's robust scale.
        channels: Name of each channel of `background`.
        mask: Where to paint.
        brain: Brain tissue and ventricles; intensities elsewhere mean nothing.
        contrast: Mean lesion intensity minus that of the tissue around it, per channel, same units.
        halo: Which lesions show their partial volume around the mask; none if not given.
        blur: How blurred the scan is around each lesion, per channel and axis, mm; measured if not given.
    """

    background: Patches
    channels: tuple[str, ...]
    mask: PatchMasks
    brain: PatchMasks
    contrast: Float[Tensor, "batch channels"]
    halo: Bool[Tensor, " batch"] | None = None
    blur: Float[Tensor, "batch channels 3"] | None = None


@runtime_checkable
class MaskGenerator(Protocol):
    """Draws one lesion mask per control sphere."""

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        ...

    @property
    def patch_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Patch shapes the model was trained on, ascending."""
        ...

    def __call__(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> PatchMasks:
        """Masks inside both the control sphere and `conditions.allowed`."""
        ...


@runtime_checkable
class Inpainter(Protocol):
    """Paints lesion tissue into healthy tissue."""

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        ...

    @property
    def patch_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Patch shapes the model was trained on, ascending."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts the model can paint."""
        ...

    def __call__(self, conditions: PaintConditions, generators: Sequence[torch.Generator]) -> Patches:
        """The background with lesions: outside mask and halo every voxel keeps its bits.

        Whether a lesion gets the halo it may have is the model's choice.
        """
        ...


PATCH_SHAPES = ((16, 16, 16), (24, 24, 24), (32, 32, 32), (48, 48, 48))


@dataclass(frozen=True)
class EllipsoidMasks:
    """Baseline: a randomly oriented ellipsoid of the wanted volume in the control sphere."""

    spacing_mm: float = 1.0
    patch_shapes: tuple[tuple[int, int, int], ...] = PATCH_SHAPES

    def __call__(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> PatchMasks:
        """See `MaskGenerator`."""
        masks = [
            self._ellipsoid(extent, volume, allowed, generator)
            for extent, volume, allowed, generator in zip(
                conditions.extent_mm.tolist(),
                conditions.volume_mm3.tolist(),
                conditions.allowed,
                generators,
                strict=True,
            )
        ]
        return torch.stack(masks)

    def _ellipsoid(
        self, extent_mm: float, volume_mm3: float, allowed: Tensor, generator: torch.Generator
    ) -> Bool[Tensor, "1 i j k"]:
        # One semi-axis spans the control sphere, the product of the other two is set by the volume.
        long_mm = extent_mm / 2
        product = 3 * volume_mm3 / (4 * math.pi * long_mm)
        skew = math.exp(0.3 * torch.randn((), generator=generator).item())
        semi_mm = [min(s, long_mm) for s in (long_mm, math.sqrt(product) * skew, math.sqrt(product) / skew)]
        rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
        offsets = patch_offsets_mm(allowed.shape[1:], self.spacing_mm).to(rotation)
        distance = (torch.einsum("ab,bijk->aijk", rotation, offsets) / torch.tensor(semi_mm).view(3, 1, 1, 1)).norm(
            dim=0
        )
        return (distance <= 1)[None].to(allowed.device) & allowed


@dataclass(frozen=True)
class ConstantContrast:
    """Baseline: the mask times the wanted contrast, added to the healthy tissue."""

    spacing_mm: float = 1.0
    patch_shapes: tuple[tuple[int, int, int], ...] = PATCH_SHAPES
    channels: tuple[str, ...] = ("flair", "t1w", "t2w")

    def __call__(self, conditions: PaintConditions, generators: Sequence[torch.Generator]) -> Patches:
        """See `Inpainter`; nothing is random here."""
        return conditions.background + conditions.mask * conditions.contrast[:, :, None, None, None]


def patch_offsets_mm(shape: Sequence[int], spacing_mm: float) -> Float[Tensor, "3 i j k"]:
    """Position of each voxel relative to the centre voxel."""
    axes = [(torch.arange(n) - n // 2) * spacing_mm for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).float()
