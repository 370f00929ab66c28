"""One picture that shows what was added: before, after, difference and label through the largest new lesions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np

from lesionaug.errors import LesionAugError
from lesionaug.scan import Scan

PLANES = ("sagittal", "coronal", "axial")
"""By the axis, in right-anterior-superior order, that is cut."""

SHOWN = ("axial", "coronal", "sagittal")
FAINT = 3.0  # times the window: the brain behind a difference
OLD, NEW = "#3b82f6", "#ef4444"


@dataclass(frozen=True)
class View:
    """Volumes in right-anterior-superior order, shape `(i, j, k)`.

    Args:
        before: Intensities.
        after: Intensities.
        old: Lesions that were there.
        new: Lesions that were added.
        spacing_mm: Voxel size.
    """

    before: np.ndarray
    after: np.ndarray
    old: np.ndarray
    new: np.ndarray
    spacing_mm: tuple[float, float, float]


def save_preview(path: str | Path, before: Scan, after: Scan, affine: np.ndarray, channel: str | None = None) -> None:
    """Draw new lesions in three planes.

    Args:
        path: PNG file to write.
        before: The scan.
        after: The same scan with new lesions.
        affine: Voxel to world in mm, 4 by 4.
        channel: The first one where not given.

    Raises:
        LesionAugError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LesionAugError("Expected matplotlib, which draws, got none; pip install 'lesionaug[demo]'") from error
    channel = channel or after.channels[0]
    view = _view(before, after, affine, after.channels.index(channel))
    figure = Figure(figsize=(12, 9.6), facecolor="black", layout="constrained")
    axes = figure.subplots(len(SHOWN), 4)
    window = _window(view.before)
    for row, plane, center in zip(axes, SHOWN, _centers(view.new), strict=True):
        _draw_row(row, view, plane, center, window)
    titles = (f"{channel}, before", f"{channel}, with new lesions", "difference", "label: new red, old blue")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, color="white", fontsize=12)
    figure.savefig(path, dpi=110, facecolor="black")


def _view(before: Scan, after: Scan, affine: np.ndarray, index: int) -> View:
    codes = nib.orientations.io_orientation(affine)
    spacing = np.empty(3)
    spacing[codes[:, 0].astype(int)] = before.spacing_mm

    def turned(volume) -> np.ndarray:
        return nib.orientations.apply_orientation(volume.numpy(), codes)

    old, lesions = turned(before.lesion_mask[0]), turned(after.lesion_mask[0])
    image, changed = turned(before.image[index]), turned(after.image[index])
    i, j, k = (float(size) for size in spacing)
    return View(image, changed, old, lesions & ~old, (i, j, k))


def _window(image: np.ndarray) -> tuple[float, float]:
    """Grey window of all pictures, so that brightness compares; wide enough for lesions."""
    low, middle, high = np.percentile(image[image > image.min()], (1, 50, 99))
    return float(low), float(max(high, middle) + 0.35 * (high - low))


def _centers(new: np.ndarray) -> list[np.ndarray]:
    """Voxels at which to cut: inside the three largest lesions, or fewer of them more than once."""
    labels = cc3d.connected_components(new, connectivity=26)
    sizes = np.bincount(labels.ravel())[1:]
    if not len(sizes):
        return [np.array(new.shape) // 2] * len(SHOWN)
    largest = np.argsort(-sizes, kind="stable")[: len(SHOWN)] + 1
    return [_deepest(labels == largest[row % len(largest)]) for row in range(len(SHOWN))]


def _deepest(lesion: np.ndarray) -> np.ndarray:
    voxels = np.argwhere(lesion)
    return voxels[np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]


def _draw_row(row, view: View, plane: str, center: np.ndarray, window: tuple[float, float]) -> None:
    axis = PLANES.index(plane)

    def cut(volume: np.ndarray) -> np.ndarray:
        return np.take(volume, int(center[axis]), axis=axis).T

    across, up = (mm for other, mm in enumerate(view.spacing_mm) if other != axis)
    style = {"origin": "lower", "aspect": up / across, "interpolation": "nearest"}
    grey = {**style, "cmap": "gray", "vmin": window[0], "vmax": window[1]}
    reach = 0.6 * (window[1] - window[0])
    row[0].imshow(cut(view.before), **grey)
    row[1].imshow(cut(view.after), **grey)
    row[2].imshow(cut(view.before), **{**grey, "vmax": window[0] + FAINT * (window[1] - window[0])})
    change = np.ma.masked_equal(cut(view.after - view.before), 0)
    row[2].imshow(change, **style, cmap=_dark_diverging(), vmin=-reach, vmax=reach)
    row[3].imshow(cut(view.before), **grey)
    for mask, color in ((view.old, OLD), (view.new, NEW)):
        row[3].imshow(_tinted(cut(mask), color), **style)
    for picture in row:
        picture.set_xticks([])
        picture.set_yticks([])
        _frame(picture, cut(view.before), window)
    row[0].set_ylabel(plane, color="white", fontsize=12)


def _dark_diverging():
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("difference", ["#7dd3fc", "#0284c7", "#404040", "#ea580c", "#fdba74"])


def _tinted(mask: np.ndarray, color: str) -> np.ndarray:
    from matplotlib.colors import to_rgba

    return np.where(mask[..., None], to_rgba(color, 0.85), 0.0)


def _frame(picture, image: np.ndarray, window: tuple[float, float]) -> None:
    """Show the head and not the air around it."""
    inside = np.argwhere(image > window[0])
    if len(inside):
        (low_y, low_x), (high_y, high_x) = inside.min(axis=0) - 4, inside.max(axis=0) + 4
        picture.set_xlim(low_x, high_x)
        picture.set_ylim(low_y, high_y)
