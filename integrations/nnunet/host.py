"""A preprocessed case as a `Scan`: whole, resampled, normalised, lying as its file did.

The anatomy is found in the whole case, so lesions keep to the white matter and to where lesions usually are, as in a
scan that was never preprocessed.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from lesionaug.integrations.nnunet.channels import Roles
from torch import Tensor

from lesionaug.anatomy import Anatomy, anatomy_from_images
from lesionaug.assemble import assemble_scan
from lesionaug.checks import check_intensities
from lesionaug.scan import Scan
from lesionaug.types import Mask, Volume

BELOW = 1.0  # standard deviations of the scan: what is not background has to stand out of it
MARGIN = 8  # voxels of background that cropping took away, and that a brain is found by


def host_scan(data: np.ndarray, seg: np.ndarray, affine: np.ndarray, roles: Roles) -> Scan:
    """What the synthesiser sees of a case.

    Args:
        data: Shape `(channels, i, j, k)`.
        seg: Shape `(1, i, j, k)`; negative outside the head.
        affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.
        roles: Of channels and labels.

    Raises:
        LesionAugError: A case that cannot be worked with, or that has no place for a lesion.
    """
    segmentation = torch.from_numpy(np.asarray(seg, np.int16))
    lesions, images = roles.lesion_mask(segmentation), roles.images(data)
    for channel, image in images.items():
        check_intensities(image.numpy(), channel)
    found = _anatomy(torch.cat([*images.values()]), roles.names, affine, lesions, segmentation >= 0)
    # What is ignored is brain all the same: intensities are measured there, too.
    writable = roles.writable(segmentation)
    anatomy = Anatomy(found.brain & (segmentation >= 0), found.eligible * writable, found.regions * writable)
    return assemble_scan(images, affine, lesions, anatomy=anatomy)


def _anatomy(image: Volume, names: tuple[str, ...], affine: np.ndarray, lesions: Mask, inside: Mask) -> Anatomy:
    """Found with background around, as it was before cropping, and without the ringing of resampling in it."""
    cleaned = torch.stack([_on_background(channel, inside[0]) for channel in image])
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ np.full(3, MARGIN)
    found = anatomy_from_images(cleaned, names, moved, F.pad(lesions, (MARGIN,) * 6))
    inner = (slice(None), *(slice(MARGIN, -MARGIN),) * 3)
    return Anatomy(found.brain[inner], found.eligible[inner].contiguous(), found.regions[inner].contiguous())


def _on_background(channel: Tensor, inside: Tensor) -> Tensor:
    """A channel with a margin, and as dark outside of the head as around it."""
    level = _background(channel, inside)
    return F.pad(torch.where(inside, channel, level), (MARGIN,) * 6, value=float(level))


def _background(channel: Tensor, inside: Tensor) -> Tensor:
    if inside.all():
        return torch.cat([channel.select(axis, end).flatten() for axis in range(3) for end in (0, -1)]).median()
    # Where nnU-Net normalises within the mask it leaves 0 outside, which is the mean of the tissue.
    return torch.minimum(channel[~inside].median(), channel[inside].min() - BELOW)
