"""Lesions as blurred as the scan they are painted into.

In a blurred scan half of a lesion's blur lies outside any mask, where nothing may be painted. So the mask is taken for
all that can be seen of the lesion, not for its half height: the contrast is a hill that ends at the mask's rim.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.models.base import PaintConditions
from lesionaug.models.grain import blur_each, excess_blur, grain_of, scanner_blur
from lesionaug.types import Patches

FOOT = 0.2  # share of a lesion's voxels that a blurred scan hardly shows
FLANK = 0.9  # of the way from foot to summit at which a blurred lesion is as bright as it gets
FULLY_BLURRED = 0.7  # voxels of excess blur from which a lesion is a hill without a plateau


def as_blurred_as_the_scan(
    painted: Patches, conditions: PaintConditions, shares: Float[Tensor, " channels"]
) -> tuple[Patches, Patches]:
    """Blur the change that a lesion makes to the smooth tissue below it, and let it fade towards its rim.

    Args:
        painted: A lesion as sharp as those learnt from.
        conditions: Where it is painted.
        shares: Part of the scan's excess blur that each channel is given.

    Returns:
        The softened lesion, and the share of its contrast that each voxel of its mask shows.
    """
    tissue = conditions.brain & ~conditions.mask
    smooth = conditions.background - grain_of(conditions.background, conditions.brain)
    excess = excess_blur(scanner_blur(conditions.background, tissue, conditions.mask))
    sigmas = excess * shares.to(excess)[:, None]
    mask = conditions.mask.expand_as(painted).to(painted)
    inside = blur_each(mask, sigmas).clamp(min=1e-3)
    fade = fading(inside, mask, sigmas)
    return smooth + blur_each((painted - smooth) * mask, sigmas) / inside * fade, fade


def fading(inside: Patches, mask: Patches, sigmas: Float[Tensor, "batch channels 3"]) -> Patches:
    """Share of a lesion's contrast that each voxel shows: one in a sharp scan, a hill in a blurred one.

    Args:
        inside: The mask, blurred.
        mask: Ones and zeros, for each channel.
        sigmas: What it was blurred with, voxels.
    """
    values = torch.where(mask > 0, inside, torch.nan).flatten(2)
    foot = values.nanquantile(FOOT, dim=2)[:, :, None, None, None]
    summit = (inside * mask).amax(dim=(2, 3, 4), keepdim=True)
    hill = ((inside - foot) / (FLANK * (summit - foot)).clamp(min=1e-3)).clamp(0, 1)
    blurred = ((sigmas**2).mean(dim=2) / FULLY_BLURRED**2).clamp(max=1)[:, :, None, None, None]
    return (1 - blurred * (1 - hill)) * mask
