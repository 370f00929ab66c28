"""Lesions as blurred as the scan they are painted into.

A part of a lesion's blur lies outside its label: partial volume. Where that may be painted (`halo`), the slope of a
lesion's edge is the scan's, and goes on beyond the label. Where nothing may be painted outside, its contrast falls off
inside instead, half as far as its blur would have it: less, and its rim looks cut out; more, and the label holds what
nobody can see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.models.base import PaintConditions
from lesionaug.models.grain import blur_each, excess_blur, grain_of, scanner_blur
from lesionaug.types import Patches

FOOT = 0.2  # share of a lesion's voxels that a blurred scan hardly shows
FLANK = 0.9  # of the way from foot to summit at which a blurred lesion is as bright as it gets
FADES = 0.5  # of the way to such a hill, where nothing may be painted outside
FULLY_BLURRED = 0.7  # voxels of excess blur from which a scan counts as blurred throughout
SHARP_HALO = 0.6  # voxels; with it the first voxel outside a lesion in a sharp scan is as bright as in patients
TIGHT = 0.8  # voxels; so far inside half height do raters of blurred scans draw their contour
TINY = 1e-4  # keeps what is inverted from its ends
FAINTEST = 0.02  # share of a lesion's contrast below which a halo ends
CONTINUED = 1.0  # voxels; a halo has the contrast of the rim next to it
MOST_VARIED = 2.5  # times the variation that a blur has left; beyond, it would be noise that is amplified


@dataclass(frozen=True)
class Softness:
    """How far lesions follow the blur of a scan, a value for each channel.

    Args:
        blur: Part of the scan's excess blur that a lesion is given.
        spread: Part of the variation within a lesion that this blur takes, given back; above one, more than that, where
            the network draws too little.
        peaks: Factor by which voxels above a lesion's mean contrast rise further above it, and by which those below
            come closer to it, where a scan is blurred throughout; sharp scans have none of it.
    """

    blur: Float[Tensor, " channels"]
    spread: Float[Tensor, " channels"]
    peaks: Float[Tensor, " channels"]


def as_blurred_as_the_scan(
    painted: Patches, conditions: PaintConditions, softness: Softness
) -> tuple[Patches, Patches]:
    """Blur the change that a lesion makes to the smooth tissue below it, and let it fall off at its rim.

    Args:
        painted: A lesion as sharp as those learnt from.
        conditions: Where it is painted.
        softness: How much of that.

    Returns:
        The change, and the share of the lesion's contrast that each voxel shows: zero where nothing is painted.
    """
    tissue = conditions.brain & ~conditions.mask
    excess = excess_blur(scanner_blur(conditions.background, tissue, conditions.mask))
    sigmas = excess * softness.blur.to(excess)[:, None]
    mask = conditions.mask.expand_as(painted).to(painted)
    inside = blur_each(mask, sigmas).clamp(min=1e-3)
    sharp = (painted - smooth_tissue(conditions)) * mask
    change = as_varied(blur_each(sharp, sigmas) / inside, sharp, mask, softness.spread)
    shown, blurred = fading(inside, mask, sigmas), _blurred(excess)
    if conditions.halo is not None:
        beyond = conditions.halo.to(mask.device)[:, None, None, None, None]
        shown = torch.where(beyond, slope(mask, excess) * conditions.brain, shown)
    change = peaked(change, mask, 1 + (_per_channel(softness.peaks, change) - 1) * blurred)
    change = torch.where(conditions.mask, change, continued(change, mask))
    return change * shown, shown


def smooth_tissue(conditions: PaintConditions) -> Patches:
    """The background without its grain."""
    return conditions.background - grain_of(conditions.background, conditions.brain)


def as_varied(change: Patches, sharp: Patches, mask: Patches, shares: Float[Tensor, " channels"]) -> Patches:
    """Give a blurred lesion back what it varied before: heterogeneity is no grain, and a scan's blur leaves it.

    Args:
        change: What is blurred.
        sharp: The same before that.
        mask: Ones and zeros, for each channel.
        shares: Of the lost variation, in each channel.
    """
    mean, sd = _moments(change, mask)
    lost = (_moments(sharp, mask)[1] / sd.clamp(min=1e-3)).clamp(1, MOST_VARIED) - 1
    return mean + (1 + _per_channel(shares, change) * lost) * (change - mean)


def peaked(change: Patches, mask: Patches, factors: Patches) -> Patches:
    """Stretch what exceeds a lesion's mean contrast and squeeze what falls short of it.

    A lesion in a blurred scan is a hill: many voxels on its flanks, few near its summit.
    """
    mean, _ = _moments(change, mask)
    beyond = change - mean
    return mean + torch.where(beyond * mean > 0, beyond * factors, beyond / factors)


def fading(inside: Patches, mask: Patches, sigmas: Float[Tensor, "batch channels 3"]) -> Patches:
    """Share of a lesion's contrast that its voxels show: one in a sharp scan, half way to a hill in a blurred one.

    Args:
        inside: The mask, blurred.
        mask: Ones and zeros, for each channel.
        sigmas: What it was blurred with, voxels.
    """
    values = torch.where(mask > 0, inside, torch.nan).flatten(2)
    foot = values.nanquantile(FOOT, dim=2)[:, :, None, None, None]
    summit = (inside * mask).amax(dim=(2, 3, 4), keepdim=True)
    hill = ((inside - foot) / (FLANK * (summit - foot)).clamp(min=1e-3)).clamp(0, 1)
    return (1 - FADES * _blurred(sigmas) * (1 - hill)) * mask


def slope(mask: Patches, excess: Float[Tensor, "batch channels 3"]) -> Patches:
    """Share of a lesion's contrast that voxels show where it may go beyond its label.

    In a sharp scan one in the mask and its partial volume around it. In a blurred one the edge of something larger than
    the mask, blurred like the scan: a straight edge comes out as `Phi((TIGHT - x) / sigma)`, `x` voxels outside. Raters
    of such a scan draw along a level of brightness, so no voxel of a label counts as outside its contour, however thin
    the label is there.

    Args:
        mask: Ones and zeros, for each channel.
        excess: Blur of the scan beyond that of a sharp one, voxels.
    """
    sigmas = (excess**2 + SHARP_HALO**2).sqrt()
    within = torch.special.ndtri(blur_each(mask, sigmas).clamp(TINY, 1 - TINY))
    within = torch.where(mask > 0, within.clamp(min=0), within)
    blurred = _blurred(excess)
    shift = TIGHT * blurred / (sigmas**2).mean(dim=2).sqrt()[:, :, None, None, None]
    edge = torch.special.ndtr(within + shift)
    inside = 1 + blurred * (edge - 1)
    return torch.where(mask > 0, inside, torch.where(edge > FAINTEST, edge, 0.0))


def continued(change: Patches, mask: Patches) -> Patches:
    """What a lesion changes in its mask, carried on outward."""
    width = change.new_full((*change.shape[:2], 3), CONTINUED)
    return blur_each(change * mask, width) / blur_each(mask, width).clamp(min=1e-3)


def _blurred(sigmas: Float[Tensor, "batch channels 3"]) -> Patches:
    """From zero for a sharp scan to one."""
    return ((sigmas**2).mean(dim=2) / FULLY_BLURRED**2).clamp(max=1)[:, :, None, None, None]


def _moments(values: Patches, mask: Patches) -> tuple[Patches, Patches]:
    """Mean and standard deviation in the mask, of each lesion and channel."""
    axes = (2, 3, 4)
    voxels = mask.sum(dim=axes, keepdim=True).clamp(min=1)
    mean = (values * mask).sum(dim=axes, keepdim=True) / voxels
    return mean, (((values - mean) ** 2 * mask).sum(dim=axes, keepdim=True) / voxels).sqrt()


def _per_channel(values: Float[Tensor, " channels"], like: Patches) -> Float[Tensor, "channels 1 1 1"]:
    return values.to(like)[:, None, None, None]
