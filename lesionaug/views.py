"""A scan before and after as slices that show what was added: what previews, reports and galleries have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cc3d
import nibabel as nib
import numpy as np
from scipy import ndimage

from lesionaug.scan import Scan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Window = tuple[float, float]
Cut = tuple[int, int]
"""Axis, in right-anterior-superior order, and slice along it."""

AXIAL, CORONAL, SAGITTAL = 2, 1, 0
PLANES = {AXIAL: "axial", CORONAL: "coronal", SAGITTAL: "sagittal"}
OLD, NEW = "#60a5fa", "#fb923c"
THICK = 2.5  # times the other sides of a voxel: then only the plane that was scanned is worth looking at
HEADROOM = 0.5  # of the window, above the brightest hundredth: lesions are brighter than the rest of a brain
AIR = 0.1  # of the window: fluid may be as dark, but no head ends with it
MARGIN_MM = 4.0


@dataclass(frozen=True)
class View:
    """Volumes in right-anterior-superior order, shape `(i, j, k)`.

    Args:
        before: Intensities by channel; none where the source is not there any more.
        after: Intensities by channel.
        old: Lesions that were there.
        new: Lesions that were added.
        spacing_mm: Voxel size.
        brain: Whose intensities the grey window is made for; all but the air where it is not known.
    """

    before: Mapping[str, np.ndarray]
    after: Mapping[str, np.ndarray]
    old: np.ndarray
    new: np.ndarray
    spacing_mm: tuple[float, float, float]
    brain: np.ndarray | None = None

    @classmethod
    def of(cls, before: Scan, after: Scan, affine: np.ndarray) -> View:
        """Of a scan without and with new lesions.

        Args:
            before: The scan.
            after: The same scan with new lesions.
            affine: Voxel to world in mm, 4 by 4.
        """
        earlier, later = (
            {channel: turned(volume.numpy(), affine) for channel, volume in zip(scan.channels, scan.image, strict=True)}
            for scan in (before, after)
        )
        old, lesions = (turned(scan.lesion_mask[0].numpy(), affine) for scan in (before, after))
        brain = turned(before.brain[0].numpy(), affine)
        return cls(earlier, later, old, lesions & ~old, turned_spacing(affine), brain)

    def windows(self) -> dict[str, Window]:
        """Grey window of each channel, before and after alike, so that brightness compares."""
        return {
            channel: window_of(image[image > image.min() if self.brain is None else self.brain])
            for channel, image in self.after.items()
        }

    def change(self, channel: str) -> np.ndarray:
        """What was added to the intensities, 0 where nothing was."""
        return self.after[channel].astype(np.float32) - self.before[channel].astype(np.float32)


def turned(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A volume in right-anterior-superior order."""
    return nib.orientations.apply_orientation(volume, nib.orientations.io_orientation(affine))


def turned_spacing(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size in that order."""
    spacing = np.empty(3)
    spacing[nib.orientations.io_orientation(affine)[:, 0].astype(int)] = np.linalg.norm(affine[:3, :3], axis=0)
    i, j, k = spacing.tolist()
    return i, j, k


def window_of(values: np.ndarray) -> Window:
    """Grey window of a brain's intensities; what is brighter still, vessels and remains of skull, is white."""
    low, high = np.percentile(values, (1, 99)) if values.size else (0, 1)
    return float(low), float(high + HEADROOM * (high - low) + 1e-6)


def thick_axis(spacing_mm: Sequence[float]) -> int | None:
    """Axis of slices that are much thicker than their pixels are wide; none of a scan that can be cut in any plane."""
    axis = int(np.argmax(spacing_mm))
    return axis if spacing_mm[axis] > THICK * min(spacing_mm) else None


def fullest_cuts(new: np.ndarray, spacing_mm: Sequence[float], axes: Sequence[int]) -> list[Cut]:
    """Slices that show the most new lesions.

    Of slices with equally many the one that shows the most of them; a second slice along an axis shows others.

    Args:
        new: Lesions, in right-anterior-superior order.
        spacing_mm: Voxel size; of thick slices all are cut as they were scanned.
        axes: One slice along each of these.
    """
    thick = thick_axis(spacing_mm)
    labels = cc3d.connected_components(np.ascontiguousarray(new, dtype=np.uint8), connectivity=26)
    left, cuts = dict.fromkeys(PLANES, labels), []
    for axis in axes if thick is None else (thick,) * len(axes):
        index = _fullest(left[axis], axis)
        cuts.append((axis, index))
        left[axis] = np.where(np.isin(left[axis], section(left[axis], (axis, index))), 0, left[axis])
    return cuts


def _fullest(labels: np.ndarray, axis: int) -> int:
    boxes = [box for box in ndimage.find_objects(labels) if box]
    if not boxes:
        return labels.shape[axis] // 2
    lesions = np.zeros(labels.shape[axis])
    for box in boxes:
        lesions[box[axis]] += 1
    voxels = (labels > 0).sum(axis=tuple({0, 1, 2} - {axis}))
    return int((lesions + voxels / (voxels.sum() + 1)).argmax())


def projected(volume: np.ndarray, axis: int, along: Callable[..., np.ndarray]) -> np.ndarray:
    """A volume of one slice: what NumPy's `along` (`np.mean`, `np.max`) makes of each line of sight."""
    return along(volume, axis=axis, keepdims=True)


def show(picture: Axes, image: np.ndarray, spacing_mm: Sequence[float], cut: Cut, **style) -> None:
    """Draw a slice, upwards what is up in the head.

    Args:
        picture: Where to.
        image: In right-anterior-superior order; masked where nothing is drawn.
        spacing_mm: Voxel size.
        cut: Which slice.
        style: Of matplotlib's `imshow`.
    """
    across, up = (mm for other, mm in enumerate(spacing_mm) if other != cut[0])
    picture.imshow(section(image, cut), origin="lower", aspect=up / across, **style)
    picture.set_xticks([])
    picture.set_yticks([])


def section(volume: np.ndarray, cut: Cut) -> np.ndarray:
    """A slice as rows and columns; also of a masked array."""
    axis, index = cut
    return volume[(slice(None),) * axis + (index,)].T


def outline(picture: Axes, view: View, cut: Cut) -> None:
    """Old and new lesions' outlines, along the edges of their voxels."""
    for mask, color in ((view.old, OLD), (view.new, NEW)):
        inside = section(mask, cut)
        if inside.any():
            rows, columns = inside.shape
            fine = np.kron(inside, np.ones((4, 4)))
            edges = (-0.5, columns - 0.5, -0.5, rows - 0.5)
            picture.contour(fine, [0.5], colors=color, linewidths=0.8, extent=edges, origin="lower")


def frame(picture: Axes, image: np.ndarray, window: Window, spacing_mm: Sequence[float], cut: Cut) -> None:
    """Show the head and not the air around it."""
    low, high = window
    inside = np.argwhere(section(image, cut) > low + AIR * (high - low))
    if not len(inside):
        return
    across, up = (MARGIN_MM / mm for other, mm in enumerate(spacing_mm) if other != cut[0])
    picture.set_xlim(inside[:, 1].min() - across, inside[:, 1].max() + across)
    picture.set_ylim(inside[:, 0].min() - up, inside[:, 0].max() + up)
