"""A lesion in a scan: sharp tissue, blurred as that scan is blurred.

    scan = (1 - opacity) * healthy tissue + opacity * lesion tissue        opacity = label, blurred

This is the one model of partial volume: LeFusion learns textures under it and paints under it. Around the label the
opacity goes on for a voxel or two: a lesion's halo.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.intensity import dilate
from lesionaug.models.grain import blur_each
from lesionaug.scan import CHANNELS
from lesionaug.types import Patches, PatchMasks

EDGE_SLOPE = (1.67, 1.40, 1.39)
EDGE_START_MM = (-0.42, -0.40, -0.19)
EDGE_SHIFT_MM = (-0.17, -0.40, -0.24)
"""Width of a lesion's edge over the blur measured around it, and how far it lies beyond the rater's contour, for each
of `CHANNELS`: what `python -m lesionaug.pretrain.edges` finds in the six scans of 1 mm that there are (open_ms 07 and
19, MSLesSeg P14, P14, P14 and P18; in T2w four of them). T1w is set by hand, near FLAIR's line: its fit (0.77, -0.08,
-0.60) rests on the 17 darkest holes, and made all others too sharp. Where slices are thick, slanting surfaces widen
edges; that comes of itself. A label drawn in FLAIR is too large for T1w and T2w."""

LEAST_WIDTH_MM = 0.35
REACH_MM = 3  # beyond it no scan shows a lesion's partial volume
FAINTEST = 0.02  # opacity that nobody sees
TINY = 1e-4  # keeps what is inverted from its ends


def opacity(mask: PatchMasks, blur: Float[Tensor, "batch channels 3"], channels: tuple[str, ...]) -> Patches:
    """Share of lesion tissue in each voxel, per channel; a straight edge comes out as `Phi((shift - x) / width)`.

    Args:
        mask: Labels, voxels of 1 mm.
        blur: Measured around each lesion along each axis, mm.
        channels: Name of each channel.
    """
    rows = [CHANNELS.index(channel) for channel in channels]
    slope, start, shift = (_column(values, rows, blur) for values in (EDGE_SLOPE, EDGE_START_MM, EDGE_SHIFT_MM))
    widths = (slope * blur + start).clamp(min=LEAST_WIDTH_MM)
    soft = blur_each(mask.expand(-1, len(channels), -1, -1, -1).to(blur), widths)
    moved = (shift / widths.mean(dim=2, keepdim=True))[..., None, None]
    shown = torch.special.ndtr(torch.special.ndtri(soft.clamp(TINY, 1 - TINY)) + moved)
    # Raters draw along a level of brightness: no part of a label shows less than a straight contour, however thin.
    contour = torch.special.ndtr(moved) * (shown * mask).amax(dim=(2, 3, 4), keepdim=True)
    shown = torch.where(mask, torch.maximum(shown, contour), shown)
    return torch.where((shown > FAINTEST) & dilate(mask, REACH_MM), shown, 0.0)


def continued(change: Patches, mask: PatchMasks) -> Patches:
    """What a lesion has in its mask, carried on outward."""
    width = change.new_ones((*change.shape[:2], 3))
    known = mask.expand_as(change).to(change)
    return blur_each(change * known, width) / blur_each(known, width).clamp(min=TINY)


def within(change: Patches, mask: PatchMasks, widths: Float[Tensor, "batch channels 3"]) -> Patches:
    """Blurred inside each mask, as if nothing were outside; zero there."""
    known = mask.expand_as(change).to(change)
    return blur_each(change * known, widths) / blur_each(known, widths).clamp(min=TINY) * known


def mean_in(values: Patches, mask: PatchMasks) -> Patches:
    """Mean over each mask, per channel, shape `(batch, channels, 1, 1, 1)`."""
    voxels = mask.sum(dim=(2, 3, 4), keepdim=True).clamp(min=1)
    return (values * mask).sum(dim=(2, 3, 4), keepdim=True) / voxels


def _column(values: tuple[float, ...], rows: list[int], like: Tensor) -> Float[Tensor, "channels 1"]:
    return torch.tensor([values[row] for row in rows]).to(like)[:, None]
