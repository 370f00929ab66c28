"""Rendering that remembers which lesion a voxel belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int32
from torch import Tensor

from lesionaug.intensity import robust_scale
from lesionaug.patches import PatchGrid, uncut_mask
from lesionaug.rendering import RenderedLesion
from lesionaug.scan import LesionPlan, Scan
from lesionaug.synthesis import LesionSynthesizer, paintable, paste
from lesionaug.types import Mask

Instances = Int32[Tensor, "1 i j k"]


def render_instances(synthesizer: LesionSynthesizer, scan: Scan, plan: LesionPlan) -> tuple[Scan, Instances]:
    """What `LesionSynthesizer.render` gives, and the number of each new lesion in the plan, from 1, at its voxels."""
    if not plan.lesions:
        return scan, torch.zeros(scan.lesion_mask.shape, dtype=torch.int32)
    scale = robust_scale(scan.image, scan.brain)
    request, grids = synthesizer.request(scan, plan, scale)
    rendered, free = synthesizer.renderer(request), paintable(scan, plan)
    return paste(scan, rendered, request, grids, scale, free), numbered(rendered, grids, free)


def numbered(rendered: Sequence[RenderedLesion], grids: Sequence[PatchGrid], free: Mask) -> Instances:
    """Number of each lesion at its voxels; where two meet, the earlier keeps them, as in `paste`."""
    numbers = torch.zeros(free.shape, dtype=torch.int32)
    i, j, k = free.shape[1:]
    for number, (lesion, grid) in enumerate(zip(rendered, grids, strict=True), start=1):
        mask, box = uncut_mask(lesion.mask, grid, (i, j, k))
        here = (slice(None), *box)
        numbers[here] = torch.where(mask & free[here] & (numbers[here] == 0), number, numbers[here])
    return numbers


def renumbered(instances: Instances, numbers: Sequence[int]) -> Instances:
    """Instances with other numbers.

    Args:
        instances: As of `render_instances`.
        numbers: New number of the lesion that is 1, 2 and so on now.

    Example:
        >>> renumbered(torch.tensor([[[[0, 1, 2]]]]), (4, 7)).tolist()
        [[[[0, 4, 7]]]]
    """
    return torch.tensor((0, *numbers), dtype=torch.int32)[instances.long()]
