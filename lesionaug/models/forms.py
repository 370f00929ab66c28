"""How long, flat, spread and thick lesions of a volume and a control sphere are: drawn from those learnt from.

Volume and sphere alone leave a bar, a sheet, a ball with a tail and a thing of many arms possible. A network of few
steps that is left the choice draws something in between, with arms; so the form is drawn first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lesionaug.models.base import MaskConditions

RATIOS = 4
"""Numbers in a form."""
AXES = 2
"""The first of them, which compare principal axes."""
FORMS = "forms"
"""Name of the table among a checkpoint's tensors."""
NEIGHBOURS = 24
"""Lesions of about the wanted volume and sphere among which one lends its form."""


def form_of(mask: Bool[Tensor, "1 i j k"]) -> Float[Tensor, " form"]:
    """Logarithms of four ratios.

    First over second and second over third principal axis; spread of the voxels around their centroid, and depth of the
    deepest, over those of a ball of the volume.
    """
    points = mask[0].nonzero().double()
    offsets = points - points.mean(dim=0)
    # A voxel is a cube: its own variance keeps a lesion of one voxel, or one layer, finite.
    moments = offsets.T @ offsets / len(points) + torch.eye(3, dtype=torch.double) / 12
    third, second, first = torch.linalg.eigvalsh(moments).clamp(min=1e-6)
    radius = (3 * len(points) / (4 * math.pi)) ** (1 / 3)
    spread = (first + second + third) / (3 / 5 * radius**2)
    ratios = torch.stack([first / second, second / third, spread, (_depth(mask[0]) / radius) ** 2])
    return (ratios.log() / 2).float()


def _depth(mask: Bool[Tensor, "i j k"]) -> Float[Tensor, ""]:
    """Distance in voxels from the deepest voxel's centre to the surface."""
    box = tuple(slice(int(w.min()), int(w.max()) + 1) for w in mask.nonzero().T)
    return torch.tensor(distance_transform_edt(np.pad(mask[box].numpy(), 1)).max() - 0.5, dtype=torch.double)


@dataclass(frozen=True)
class Forms:
    """Lesions that lend their form.

    Args:
        table: Per lesion: log of its volume in voxels, log of its sphere's diameter over that of a ball of its volume,
            and its form.
    """

    table: Float[Tensor, "lesions columns"]

    def draw(
        self, conditions: MaskConditions, spacing_mm: float, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "batch form"]:
        """A form for each lesion, that of a neighbour in volume and sphere, chosen by the lesion's own generator."""
        wanted = size_and_stretch(conditions.volume_mm3.cpu() / spacing_mm**3, conditions.extent_mm.cpu() / spacing_mm)
        known = self.table[:, :2]
        apart = ((wanted[:, None] - known) / known.std(dim=0).clamp(min=1e-3)).norm(dim=2)
        nearest = apart.topk(min(NEIGHBOURS, len(known)), dim=1, largest=False).indices
        chosen = [
            int(row[torch.randint(len(row), (), generator=generator)])
            for row, generator in zip(nearest, generators, strict=True)
        ]
        return self.table[chosen, 2:]


def size_and_stretch(
    volume_voxels: Float[Tensor, " batch"], extent_voxels: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 2"]:
    """What forms are looked up by."""
    ball = (6 * volume_voxels / math.pi) ** (1 / 3)
    return torch.stack([volume_voxels.log(), (extent_voxels / ball).log()], dim=1)
