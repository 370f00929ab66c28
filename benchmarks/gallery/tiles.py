"""Pieces of slices as grey or coloured pixels: one window per scan and channel, outlines apart from plain images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from lesionaug.views import AIR, AXIAL, CORONAL, SAGITTAL, Cut, Window, section, thick_axis

Array = np.ndarray
Pixels = UInt8[Array, "h w 3"]

FIELD_MM = 40.0
TILE = 88  # pixels
MARGIN_PX = 6
REAL, NEW = (96, 165, 250), (251, 146, 60)


@dataclass(frozen=True)
class Volumes:
    """A scan in right-anterior-superior order, arrays of shape `(i, j, k)`.

    Args:
        images: By channel.
        outlines: Masks and the colours of their outlines, the last one on top.
        windows: Grey window of each channel.
        spacing_mm: Voxel size.
    """

    images: Mapping[str, Float[Array, "i j k"]]
    outlines: tuple[tuple[Bool[Array, "i j k"], tuple[int, int, int]], ...]
    windows: Mapping[str, Window]
    spacing_mm: tuple[float, float, float]


def turned_voxel(voxel: tuple[int, ...], shape: tuple[int, ...], affine: Array) -> tuple[int, int, int]:
    """Where a voxel lies after `turned`."""
    codes = nib.orientations.io_orientation(affine)
    moved = [0, 0, 0]
    for axis, (target, flip) in enumerate(codes):
        moved[int(target)] = voxel[axis] if flip > 0 else shape[axis] - 1 - voxel[axis]
    i, j, k = moved
    return i, j, k


def cuts(volumes: Volumes, center: tuple[int, int, int]) -> list[Cut]:
    """Axis and slice of three pictures of a lesion: three planes, or its thick slice and the two beside it."""
    axis = thick_axis(volumes.spacing_mm)
    if axis is None:
        return [(axis, center[axis]) for axis in (AXIAL, CORONAL, SAGITTAL)]
    last = next(iter(volumes.images.values())).shape[axis] - 1
    return [(axis, min(max(center[axis] + step, 0), last)) for step in (0, -1, 1)]


def tiles_of(volumes: Volumes, center: tuple[int, int, int], field_mm: float = FIELD_MM) -> list[Pixels]:
    """Three plain pictures of each channel, then three of the first with outlines."""
    where = cuts(volumes, center)
    plain = [
        _cropped(volumes, image, volumes.windows[channel], center, cut, field_mm)
        for channel, image in volumes.images.items()
        for cut in where
    ]
    first = plain[: len(where)]
    return plain + [_outlined(volumes, tile, center, cut, field_mm) for tile, cut in zip(first, where, strict=True)]


def _cropped(
    volumes: Volumes,
    image: Array,
    window: Window,
    center: tuple[int, ...],
    cut: Cut,
    field_mm: float,
) -> Pixels:
    return _grey(_sampled(image, volumes.spacing_mm, center, cut, field_mm, order=3, outside=window[0]), window)


def _grey(values: Array, window: Window) -> Pixels:
    low, high = window
    grey = (255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _outlined(volumes: Volumes, tile: Pixels, center: tuple[int, ...], cut: Cut, field_mm: float) -> Pixels:
    drawn = tile.copy()
    for mask, color in volumes.outlines:
        inside = _sampled(mask.astype(np.float32), volumes.spacing_mm, center, cut, field_mm, order=0, outside=0) > 0.5
        drawn[border(inside)] = color
    return drawn


def _sampled(
    volume: Array,
    spacing_mm: tuple[float, ...],
    center: tuple[int, ...],
    cut: Cut,
    field_mm: float,
    order: int,
    outside: float,
) -> Float[Array, "h w"]:
    """A square of a slice around a centre, upwards what is up in the head."""
    axis, _ = cut
    offsets = ((np.arange(TILE) + 0.5) / TILE - 0.5) * field_mm
    across, up = (
        offsets / mm + c for other, (mm, c) in enumerate(zip(spacing_mm, center, strict=True)) if other != axis
    )
    grid = np.meshgrid(across, up[::-1], indexing="xy")
    return ndimage.map_coordinates(
        section(volume, cut).T.astype(np.float32), grid, order=order, mode="constant", cval=outside
    )


def border(inside: Bool[Array, "h w"]) -> Bool[Array, "h w"]:
    """Pixels around a region, so that the smallest lesion stays visible within."""
    return ndimage.binary_dilation(inside) & ~inside


def whole_slice(volumes: Volumes, channel: str, cut: Cut, px_per_mm: float, *, outlined: bool) -> Pixels:
    """A slice at full size."""
    drawn = _grey(_enlarged(volumes, volumes.images[channel], cut, px_per_mm, order=1), volumes.windows[channel])
    for mask, color in volumes.outlines if outlined else ():
        drawn[border(_enlarged(volumes, mask.astype(np.uint8), cut, px_per_mm, order=0) > 0)] = color
    return drawn[_head(volumes, cut, px_per_mm)]


def _enlarged(volumes: Volumes, volume: Array, cut: Cut, px_per_mm: float, order: int) -> Array:
    across, up = (mm for other, mm in enumerate(volumes.spacing_mm) if other != cut[0])
    return ndimage.zoom(
        section(volume, cut)[::-1], (up * px_per_mm, across * px_per_mm), order=order, grid_mode=True, mode="nearest"
    )


def _head(volumes: Volumes, cut: Cut, px_per_mm: float) -> tuple[slice, slice]:
    """Without the air around it, which is the same for all channels, before and after."""
    channel, image = next(iter(volumes.images.items()))
    low, high = volumes.windows[channel]
    inside = _enlarged(volumes, (image > low + AIR * (high - low)).astype(np.uint8), cut, px_per_mm, order=0)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    down, across = (slice(max(int(found[0]) - MARGIN_PX, 0), int(found[-1]) + MARGIN_PX) for found in (rows, columns))
    return down, across
