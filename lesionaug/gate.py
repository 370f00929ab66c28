"""Which lesions are good enough to be painted: masks are judged before anything is painted into them.

    mask ──► whole? compact? visible? not hidden in tissue as bright as itself? ──► painted, or drawn again

Everything is judged by the full-grown mask, the contrast asked for and the healthy tissue, so that a lesion of two
visits is judged alike at both, and by the renderer alone, so that the same request gives the same answer.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from scipy.spatial import ConvexHull
from torch import Tensor

from lesionaug.intensity import MAD_TO_SD, ring
from lesionaug.models.grain import blur
from lesionaug.types import Mask, Volume

TRIES = 3
LEAST_SHARE = 0.8  # of the volume asked for
LEAST_DEPTH = 0.28
"""Depth of the deepest voxel over the radius of a ball of the volume. 5 to 25 % of real lesions are below, thin sheets
that a network draws as wires (open_ms: 24 patients; a database of 2,126 lesions)."""
LEAST_SOLIDITY = 0.36
"""Volume over that of the convex hull. 3 % of real lesions of less than 50 mm3 have less and most confluent ones; set
by hand: what has arms looks wrong even where a rater once drew it."""
FAINTEST = {"flair": 1.3, "t2w": 1.3, "t1w": 1.0}
"""Contrast over the spread of the tissue around. In FLAIR 2 % of 128 real lesions of four patients are fainter. Where
there is T1w alone, half of real lesions hardly show: those that do are drawn."""
HIDDEN = 0.5  # of the contrast: tissue that exceeds the ring by more hides the lesion
MOST_HIDDEN = 0.15  # of a label

BRIGHT = {"flair": 1, "t2w": 1, "t1w": -1}
"""Whether lesions are bright or dark, in the order in which channels are asked."""


def is_good(
    mask: Mask,
    wanted_voxels: float,
    background: Volume,
    brain: Mask,
    contrast: Float[Tensor, " channels"],
    channels: tuple[str, ...],
) -> bool:
    """Whether a lesion may be painted.

    Args:
        mask: Of the full-grown lesion, voxels of 1 mm.
        wanted_voxels: Its planned volume.
        background: Healthy tissue in robust units.
        brain: Brain tissue and ventricles.
        contrast: Asked for, per channel.
        channels: Of the scan.
    """
    return (
        is_whole(mask, wanted_voxels) and is_compact(mask) and is_visible(mask, background, brain, contrast, channels)
    )


def is_whole(mask: Mask, wanted_voxels: float) -> bool:
    """Whether there was room for it."""
    return bool(mask.any()) and int(mask.sum()) >= LEAST_SHARE * max(wanted_voxels, 1)


def is_compact(mask: Mask) -> bool:
    """Whether it is as thick as real lesions of its volume, no wire, and without arms."""
    return depth_ratio(mask) >= LEAST_DEPTH and solidity(mask) >= LEAST_SOLIDITY


def depth_ratio(mask: Mask) -> float:
    """Depth of the deepest voxel, over the radius of a ball of the volume."""
    radius = (3 * int(mask.sum()) / (4 * math.pi)) ** (1 / 3)
    depth = distance_transform_edt(np.pad(mask[0].numpy(), 1))
    return float(depth.max() - 0.5) / radius


def solidity(mask: Mask) -> float:
    """Volume over that of the convex hull of the voxels' corners."""
    voxels = np.argwhere(mask[0].numpy())
    corners = np.unique(np.concatenate([voxels + corner for corner in np.ndindex(2, 2, 2)]), axis=0)
    return len(voxels) / ConvexHull(corners).volume


def is_visible(
    mask: Mask, background: Volume, brain: Mask, contrast: Float[Tensor, " channels"], channels: tuple[str, ...]
) -> bool:
    """Whether it stands out of the tissue around, and is not laid over tissue that is as bright as itself."""
    channel = next(name for name in BRIGHT if name in channels)
    index = channels.index(channel)
    height = BRIGHT[channel] * float(contrast[index])
    around = background[index][ring(mask, brain & ~mask)[0]]
    if not len(around) or height <= 0:
        return False
    level = around.median()
    spread = float(MAD_TO_SD * (around - level).abs().median())
    smooth = blur(background[None, index : index + 1], sigma=1.0)[0, 0]
    above = BRIGHT[channel] * (smooth - level)[mask[0]]
    return height >= FAINTEST[channel] * spread and float((above > HIDDEN * height).float().mean()) <= MOST_HIDDEN
