"""A case in one strip of pictures: where its new lesions are, and the largest of them before and after."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import cc3d
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionaug.io import read_nifti
from lesionaug.views import (
    AXIAL,
    NEW,
    OLD,
    PLANES,
    SAGITTAL,
    Cut,
    View,
    frame,
    fullest_cuts,
    outline,
    projected,
    show,
    turned,
    turned_spacing,
)

FIELD_MM = 80.0  # of the close-ups
INCH = 1.75  # of a picture


def read_view(after: Mapping[str, Path], label: Path, before: Mapping[str, Path], old: Path | None) -> View:
    """From files of one grid.

    Args:
        after: Images with new lesions, by channel.
        label: Old and new lesions.
        before: Images without the new ones; those that are still there.
        old: Label of the old lesions, if there were any.
    """
    affine = read_nifti(label).affine

    def volume(path: Path) -> np.ndarray:
        return turned(read_nifti(path).data, affine)

    lesions = volume(label) > 0
    ours = volume(old) > 0 if old else np.zeros_like(lesions)
    shown, source = ({channel: volume(path) for channel, path in paths.items()} for paths in (after, before))
    return View(source, shown, ours, lesions & ~ours, turned_spacing(affine))


def strip(view: View) -> bytes:
    """JPEG: all new lesions projected, the slice that shows the most, then the largest in two planes."""
    center = middle_of_largest(view.new)
    cuts = [(AXIAL, int(center[AXIAL])), (SAGITTAL, int(center[SAGITTAL]))]
    panels = [(cut, *panel) for cut in cuts for panel in _panels(view, others=cut[0] == AXIAL)]
    figure = Figure(figsize=((2 + len(panels)) * INCH, INCH), facecolor="black")
    whole = {"wspace": 0.03, "left": 0, "right": 1, "top": 0.9, "bottom": 0}
    axes = figure.subplots(1, 2 + len(panels), gridspec_kw=whole)
    _draw_overview(axes[0], axes[1], view)
    for picture, (cut, title, image, channel, outlined) in zip(axes[2:], panels, strict=True):
        _draw(picture, view, image, channel, cut, outlined=outlined)
        _close_up(picture, view, center, cut[0])
        picture.set_title(f"{PLANES[cut[0]]}, {title}", color="white", fontsize=7, pad=2)
    content = io.BytesIO()
    figure.savefig(content, format="jpeg", dpi=110, facecolor="black", pil_kwargs={"quality": 88})
    return content.getvalue()


def middle_of_largest(new: np.ndarray) -> np.ndarray:
    """A voxel in the middle of the largest new lesion, of the scan where there is none."""
    if not new.any():
        return np.array(new.shape) // 2
    parts = cc3d.connected_components(np.ascontiguousarray(new), connectivity=26)
    largest = np.argwhere(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
    return largest[np.linalg.norm(largest - largest.mean(axis=0), axis=1).argmin()]


def _panels(view: View, *, others: bool) -> Iterator[tuple[str, np.ndarray | None, str, bool]]:
    """Title, image, whose grey window, whether with outlines."""
    first, *rest = view.after
    yield f"{first} before", view.before.get(first), first, False
    yield "after", view.after[first], first, False
    yield "label", view.after[first], first, True
    for channel in rest if others else ():
        yield f"{channel} after", view.after[channel], channel, False


def _draw_overview(every: Axes, fullest: Axes, view: View) -> None:
    first = next(iter(view.after))
    window = view.windows()[first]
    behind, cut = projected(view.after[first].astype(np.float32), AXIAL, np.mean), (AXIAL, 0)
    show(every, behind, view.spacing_mm, cut, cmap="gray", vmin=behind.min(), vmax=2 * behind.max() - behind.min())
    for mask, color in ((view.old, OLD), (view.new, NEW)):
        seen = projected(mask, AXIAL, np.max)
        show(every, np.ma.masked_equal(seen, 0), view.spacing_mm, cut, cmap=_plain(color), interpolation="nearest")
    frame(every, behind, (float(behind.min()), float(behind.max())), view.spacing_mm, cut)
    every.set_title("all lesions, projected", color="white", fontsize=7, pad=2)
    (widest,) = fullest_cuts(view.new, view.spacing_mm, (AXIAL,))
    _draw(fullest, view, view.after[first], first, widest, outlined=True)
    frame(fullest, view.after[first], window, view.spacing_mm, widest)
    fullest.set_title("the slice with the most", color="white", fontsize=7, pad=2)


def _plain(color: str):
    from matplotlib.colors import ListedColormap

    return ListedColormap([color])


def _draw(picture: Axes, view: View, image: np.ndarray | None, channel: str, cut: Cut, *, outlined: bool) -> None:
    picture.set_facecolor("black")
    picture.set_xticks([])
    picture.set_yticks([])
    if image is None:
        picture.text(0.5, 0.5, "source not found", color="#9ca3af", ha="center", transform=picture.transAxes)
        return
    low, high = view.windows()[channel]
    show(picture, image, view.spacing_mm, cut, cmap="gray", vmin=low, vmax=high)
    if outlined:
        outline(picture, view, cut)


def _close_up(picture: Axes, view: View, center: np.ndarray, axis: int) -> None:
    if not picture.images:
        return
    for place, spacing, set_limits in zip(
        np.delete(center, axis), np.delete(view.spacing_mm, axis), (picture.set_xlim, picture.set_ylim), strict=True
    ):
        reach = FIELD_MM / 2 / spacing
        set_limits(place - reach, place + reach)
