"""Any orientation and spacing to right-anterior-superior voxels of about 2 mm, and back.

Whatever is slow works on the reduced grid; its results return to the scan's own voxels by linear interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lesionaug.anatomy.morphology import box_of
from lesionaug.errors import LesionAugError
from lesionaug.types import triple

REDUCED_MM = 2.0
MARGIN = 2  # reduced voxels around what is cropped to
SPACING_RANGE_MM = (0.2, 10.5)


@dataclass(frozen=True)
class ReducedGrid:
    """How a scan's voxels relate to the reduced grid, or to a box of it.

    Args:
        shape: Of the scan, after reorientation.
        orientation: nibabel's orientation transform from the scan's axes to right, anterior, superior.
        factors: Scan voxels averaged into one along each reoriented axis.
        affine: World position in mm of reduced voxels.
        start: First reduced voxel of the box.
        reduced_shape: Reduced voxels of the box.
    """

    shape: tuple[int, int, int]
    orientation: np.ndarray
    factors: tuple[int, int, int]
    affine: np.ndarray
    start: tuple[int, int, int]
    reduced_shape: tuple[int, int, int]

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
        order = np.argsort(orientation[:, 0])
        factors = triple(max(1, int(REDUCED_MM / spacing[axis] + 0.5)) for axis in order)
        average = np.diag((*factors, 1.0))
        average[:3, 3] = (np.asarray(factors) - 1) / 2
        reoriented = affine @ nib.orientations.inv_ornt_aff(orientation, shape)
        size = triple(shape[axis] for axis in order)
        blocks = triple(-(-n // f) for n, f in zip(size, factors, strict=True))
        return cls(size, orientation, factors, reoriented @ average, (0, 0, 0), blocks)

    def cropped(self, mask: np.ndarray) -> tuple[ReducedGrid, tuple[slice, ...]]:
        """The box around a reduced mask with a margin, and where it lies in this one."""
        box = box_of(mask, MARGIN)
        offset = np.eye(4)
        offset[:3, 3] = [b.start for b in box]
        start = triple(s + b.start for s, b in zip(self.start, box, strict=True))
        shape = triple(b.stop - b.start for b in box)
        return replace(self, affine=self.affine @ offset, start=start, reduced_shape=shape), box

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel size of the reduced grid."""
        return spacing_of(self.affine)

    def orient(self, volume: Tensor) -> Tensor:
        """The box of a scan, right, anterior, superior."""
        reoriented = _reorient(volume, self.orientation)
        return reoriented[tuple(slice(a, b) for a, b in self._bounds())]

    def restore(self, volume: Tensor) -> Tensor:
        """Inverse of `orient`, zero outside the box."""
        whole = volume.new_zeros(self.shape)
        whole[tuple(slice(a, b) for a, b in self._bounds())] = volume
        back = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), self.orientation)
        return _reorient(whole, back).contiguous()

    def reduce(self, volume: Tensor) -> np.ndarray:
        """Block averages of a reoriented box, float32."""
        pad = [n * f - size for n, f, size in zip(self.reduced_shape, self.factors, volume.shape, strict=True)]
        volume = volume.float()[None, None]
        padded = F.pad(volume, (0, pad[2], 0, pad[1], 0, pad[0]), mode="replicate") if any(pad) else volume
        return F.avg_pool3d(padded.contiguous(), self.factors)[0, 0].numpy()

    def expand(self, reduced: np.ndarray) -> Tensor:
        """Linear interpolation of a reduced volume at the voxels of the reoriented box."""
        full = enlarged(torch.from_numpy(np.ascontiguousarray(reduced, np.float32)), self.factors)
        return full[tuple(slice(0, b - a) for a, b in self._bounds())]

    def repeat(self, reduced: np.ndarray) -> Tensor:
        """Reduced values at the voxels that were averaged into them."""
        for axis, factor in enumerate(self.factors):
            reduced = np.repeat(reduced, factor, axis=axis)
        return torch.from_numpy(reduced[tuple(slice(0, b - a) for a, b in self._bounds())].copy())

    def _bounds(self) -> list[tuple[int, int]]:
        """First voxel of the box and the one after its last, along each reoriented axis of the scan."""
        ranges = zip(self.start, self.reduced_shape, self.factors, self.shape, strict=True)
        return [(s * f, min((s + n) * f, size)) for s, n, f, size in ranges]


def enlarged(volume: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Linear interpolation of block averages `(i, j, k)` at the voxels of the blocks.

    As `F.interpolate` without aligned corners, at less than half its time: the first axis, whose slices are
    contiguous, comes last, when the volume is largest.
    """
    for axis in (2, 1, 0):
        volume = _enlarged(volume, axis, factors[axis])
    return volume


def _enlarged(volume: Tensor, axis: int, factor: int) -> Tensor:
    if factor == 1:
        return volume
    size = volume.shape[axis]
    padded = torch.cat([volume.narrow(axis, 0, 1), volume, volume.narrow(axis, size - 1, 1)], dim=axis)
    result = volume.new_empty((*volume.shape[: axis + 1], factor, *volume.shape[axis + 1 :]))
    for phase in range(factor):
        position = (phase + 0.5) / factor + 0.5  # in padded voxels, of this voxel of the first block
        below = int(position)
        low, high = padded.narrow(axis, below, size), padded.narrow(axis, below + 1, size)
        torch.lerp(low, high, position - below, out=result.select(axis + 1, phase))
    return result.flatten(axis, axis + 1)


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
