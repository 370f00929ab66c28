"""What patches are cut from, and what the bits of their labels mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THIS, OTHER, BRAIN, CUT = 1, 2, 4, 8
"""Bits of a patch's label: the lesion it is about, other lesions, brain, and what of a lesion the patch does not show
as a whole (beside `OTHER`; under the published preset beside `THIS` too, where that lesion touches a face)."""

TISSUE, NEAR_VENTRICLES, NEAR_CORTEX = 16, 32, 64
"""More bits, where the anatomy is known: what a lesion may use, and its McDonald region; none where it is not."""


@dataclass(frozen=True)
class LabelledScan:
    """A scan to learn from, in scanner units.

    Args:
        subject: Name of the scan; `patient` is what splits go by.
        patient: Time points of a patient share it.
        channels: Contrasts of `image`; empty where there is only a mask.
        image: Shape `(channels, i, j, k)`.
        lesions: Lesion mask, shape `(i, j, k)`.
        brain: Brain mask, same shape; empty where nothing is known of it.
        spacing_mm: Voxel size, corrected for a source that is stretched.
        affine: Voxel to world as in the files, 4 by 4; without an origin if not given.
        brain_from: Where the brain mask comes from.
        complete: Whether `lesions` are all lesions, so that other tissue is healthy.
        anatomy: Bits `TISSUE`, `NEAR_VENTRICLES`, `NEAR_CORTEX` of each voxel; None where nothing is known of it.
    """

    subject: str
    patient: str
    channels: tuple[str, ...]
    image: np.ndarray
    lesions: np.ndarray
    brain: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray | None = None
    brain_from: str = "file"
    complete: bool = True
    anatomy: np.ndarray | None = None

    @property
    def to_world(self) -> np.ndarray:
        """Voxel to world in mm, 4 by 4."""
        return np.diag((*self.spacing_mm, 1.0)) if self.affine is None else self.affine

    def world(self, voxel: np.ndarray) -> tuple[float, float, float]:
        """Where a voxel lies, in mm."""
        x, y, z = (round(float(c), 2) for c in self.to_world[:3, :3] @ voxel + self.to_world[:3, 3])
        return x, y, z
