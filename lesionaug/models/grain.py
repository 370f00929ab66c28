"""What a scanner leaves in tissue: noise, and how far it blurs. Measured around a lesion, given back inside it.

tissue ──► grain = tissue - its Gaussian blur ──► level:     how strong the noise is
sharpness: how far neighbouring voxels agree
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lesionaug.intensity import MAD_TO_SD, ring
from lesionaug.types import Patches, PatchMasks

AGREEMENT = (-0.07, 0.0, 0.14, 0.30, 0.42, 0.52, 0.59, 0.64)
"""Correlation of neighbouring voxels' grain where white noise was blurred by ..."""
BLUR_VOXELS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""... a Gaussian of this width; measured on 96^3 voxels of noise. Anatomy agrees more, so that the scale ends here."""
SHARP_VOXELS = 0.6
"""Blur of the scans in which most lesions learnt from were drawn; blur beyond it has to be made."""


def grain_of(background: Patches, tissue: PatchMasks) -> Patches:
    """What a Gaussian of one voxel takes out of the tissue: noise, and the finest anatomy."""
    weight = blur(tissue.float(), sigma=1.0).clamp(min=1e-3)
    return (background - blur(background * tissue, sigma=1.0) / weight) * tissue


def grain_level(background: Patches, tissue: PatchMasks, mask: PatchMasks) -> Float[Tensor, "batch channels"]:
    """Robust standard deviation of the grain around the lesions."""
    return MAD_TO_SD * masked_median(grain_of(background, tissue).abs(), ring(mask, tissue))


def blur(x: Patches, sigma: float, radius: int = 3) -> Patches:
    """Separable Gaussian; zero beyond the patch."""
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype) / sigma) ** 2)
    kernel, channels = kernel / kernel.sum(), x.shape[1]
    for axis in range(3):
        shape, padding = [1, 1, 1], [0, 0, 0]
        shape[axis], padding[axis] = len(kernel), radius
        x = F.conv3d(x, kernel.view(1, 1, *shape).expand(channels, 1, *shape), padding=padding, groups=channels)
    return x


def masked_median(values: Patches, mask: PatchMasks) -> Float[Tensor, "batch channels"]:
    """Median of each channel over each mask, 0 where the mask is empty."""
    medians = [
        v[:, m[0]].median(dim=1).values if m.any() else v.new_zeros(len(v)) for v, m in zip(values, mask, strict=True)
    ]
    return torch.stack(medians)


def scanner_blur(background: Patches, tissue: PatchMasks, mask: PatchMasks) -> Float[Tensor, "batch channels"]:
    """Width in voxels of the Gaussian that the scan looks blurred by, from the tissue around each lesion."""
    around = ring(mask, tissue)
    grain = grain_of(background, tissue)
    limit = 3 * grain_level(background, tissue, mask)[:, :, None, None, None]
    grain = torch.maximum(torch.minimum(grain, limit), -limit)
    power = (grain**2 * around).flatten(2).sum(dim=2).clamp(min=1e-12)
    agreement = torch.stack([_agreement(grain, around, axis) for axis in (2, 3, 4)]).mean(dim=0) / power
    widths = np.interp(agreement.cpu().numpy(), AGREEMENT, BLUR_VOXELS)
    return torch.from_numpy(widths).to(background)


def excess_blur(widths: Tensor) -> Tensor:
    """The Gaussian that takes a scan of `SHARP_VOXELS` to one of these widths."""
    return (widths**2 - SHARP_VOXELS**2).clamp(min=0).sqrt()


def _agreement(grain: Patches, around: PatchMasks, axis: int) -> Float[Tensor, "batch channels"]:
    return (grain * grain.roll(1, axis) * around).flatten(2).sum(dim=2)


def blur_each(x: Patches, sigmas: Float[Tensor, "batch channels"]) -> Patches:
    """`blur` with a width for each patch and channel."""
    pairs = [(n, c) for n in range(x.shape[0]) for c in range(x.shape[1])]
    blurred = [blur(x[n, c][None, None], max(float(sigmas[n, c]), 1e-2))[0, 0] for n, c in pairs]
    return torch.stack(blurred).view_as(x)
