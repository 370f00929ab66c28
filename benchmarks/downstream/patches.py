"""Scans in network units, and training patches out of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lesionaug.intensity import robust_scale
from lesionaug.scan import Scan

LESION_SHARE = 0.5
"""Of the patches that are centred at a voxel of a lesion; the others lie anywhere in the brain."""


def network_input(scan: Scan) -> Float[Tensor, "channels i j k"]:
    """Robust units of the brain, 0 outside."""
    return robust_scale(scan.image, scan.brain).normalise(scan.image.float()) * scan.brain


@dataclass(frozen=True)
class Ready:
    """A training scan with a margin, from which patches can be cut around every voxel.

    Args:
        image: Network units, with margins.
        label: Lesions, with margins.
        lesion: Indices of lesion voxels, without margins.
        brain: Indices of the brain's voxels, without margins.
        shape: Of the scan, without margins.
        patch: Side of a patch in voxels.
    """

    image: Float[Tensor, "channels i j k"]
    label: Bool[Tensor, "1 i j k"]
    lesion: Int[np.ndarray, " lesion"]
    brain: Int[np.ndarray, " brain"]
    shape: tuple[int, int, int]
    patch: int

    @classmethod
    def of(cls, scan: Scan, patch: int) -> Ready:
        """A scan, ready."""
        margins = (patch // 2,) * 6
        lesion, brain = (np.flatnonzero(mask[0].numpy()) for mask in (scan.lesion_mask, scan.brain))
        padded = [torch.nn.functional.pad(x, margins) for x in (network_input(scan), scan.lesion_mask)]
        return cls(padded[0], padded[1], lesion, brain, scan.shape, patch)

    def draw(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A patch around a lesion's voxel or any voxel of the brain, off its middle by up to a quarter."""
        lesion = rng.random() < LESION_SHARE and len(self.lesion) > 0
        places = self.lesion if lesion else self.brain
        # Uniform numbers take one draw each: arms with other lesions get the same ones for all that follows.
        chosen, *shift = rng.random(4)
        center = np.array(np.unravel_index(places[int(chosen * len(places))], self.shape))
        start = np.clip(center + np.round((np.array(shift) - 0.5) * self.patch / 2), 0, np.array(self.shape) - 1)
        box = (slice(None), *(slice(a, a + self.patch) for a in start.astype(int).tolist()))
        return {"image": self.image[box].clone(), "label": self.label[box].float()}
