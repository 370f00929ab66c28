"""From images on one grid to a `Scan`, and from a rendered `Scan` back to those images' own types."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from lesionaug.anatomy import Anatomy, anatomy_from_images
from lesionaug.checks import binary_mask, check_affine, check_intensities, check_known
from lesionaug.errors import LesionAugError
from lesionaug.scan import CHANNELS, Scan
from lesionaug.threads import torch_threads
from lesionaug.types import Mask

Image = Num[Tensor, "1 i j k"]


@torch_threads(1)
def assemble_scan(
    images: Mapping[str, Image],
    affine: np.ndarray | Tensor,
    lesion_mask: Image | None = None,
    *,
    eligible: Image | None = None,
    anatomy: Anatomy | None = None,
    brain_mask: Image | None = None,
) -> Scan:
    """A scan of checked images.

    Args:
        images: Channel name to intensities, all of one shape.
        affine: Voxel to world in mm, 4 by 4.
        lesion_mask: Existing lesions: 0 and one other whole number, of any type; none if not given.
        eligible: Relative probability that a lesion is centred at a voxel, instead of that of the anatomy.
        anatomy: Brain, eligible tissue and regions; found in the images where not given.
        brain_mask: Brain tissue and ventricles, not 0; found in the images where not given.

    Raises:
        LesionAugError: An unknown channel, an image or mask that cannot be worked with, or no place for a lesion.
    """
    affine = as_affine(affine)
    spacing_mm = check_affine(affine, "the scan")
    _check_images(images)
    channels = tuple(channel for channel in CHANNELS if channel in images)
    stacked = torch.cat([images[channel].float() for channel in channels])
    lesion_mask = _mask(lesion_mask, stacked, "lesion_mask")
    brain = None if brain_mask is None else _same_shape(brain_mask, stacked, "brain_mask") != 0
    if eligible is not None:
        _same_shape(eligible, stacked, "eligible")
    anatomy = anatomy or anatomy_from_images(stacked, channels, affine, lesion_mask, brain_mask=brain)
    return Scan(
        image=stacked,
        channels=channels,
        lesion_mask=lesion_mask,
        brain=anatomy.brain,
        eligible=_checked_eligible(anatomy.eligible if eligible is None else eligible.float(), anatomy.brain),
        regions=anatomy.regions,
        spacing_mm=spacing_mm,
    )


def as_affine(affine: np.ndarray | Tensor) -> np.ndarray:
    """Voxel to world in mm as double precision.

    Raises:
        LesionAugError: It is not 4 by 4.
    """
    matrix = np.asarray(affine.detach().cpu() if isinstance(affine, Tensor) else affine, dtype=float)
    if matrix.shape != (4, 4):
        raise LesionAugError(
            f"Expected an affine of 4 x 4 (voxel to world in mm), got the shape {matrix.shape}; "
            "hand in that of the file, such as nibabel's image.affine"
        )
    return matrix


def _check_images(images: Mapping[str, Image]) -> None:
    if not images:
        raise LesionAugError(f"Expected at least one image, got none; give one of {', '.join(CHANNELS)}")
    check_known("channel", images, CHANNELS)
    like = next(iter(images.values()))
    for channel, image in images.items():
        if not isinstance(image, Tensor) or image.ndim != 4 or len(image) != 1:
            got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise LesionAugError(f"Expected a tensor (1, i, j, k), got {got} in {channel}; tensor[None] adds the axis")
        _same_shape(image, like, channel)
        check_intensities(image.numpy(), channel)


def _mask(mask: Image | None, like: Tensor, what: str) -> Mask:
    if mask is None:
        return torch.zeros((1, *like.shape[1:]), dtype=torch.bool)
    return torch.from_numpy(binary_mask(_same_shape(mask, like, what).numpy(), what)[0])


def _same_shape(volume: Image, like: Tensor, what: str) -> Image:
    if not isinstance(volume, Tensor) or volume.shape != (1, *like.shape[1:]):
        got = tuple(volume.shape) if isinstance(volume, Tensor) else type(volume).__name__
        raise LesionAugError(
            f"Expected a tensor of the shape {(1, *like.shape[1:])}, got {got} in {what}; resample it to the images"
        )
    return volume.cpu()


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
