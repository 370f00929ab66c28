"""Any orientation and spacing to right-anterior-superior voxels of about 2 mm, and back.

Whatever is slow works on the reduced grid; its results return to the scan's own voxels by linear interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lesionaug.errors import LesionAugError

REDUCED_MM = 2.0
SPACING_RANGE_MM = (0.2, 8.0)


@dataclass(frozen=True)
class ReducedGrid:
    """How a scan's voxels relate to the reduced grid.

    Args:
        shape: Of the scan, after reorientation.
        orientation: nibabel's orientation transform from the scan's axes to right, anterior, superior.
        inverse: The transform back.
        factors: Scan voxels averaged into one along each reoriented axis.
        affine: World position in mm of reduced voxels.
    """

    shape: tuple[int, int, int]
    orientation: np.ndarray
    inverse: np.ndarray
    factors: tuple[int, int, int]
    affine: np.ndarray

    @classmethod
    def of(cls, shape: tuple[int, int, int], affine: np.ndarray) -> ReducedGrid:
        """Grid of a scan.

        Args:
            shape: Voxels along each axis.
            affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.

        Raises:
            LesionAugError: The affine is singular or its spacing unlike that of a brain scan.
        """
        spacing = checked_spacing(affine)
        orientation = nib.orientations.io_orientation(affine)
        back = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), orientation)
        order = np.argsort(orientation[:, 0])
        reoriented = affine @ nib.orientations.inv_ornt_aff(orientation, shape)
        factors = tuple(max(1, int(REDUCED_MM / spacing[axis] + 0.5)) for axis in order)
        average = np.diag((*factors, 1.0))
        average[:3, 3] = (np.asarray(factors) - 1) / 2
        return cls(tuple(shape[axis] for axis in order), orientation, back, factors, reoriented @ average)

    @property
    def reduced_shape(self) -> tuple[int, int, int]:
        """Voxels of the reduced grid; the last may be partly outside the scan."""
        i, j, k = (-(-n // f) for n, f in zip(self.shape, self.factors, strict=True))
        return i, j, k

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel size of the reduced grid."""
        return spacing_of(self.affine)

    def orient(self, volume: Tensor) -> Tensor:
        """Scan axes to right, anterior, superior; a view where possible."""
        return _reorient(volume, self.orientation)

    def restore(self, volume: Tensor) -> Tensor:
        """Inverse of `orient`, contiguous."""
        return _reorient(volume, self.inverse).contiguous()

    def reduce(self, volume: Tensor) -> np.ndarray:
        """Block averages of a reoriented volume, float32."""
        padding = [(-n) % f for n, f in zip(self.shape, self.factors, strict=True)]
        padded = F.pad(volume.float()[None, None], (0, padding[2], 0, padding[1], 0, padding[0]), mode="replicate")
        return F.avg_pool3d(padded, self.factors)[0, 0].numpy()

    def expand(self, reduced: np.ndarray) -> Tensor:
        """Linear interpolation of a reduced volume at the voxels of the reoriented scan."""
        size = [n * f for n, f in zip(self.reduced_shape, self.factors, strict=True)]
        values = torch.from_numpy(np.ascontiguousarray(reduced, np.float32))[None, None]
        full = F.interpolate(values, size=size, mode="trilinear", align_corners=False)[0, 0]
        i, j, k = self.shape
        return full[:i, :j, :k]


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Voxel size in mm along each axis."""
    return np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(axis=0))


def checked_spacing(affine: np.ndarray) -> np.ndarray:
    """Voxel size in mm along each axis.

    Raises:
        LesionAugError: The affine is singular or its spacing unlike that of a brain scan.
    """
    affine = np.asarray(affine, float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise LesionAugError(f"Expected an invertible 4 x 4 affine, got {affine.tolist()}; repair the file's header")
    spacing = spacing_of(affine)
    low, high = SPACING_RANGE_MM
    if spacing.min() < low or spacing.max() > high:
        got = " x ".join(f"{s:.3g}" for s in spacing)
        raise LesionAugError(f"Expected voxels of {low} to {high} mm, got {got} mm; resample or repair the header")
    return spacing


def _reorient(volume: Tensor, orientation: np.ndarray) -> Tensor:
    flipped = [axis for axis in range(3) if orientation[axis, 1] < 0]
    order = np.argsort(orientation[:, 0]).tolist()
    return (volume.flip(flipped) if flipped else volume).permute(order)
