"""A case in one strip of pictures: where the largest new lesion is, and its surroundings before and after."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionaug.io import read_nifti

OLD, NEW = "#60a5fa", "#f87171"
FIELD_MM = 80.0  # of the close-ups
HEIGHT_INCH = 1.9
AXIAL, SAGITTAL = 2, 0
"""Axis, in right-anterior-superior order, that is cut."""


@dataclass(frozen=True)
class Volumes:
    """A case in right-anterior-superior order, arrays of shape `(i, j, k)`.

    Args:
        before: Intensities of the source; none where it is not there any more.
        after: Intensities.
        old: Lesions of the source.
        new: Lesions that were added.
        spacing_mm: Voxel size.
    """

    before: np.ndarray | None
    after: np.ndarray
    old: np.ndarray
    new: np.ndarray
    spacing_mm: np.ndarray

    @classmethod
    def read(cls, after: Path, label: Path, before: Path | None, old: Path | None) -> Volumes:
        """From files of one grid.

        Args:
            after: Image with new lesions.
            label: Old and new lesions.
            before: Image without the new ones.
            old: Label of the old lesions, if there were any.
        """
        image = read_nifti(after)
        turns = nib.orientations.io_orientation(image.affine)
        spacing = np.empty(3)
        spacing[turns[:, 0].astype(int)] = np.linalg.norm(image.affine[:3, :3], axis=0)

        def turned(path: Path) -> np.ndarray:
            return nib.orientations.apply_orientation(read_nifti(path).data, turns)

        lesions = turned(label) > 0
        ours = turned(old) > 0 if old else np.zeros_like(lesions)
        shown = turned(before) if before else None
        return cls(shown, turned(after), ours, lesions & ~ours, spacing)

    def center(self) -> np.ndarray:
        """A voxel in the middle of the largest new lesion, of the scan where there is none."""
        if not self.new.any():
            return np.array(self.new.shape) // 2
        parts = cc3d.connected_components(np.ascontiguousarray(self.new), connectivity=26)
        largest = np.argwhere(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
        return largest[np.linalg.norm(largest - largest.mean(axis=0), axis=1).argmin()]


def strip(volumes: Volumes) -> bytes:
    """JPEG: axial slice with outlines, then close-ups before, after, outlined, axial and sagittal."""
    figure = Figure(figsize=(7.1 * HEIGHT_INCH, HEIGHT_INCH), facecolor="black")
    axes = figure.subplots(1, 7, gridspec_kw={"wspace": 0.03, "left": 0, "right": 1, "top": 1, "bottom": 0})
    center, window = volumes.center(), _window(volumes.after)
    _draw(axes[0], volumes, volumes.after, AXIAL, center, window, outlined=True)
    _show_head(axes[0], volumes, center)
    for pictures, axis in ((axes[1:4], AXIAL), (axes[4:7], SAGITTAL)):
        for picture, image, outlined in zip(pictures, _shown(volumes), (False, False, True), strict=True):
            _draw(picture, volumes, image, axis, center, window, outlined=outlined)
            _close_up(picture, volumes, axis, center)
    content = io.BytesIO()
    figure.savefig(content, format="jpeg", dpi=110, facecolor="black", pil_kwargs={"quality": 88})
    return content.getvalue()


def _shown(volumes: Volumes) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    return volumes.before, volumes.after, volumes.after


def _draw(
    picture: Axes,
    volumes: Volumes,
    image: np.ndarray | None,
    axis: int,
    center: np.ndarray,
    window: tuple[float, float],
    *,
    outlined: bool,
) -> None:
    picture.set_facecolor("black")
    picture.set_xticks([])
    picture.set_yticks([])
    if image is None:
        picture.text(0.5, 0.5, "source not found", color="#9ca3af", ha="center", transform=picture.transAxes)
        return
    across, up = np.delete(volumes.spacing_mm, axis)
    cut = np.take(image, int(center[axis]), axis=axis).T
    picture.imshow(cut, cmap="gray", vmin=window[0], vmax=window[1], origin="lower", aspect=up / across)
    for mask, color in ((volumes.old, OLD), (volumes.new, NEW)):
        slice_ = np.take(mask, int(center[axis]), axis=axis).T
        if outlined and slice_.any():
            picture.contour(np.kron(slice_, np.ones((4, 4))), [0.5], colors=color, linewidths=0.9, **_fine(slice_))


def _fine(slice_: np.ndarray) -> dict:
    """Where a contour of voxels, each divided into four by four, lies: along their edges, not through their centres."""
    rows, columns = slice_.shape
    return {"extent": (-0.5, columns - 0.5, -0.5, rows - 0.5), "origin": "lower"}


def _close_up(picture: Axes, volumes: Volumes, axis: int, center: np.ndarray) -> None:
    for place, spacing, set_limits in zip(
        np.delete(center, axis), np.delete(volumes.spacing_mm, axis), (picture.set_xlim, picture.set_ylim), strict=True
    ):
        reach = FIELD_MM / 2 / spacing
        set_limits(place - reach, place + reach)


def _show_head(picture: Axes, volumes: Volumes, center: np.ndarray) -> None:
    """The head without the air around it, in a square."""
    cut = volumes.after[:, :, int(center[AXIAL])]
    inside = np.argwhere(cut > volumes.after.min() + 0.05 * np.ptp(volumes.after))
    low, high = (inside.min(axis=0), inside.max(axis=0)) if len(inside) else (np.zeros(2), np.array(cut.shape))
    middle, reach = (low + high) / 2, ((high - low) * volumes.spacing_mm[:2]).max() / 2 + 3
    picture.set_xlim(*(middle[0] + sign * reach / volumes.spacing_mm[0] for sign in (-1, 1)))
    picture.set_ylim(*(middle[1] + sign * reach / volumes.spacing_mm[1] for sign in (-1, 1)))


def _window(image: np.ndarray) -> tuple[float, float]:
    """One grey window for all pictures of a case; wide enough for lesions."""
    inside = image[image > image.min()]
    low, middle, high = np.percentile(inside if inside.size else image, (1, 50, 99.5))
    return float(low), float(max(high, middle) + 0.25 * (high - low) + 1e-6)
