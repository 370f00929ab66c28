"""One picture that shows what was added: slices before, after, outlined, the difference, and all of it projected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cc3d
import numpy as np

from lesionaug.errors import LesionAugError
from lesionaug.scan import Scan
from lesionaug.views import (
    AXIAL,
    CORONAL,
    PLANES,
    SAGITTAL,
    Cut,
    View,
    Window,
    frame,
    fullest_cuts,
    outline,
    projected,
    section,
    show,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT = 2.5  # times the window: the brain behind a difference
INCH = 2.7  # of a picture


def save_preview(path: str | Path, before: Scan, after: Scan, affine: np.ndarray) -> None:
    """Draw new lesions in the slices that show the most of them.

    Args:
        path: PNG file to write.
        before: The scan.
        after: The same scan with new lesions.
        affine: Voxel to world in mm, 4 by 4.

    Raises:
        LesionAugError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LesionAugError("Expected matplotlib, which draws, got none; pip install 'lesionaug[demo]'") from error
    view = View.of(before, after, affine)
    cuts = fullest_cuts(view.new, view.spacing_mm, (AXIAL, CORONAL, SAGITTAL))
    columns = 4 + len(view.after)
    figure = Figure(figsize=(INCH * columns, 1.1 * INCH * len(cuts)), facecolor="black", layout="constrained")
    axes = figure.subplots(len(cuts), columns, squeeze=False)
    for row, cut in zip(axes, cuts, strict=True):
        _draw_row(row[:-1], view, cut)
    for row, axis in zip(axes, dict.fromkeys(axis for axis, _ in cuts), strict=False):  # once, where all are along one
        _draw_projected(row[-1], view, axis)
    for picture in axes[:, -1]:
        picture.set_axis_off()
    for picture, title in zip(axes[0], _titles(view), strict=True):
        picture.set_title(title, color="white", fontsize=11)
    _scale(figure, axes, view)
    figure.savefig(path, dpi=100, facecolor="black")


def _titles(view: View) -> tuple[str, ...]:
    first, *others = view.after
    return (
        f"{first}, before",
        f"{first}, with new lesions",
        "new orange" + (", old blue" if view.old.any() else ""),
        *(f"{channel}, with new lesions" for channel in others),
        f"difference of {first}",
        "all differences, projected",
    )


def _draw_row(row: Sequence[Axes], view: View, cut: Cut) -> None:
    (first, *others), windows = view.after, view.windows()
    shown = [(view.before, first), (view.after, first), (view.after, first), *((view.after, other) for other in others)]
    for picture, (images, channel) in zip(row, shown, strict=False):
        low, high = windows[channel]
        show(picture, images[channel], view.spacing_mm, cut, cmap="gray", vmin=low, vmax=high)
    outline(row[2], view, cut)
    _draw_change(row[-1], view, view.before[first], view.change(first), cut, windows[first])
    for picture in row:
        frame(picture, view.before[first], windows[first], view.spacing_mm, cut)
    row[0].set_ylabel(f"{PLANES[cut[0]]}, {_cut_lesions(view, cut)}", color="white", fontsize=10)


def _cut_lesions(view: View, cut: Cut) -> str:
    labels, count = cc3d.connected_components(view.new, connectivity=26, return_N=True)
    return f"{len(np.unique(section(labels, cut))) - 1} of {count} new"


def _draw_projected(picture: Axes, view: View, axis: int) -> None:
    first = next(iter(view.after))
    behind = projected(view.before[first].astype(np.float32), axis, np.mean)
    window = float(behind.min()), float(behind.max())
    _draw_change(picture, view, behind, projected(view.change(first), axis, _strongest), (axis, 0), window)
    frame(picture, behind, window, view.spacing_mm, (axis, 0))


def _strongest(change: np.ndarray, **along) -> np.ndarray:
    """The largest difference along a line of sight, with its sign."""
    high, low = change.max(**along), change.min(**along)
    return np.where(high >= -low, high, low)


def _draw_change(picture: Axes, view: View, behind: np.ndarray, change: np.ndarray, cut: Cut, window: Window) -> None:
    (low, high), reach = window, _reach(view)
    show(picture, behind, view.spacing_mm, cut, cmap="gray", vmin=low, vmax=low + FAINT * (high - low))
    colors = {"cmap": _diverging(), "vmin": -reach, "vmax": reach, "interpolation": "nearest"}
    show(picture, np.ma.masked_equal(change, 0), view.spacing_mm, cut, **colors)


def _reach(view: View) -> float:
    """End of the scale: nearly the largest difference."""
    change = view.change(next(iter(view.after)))
    return float(np.percentile(np.abs(change[change != 0]), 99)) if change.any() else 1.0


def _scale(figure: Figure, axes: np.ndarray, view: View) -> None:
    """What the colours of the last two columns mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    reach = _reach(view)
    colors = ScalarMappable(Normalize(-reach, reach), _diverging())
    bar = figure.colorbar(colors, ax=list(axes[:, -1]), location="right", fraction=0.06, aspect=40)
    bar.set_label("difference, in the image's own units", color="white", fontsize=10)
    bar.ax.tick_params(colors="white", labelsize=9)


def _diverging():
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("difference", ["#7dd3fc", "#0284c7", "#404040", "#ea580c", "#fed7aa"])
