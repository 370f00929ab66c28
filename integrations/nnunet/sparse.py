"""An array of a preprocessed case with other values at a few voxels, read as lazily as the array itself.

The data loader asks for a crop; only the crop is decompressed, and only what lies in it is pasted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PastedArray:
    """Reads like `base`, which is never written to.

    Args:
        base: Shape `(channels, i, j, k)`: anything that slices give an array of, such as a Blosc2 file.
        voxels: Where values differ, shape `(n, 3)`.
        values: By channel in which they do, one per voxel.
    """

    base: Any
    voxels: np.ndarray
    values: Mapping[int, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the base."""
        return tuple(self.base.shape)

    @property
    def ndim(self) -> int:
        """Of the base."""
        return len(self.base.shape)

    @property
    def dtype(self) -> np.dtype:
        """Of the base."""
        return self.base.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def __getitem__(self, item: Any) -> np.ndarray:
        """A part of the array, as NumPy would return it; whatever is not a box of slices is cut out of the whole."""
        box = self._box(item)
        return self[:][item] if box is None else self._crop(box)

    def _box(self, item: Any) -> tuple[slice, ...] | None:
        items = item if isinstance(item, tuple) else (item,)
        if len(items) > self.ndim or any(not isinstance(i, slice) or i.step not in (None, 1) for i in items):
            return None
        whole = (slice(None),) * (self.ndim - len(items))
        bounds = [i.indices(size)[:2] for i, size in zip((*items, *whole), self.shape, strict=True)]
        return tuple(slice(start, max(start, stop)) for start, stop in bounds)

    def _crop(self, box: tuple[slice, ...]) -> np.ndarray:
        crop = self.base[box]
        start, stop = (np.array([getattr(side, end) for side in box[1:]]) for end in ("start", "stop"))
        inside = ((self.voxels >= start) & (self.voxels < stop)).all(axis=1)
        if not inside.any():
            return crop
        crop = np.array(crop)  # that of a memory map can only be read
        where = tuple((self.voxels[inside] - start).T)
        for channel, values in self.values.items():
            if box[0].start <= channel < box[0].stop:
                crop[(channel - box[0].start, *where)] = values[inside]
        return crop
