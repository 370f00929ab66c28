"""A lesion while it grows or shrinks: the innermost part of the mask that it has when it is full-grown.

Asked for a smaller lesion with the same seed, a mask generator draws another one. So the full-grown mask is drawn at
all times, and all but a share of it is peeled off: parts of one lesion lie inside each other, and stay in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lesionaug.models.flooding import cut_at_volume
from lesionaug.models.grain import blur
from lesionaug.types import Mask, PatchMasks

ROUNDING = 0.4  # width of the blur, of the radius of a ball of the lesion's volume; arms go before the body


def grown_parts(masks: PatchMasks, shares: Sequence[float]) -> PatchMasks:
    """The innermost part of each mask.

    Args:
        masks: Of full-grown lesions.
        shares: Of their volume, above 0; from 1 on a mask stays as it is.
    """
    if all(share >= 1 for share in shares):
        return masks
    parts = [mask if share >= 1 else innermost(mask.cpu(), share) for mask, share in zip(masks, shares, strict=True)]
    return torch.stack([part.to(masks.device) for part in parts])


def innermost(mask: Mask, share: float) -> Mask:
    """What is left of a mask when its surface is peeled off; at least one voxel.

    Args:
        mask: In one piece.
        share: Of its volume that is left.
    """
    voxels = int(mask.sum())
    width = max(1.0, ROUNDING * (3 * voxels / (4 * math.pi)) ** (1 / 3))
    inside = blur(mask[None].float(), width, radius=math.ceil(3 * width))[0]
    return cut_at_volume(inside, mask, max(1, round(share * voxels)))
