"""Robust per-scan units, their inverse, and how bright a lesion is.

Scanner intensities have no unit. Each channel is measured from the brain's median in multiples of its spread, so that
everything downstream is unchanged by `a * x + b` with `a > 0`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lesionaug.errors import LesionAugError
from lesionaug.threads import torch_threads
from lesionaug.types import Mask, Volume

MAD_TO_SD = 1.4826  # of a Gaussian
RING_MM = (2, 4)  # tissue around a lesion: beyond its soft rim, before other structures


@dataclass(frozen=True)
class Scale:
    """Centre and spread of each channel, shape `(channels,)`."""

    center: Float[Tensor, " channels"]
    spread: Float[Tensor, " channels"]

    def normalise(self, image: Volume) -> Volume:
        """Scanner units to robust units."""
        return (image - self.center[:, None, None, None]) / self.spread[:, None, None, None]

    def inverse(self, image: Volume) -> Volume:
        """Robust units to scanner units."""
        return image * self.spread[:, None, None, None] + self.center[:, None, None, None]


@torch_threads(1)
def robust_scale(image: Volume, brain: Mask) -> Scale:
    """Median and median absolute deviation (as a standard deviation) of each channel over the brain.

    Raises:
        LesionAugError: The brain is empty or a channel constant in it.
    """
    values = image[:, brain[0]].float()
    if values.shape[1] == 0:
        raise LesionAugError("Expected a brain mask with voxels, got an empty one; check the image or pass a mask")
    center = values.median(dim=1).values
    spread = MAD_TO_SD * (values - center[:, None]).abs().median(dim=1).values
    if bool((spread <= 0).any()):
        constant = [index for index, value in enumerate(spread.tolist()) if value <= 0]
        raise LesionAugError(
            f"Expected varying intensities in the brain, got a constant image (channel {constant}); check the file"
        )
    return Scale(center, spread)


def dilate(mask: Bool[Tensor, "*batch 1 i j k"], voxels: int) -> Bool[Tensor, "*batch 1 i j k"]:
    """Grow a mask by so many voxels, with the octahedron-and-cube ball that three-voxel max pooling can make."""
    grown = mask.float()
    for step in range(voxels):
        # Alternating face and full neighbourhoods keeps the result closer to a ball than a cube.
        grown = F.max_pool3d(grown, 3, stride=1, padding=1) if step % 2 else _dilate_faces(grown)
    return grown > 0.5


def _dilate_faces(mask: Tensor) -> Tensor:
    along_i = F.max_pool3d(mask, (3, 1, 1), stride=1, padding=(1, 0, 0))
    along_j = F.max_pool3d(mask, (1, 3, 1), stride=1, padding=(0, 1, 0))
    along_k = F.max_pool3d(mask, (1, 1, 3), stride=1, padding=(0, 0, 1))
    return torch.maximum(torch.maximum(along_i, along_j), along_k)


def ring(
    mask: Bool[Tensor, "*batch 1 i j k"], tissue: Bool[Tensor, "*batch 1 i j k"]
) -> Bool[Tensor, "*batch 1 i j k"]:
    """Tissue 2 to 4 voxels (of 1 mm) around a lesion; all the tissue where there is none so near."""
    near, far = RING_MM
    around = dilate(mask, far) & ~dilate(mask, near - 1) & tissue
    found = around.flatten(-4).any(dim=-1)[..., None, None, None, None]
    return torch.where(found, around, tissue & ~mask)


def surrounding_level(image: Volume, mask: Mask, tissue: Mask) -> Float[Tensor, " channels"]:
    """Median of each channel over the ring around a lesion."""
    values = image[:, ring(mask, tissue)[0]]
    return values.median(dim=1).values if values.shape[1] else image.new_zeros(image.shape[0])


def lesion_contrast(image: Volume, mask: Mask, tissue: Mask) -> Float[Tensor, " channels"]:
    """Mean of the lesion minus the median of the tissue around it, per channel, in the units of `image`."""
    return image[:, mask[0]].mean(dim=1) - surrounding_level(image, mask, tissue)
