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

AGREEMENT = (-0.55, -0.51, -0.42, -0.27, -0.10, 0.05, 0.26, 0.41, 0.52, 0.60, 0.66, 0.70)
"""Correlation of neighbours along an axis, less what is smooth along it, where white noise was blurred by ..."""
BLUR_VOXELS = (0.1, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
"""... a Gaussian of this width along the axis, whatever the blur along the others; measured on 96^3 voxels of noise."""
SHARP_VOXELS = 0.7
"""Blur of the scans in which most lesions learnt from were drawn; blur beyond it has to be made."""
BLUR_RADIUS = 5  # voxels; two and a half widths of the widest


def grain_of(background: Patches, tissue: PatchMasks) -> Patches:
    """What a Gaussian of one voxel takes out of the tissue: noise, and the finest anatomy."""
    weight = blur(tissue.float(), sigma=1.0).clamp(min=1e-3)
    return (background - blur(background * tissue, sigma=1.0) / weight) * tissue


def smooth_tissue(background: Patches, tissue: PatchMasks) -> Patches:
    """The background without its grain."""
    return background - grain_of(background, tissue)


def grain_level(background: Patches, tissue: PatchMasks, mask: PatchMasks) -> Float[Tensor, "batch channels"]:
    """Robust standard deviation of the grain around the lesions."""
    return MAD_TO_SD * masked_median(grain_of(background, tissue).abs(), ring(mask, tissue))


def blur(x: Patches, sigma: float, radius: int = 3) -> Patches:
    """Separable Gaussian; zero beyond the patch."""
    kernels = _kernel(sigma, radius, x).expand(x.shape[1], -1)
    for axis in range(3):
        x = _blur_axis(x, kernels, axis)
    return x


def masked_median(values: Patches, mask: PatchMasks) -> Float[Tensor, "batch channels"]:
    """Median of each channel over each mask, 0 where the mask is empty."""
    medians = [
        v[:, m[0]].median(dim=1).values if m.any() else v.new_zeros(len(v)) for v, m in zip(values, mask, strict=True)
    ]
    return torch.stack(medians)


def scanner_blur(background: Patches, tissue: PatchMasks, mask: PatchMasks) -> Float[Tensor, "batch channels 3"]:
    """Widths in voxels of the Gaussian that the scan looks blurred by along each axis, from the tissue around lesions.

    Scans with thick slices are far more blurred along one axis than along the others, whatever grid they came on.
    """
    around = ring(mask, tissue)
    agreement = torch.stack([_agreement(background, tissue, around, axis) for axis in range(3)], dim=-1)
    widths = np.interp(agreement.cpu().numpy(), AGREEMENT, BLUR_VOXELS)
    return torch.from_numpy(widths).to(background)


def excess_blur(widths: Tensor, sharp: float = SHARP_VOXELS) -> Tensor:
    """The Gaussian that takes a scan blurred by `sharp` to one of these widths."""
    return (widths**2 - sharp**2).clamp(min=0).sqrt()


def blur_each(x: Patches, sigmas: Float[Tensor, "batch channels 3"]) -> Patches:
    """`blur` with a width for each patch, channel and axis."""
    offsets = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=x.device, dtype=x.dtype)
    kernels = torch.exp(-0.5 * (offsets / sigmas.clamp(min=0.1)[..., None]) ** 2)
    kernels = (kernels / kernels.sum(dim=-1, keepdim=True)).flatten(0, 1)
    flat = x.reshape(1, -1, *x.shape[2:])
    for axis in range(3):
        flat = _blur_axis(flat, kernels[:, axis], axis)
    return flat.view_as(x)


def _blur_axis(x: Patches, kernels: Float[Tensor, "channels size"], axis: int) -> Patches:
    """Each channel with a kernel of its own; zero beyond the patch."""
    shape, padding = [1, 1, 1], [0, 0, 0]
    shape[axis], padding[axis] = kernels.shape[1], kernels.shape[1] // 2
    return F.conv3d(x, kernels.view(-1, 1, *shape), padding=padding, groups=x.shape[1])


def _agreement(x: Patches, tissue: PatchMasks, around: PatchMasks, axis: int) -> Float[Tensor, "batch channels"]:
    """Correlation of neighbours along an axis; outliers, which are anatomy, count for little."""
    rough = _roughness(x, tissue, axis)
    limit = 3 * MAD_TO_SD * masked_median(rough.abs(), around)[:, :, None, None, None]
    rough = torch.maximum(torch.minimum(rough, limit), -limit)
    power = (rough**2 * around).flatten(2).sum(dim=2).clamp(min=1e-12)
    return (rough * rough.roll(1, axis + 2) * around).flatten(2).sum(dim=2) / power


def _roughness(x: Patches, tissue: PatchMasks, axis: int) -> Patches:
    """What a Gaussian of one voxel along one axis takes out of the tissue."""
    kernel = _kernel(1.0, 3, x).expand(x.shape[1], -1)
    weight = _blur_axis(tissue.to(x).expand_as(x), kernel, axis).clamp(min=1e-3)
    return (x - _blur_axis(x * tissue, kernel, axis) / weight) * tissue


def _kernel(sigma: float, radius: int, like: Tensor) -> Float[Tensor, " size"]:
    offsets = torch.arange(-radius, radius + 1, device=like.device, dtype=like.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return kernel / kernel.sum()
