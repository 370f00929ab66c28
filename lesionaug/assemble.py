"""From images on one grid to a `Scan`, and from a rendered `Scan` back to those images' own types."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from lesionaug.anatomy import Anatomy, anatomy_from_images
from lesionaug.checks import check_affine, check_intensities, check_known
from lesionaug.errors import LesionAugError
from lesionaug.scan import CHANNELS, Scan
from lesionaug.threads import torch_threads
from lesionaug.types import Mask

Image = Num[Tensor, "1 i j k"]


@torch_threads(1)
def assemble_scan(
    images: Mapping[str, Image],
    affine: np.ndarray,
    lesion_mask: Mask,
    *,
    eligible: Image | None = None,
    anatomy: Anatomy | None = None,
) -> Scan:
    """A scan of checked images.

    Args:
        images: Channel name to intensities, all of one shape.
        affine: Voxel to world in mm, 4 by 4.
        lesion_mask: Existing lesions.
        eligible: Relative probability that a lesion is centred at a voxel, instead of that of the anatomy.
        anatomy: Brain, eligible tissue and regions; found in the images where not given.

    Raises:
        LesionAugError: An unknown channel, an image that cannot be worked with, or no place for a lesion.
    """
    check_known("channel", images, CHANNELS)
    spacing_mm = check_affine(affine, "the scan")
    for channel, image in images.items():
        check_intensities(image.numpy(), channel)
    channels = tuple(channel for channel in CHANNELS if channel in images)
    stacked = torch.cat([images[channel].float() for channel in channels])
    anatomy = anatomy or anatomy_from_images(stacked, channels, affine, lesion_mask)
    return Scan(
        image=stacked,
        channels=channels,
        lesion_mask=lesion_mask,
        brain=anatomy.brain,
        eligible=_checked_eligible(anatomy.eligible if eligible is None else eligible.float(), anatomy.brain),
        regions=anatomy.regions,
        spacing_mm=spacing_mm,
    )


def write_into(original: Image, rendered: Image, where: Mask) -> Image:
    """The original with what was rendered, in the original's type; voxels elsewhere keep their bits."""
    return torch.where(where, as_stored(rendered, original.dtype), original)


def as_stored(values: Num[Tensor, "*shape"], dtype: torch.dtype) -> Num[Tensor, "*shape"]:
    """Intensities in an image's own type: rounded and clipped where it holds whole numbers."""
    if dtype.is_floating_point:
        return values.to(dtype)
    limits = torch.iinfo(dtype)
    return values.double().round().clamp(limits.min, limits.max).to(dtype)


def _checked_eligible(eligible: Tensor, brain: Mask) -> Tensor:
    if not bool(torch.isfinite(eligible).all()) or bool((eligible < 0).any()):
        raise LesionAugError("Expected an eligible map of finite values from 0 up, got others; clip it first")
    if not bool(((eligible > 0) & brain).any()):
        raise LesionAugError(
            "Expected eligible tissue in the brain, got no voxel where a lesion may be; "
            "check that this is a brain scan, or give an eligible map or labels"
        )
    return eligible
