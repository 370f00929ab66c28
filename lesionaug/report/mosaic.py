"""A case in pictures: the slice through its largest new lesion, of the whole brain and from near, before and after."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cc3d
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionaug.anatomy.morphology import box_of
from lesionaug.io import read_nifti
from lesionaug.views import (
    AXIAL,
    NEW,
    OLD,
    PLANES,
    SAGITTAL,
    Cut,
    View,
    outline,
    projected,
    show,
    turned,
    turned_spacing,
)

FIELD_MM = 60.0  # of the close-ups
MARGIN_MM = 4.0  # around the brain
WIDTH, GAP = 13.2, 0.05  # of all pictures and between them, in inches
TITLE = 0.22  # height of a line, in inches


def read_view(
    after: Mapping[str, Path],
    label: Path,
    before: Mapping[str, Path],
    old: Path | None,
    brain_box: Sequence[tuple[int, int]] | None,
) -> View:
    """From files of one grid.

    Args:
        after: Images with new lesions, by channel.
        label: Old and new lesions.
        before: Images without the new ones; those that are still there.
        old: Label of the old lesions, if there were any.
        brain_box: First voxel of the brain along each axis and that after the last; none where nobody wrote it down.
    """
    affine = read_nifti(label).affine

    def volume(path: Path) -> np.ndarray:
        return turned(read_nifti(path).data, affine)

    lesions = volume(label) > 0
    ours = volume(old) > 0 if old else np.zeros_like(lesions)
    shown, source = ({channel: volume(path) for channel, path in paths.items()} for paths in (after, before))
    first = next(iter(shown.values()))
    brain = (
        None if brain_box is None else _filled(brain_box, read_nifti(label).data.shape, affine) & (first > first.min())
    )
    return View(source, shown, ours, lesions & ~ours, turned_spacing(affine), brain)


def _filled(box: Sequence[tuple[int, int]], shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[tuple(slice(first, end) for first, end in box)] = True
    return turned(inside, affine)


def strip(view: View) -> bytes:
    """JPEG of two rows: the axial slice through the largest new lesion, and that lesion from near.

    The last of the first row shows all new lesions projected, that of the second the largest one in a sagittal slice.
    """
    center = middle_of_largest(view.new)
    axial, sagittal = (AXIAL, int(center[AXIAL])), (SAGITTAL, int(center[SAGITTAL]))
    panels = [*_panels(view)]
    side = WIDTH / (len(panels) + 1)
    tall = side * _tallness(view, axial)
    size = WIDTH, tall + side + 2 * TITLE + GAP
    figure = Figure(figsize=size, facecolor="black")
    whole = _row(figure, len(panels) + 1, size[1] - TITLE - tall, tall)
    near = _row(figure, len(panels) + 1, 0, side)
    for row, place in ((whole, None), (near, center)):
        for picture, (title, image, channel, outlined) in zip(row, panels, strict=False):
            _draw(picture, view, image, channel, axial, outlined=outlined)
            _around(picture, view, axial, place)
            _name(picture, title if place is None else f"{title}, from near")
    _draw_projected(whole[-1], view)
    title, image, channel, outlined = panels[2]
    _draw(near[-1], view, image, channel, sagittal, outlined=outlined)
    _around(near[-1], view, sagittal, center)
    _name(near[-1], f"{PLANES[SAGITTAL]}, {title}")
    content = io.BytesIO()
    figure.savefig(content, format="jpeg", dpi=100, facecolor="black", pil_kwargs={"quality": 88})
    return content.getvalue()


def _row(figure: Figure, number: int, bottom: float, height: float) -> list[Axes]:
    """Places of pictures side by side; inches."""
    width, all_of_it = (WIDTH - (number - 1) * GAP) / number, figure.get_figheight()
    starts = [place * (width + GAP) / WIDTH for place in range(number)]
    return [figure.add_axes((start, bottom / all_of_it, width / WIDTH, height / all_of_it)) for start in starts]


def _tallness(view: View, cut: Cut) -> float:
    """Height over width of what is shown of a slice."""
    (left, right), (low, high) = _limits(view, cut)
    across, up = np.delete(view.spacing_mm, cut[0])
    return float(np.clip((high - low) * up / ((right - left) * across), 0.7, 1.5))


def middle_of_largest(new: np.ndarray) -> np.ndarray:
    """A voxel of the largest new lesion, in the axial slice that shows most of it; the middle of the scan if none."""
    if not new.any():
        return np.array(new.shape) // 2
    parts = cc3d.connected_components(np.ascontiguousarray(new), connectivity=26)
    largest = np.argwhere(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
    section = largest[largest[:, AXIAL] == np.bincount(largest[:, AXIAL]).argmax()]
    return section[np.linalg.norm(section - section.mean(axis=0), axis=1).argmin()]


def _panels(view: View) -> Iterator[tuple[str, np.ndarray | None, str, bool]]:
    """Title, image, whose grey window, whether with outlines."""
    first, *rest = view.after
    yield f"{first} before", view.before.get(first), first, False
    yield f"{first} after", view.after[first], first, False
    yield "label", view.after[first], first, True
    for channel in rest:
        yield f"{channel} after", view.after[channel], channel, False


def _draw_projected(picture: Axes, view: View) -> None:
    first = next(iter(view.after))
    behind, cut = projected(view.after[first].astype(np.float32), AXIAL, np.mean), (AXIAL, 0)
    show(picture, behind, view.spacing_mm, cut, cmap="gray", vmin=behind.min(), vmax=2 * behind.max() - behind.min())
    for mask, color in ((view.old, OLD), (view.new, NEW)):
        seen = projected(mask, AXIAL, np.max)
        show(picture, np.ma.masked_equal(seen, 0), view.spacing_mm, cut, cmap=_plain(color), interpolation="nearest")
    _around(picture, view, cut, None)
    _name(picture, "all lesions, projected")


def _name(picture: Axes, title: str) -> None:
    picture.set_title(title, color="white", fontsize=9, pad=3)


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


def _around(picture: Axes, view: View, cut: Cut, center: np.ndarray | None) -> None:
    """Show what is near a voxel, or the whole brain, of a slice."""
    if not picture.images:
        return
    if center is None:
        across, up = _limits(view, cut)
    else:
        reach = FIELD_MM / 2 / np.delete(view.spacing_mm, cut[0])
        across, up = np.stack([np.delete(center, cut[0]) - reach, np.delete(center, cut[0]) + reach], axis=1)
    picture.set_xlim(*across)
    picture.set_ylim(*up)


def _limits(view: View, cut: Cut) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and last voxel of the brain, of the head where the brain is not known, along both axes of a slice."""
    first = next(iter(view.after))
    box = box_of(view.after[first] > view.windows()[first][0] if view.brain is None else view.brain)
    across, up = (
        (box[axis].start - MARGIN_MM / mm, box[axis].stop - 1 + MARGIN_MM / mm)
        for axis, mm in enumerate(view.spacing_mm)
        if axis != cut[0]
    )
    return across, up
