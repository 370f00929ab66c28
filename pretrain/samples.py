"""A page of what a model makes while it learns: one lesion a row, mid-slices side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num
from torch import Tensor

FOLDER = "samples"
INCHES = 1.4
DPI = 80


@dataclass(frozen=True)
class Column:
    """Mid-slices of one kind.

    Args:
        title: What they show.
        slices: One per lesion; sizes may differ.
        window: Values that are black and white.
    """

    title: str
    slices: Sequence[Float[Tensor, "rows columns"]]
    window: tuple[float, float] = (0.0, 1.0)


def mid_slice(patch: Num[Tensor, "1 channels i j k"]) -> Float[Tensor, "i j"]:
    """The slice through the centre voxel, of the first channel."""
    return patch[0, 0, :, :, patch.shape[-1] // 2].float().cpu()


def draw_page(heading: str, columns: list[Column]) -> np.ndarray:
    """Columns beside each other, lesions below each other.

    Args:
        heading: What the page shows.
        columns: Left to right.

    Returns:
        Red, green and blue bytes, shape `(rows, columns, 3)`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lesions = len(columns[0].slices)
    figure = Figure(figsize=(INCHES * len(columns), INCHES * lesions + 0.5), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(heading, fontsize=8)
    grid = figure.subplots(lesions, len(columns), squeeze=False)
    for column, axes in zip(columns, grid.T, strict=True):
        axes[0].set_title(column.title, fontsize=8)
        low, high = column.window
        for pixels, axis in zip(column.slices, axes, strict=True):
            axis.imshow(pixels.numpy().T, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
            axis.set_axis_off()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_picture(pixels: np.ndarray, run: Path, step: int) -> np.ndarray:
    """Write `samples/step-00001000.png` and give the picture back."""
    from matplotlib.image import imsave

    path = run / FOLDER / f"step-{step:08}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, pixels)
    return pixels
