"""Where a test lesion of given shape is put: white matter, clear of every other lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import ndimage

from benchmarks.realism.hosts import CLEAR_MM, HostScan, white_matter

Array = np.ndarray
INSIDE = 0.9  # share of a lesion that must lie in white matter; thresholds leave holes in it
TRIES = 3000


@dataclass(frozen=True)
class Room:
    """Free white matter of a host; `clear` shrinks with every lesion placed.

    Args:
        white: White matter.
        clear: Voxels far enough from all lesions, old and placed.
        usable: Brain without real lesions.
        candidates: Centres to try.
        spacing_mm: Voxel size.
    """

    white: Bool[Array, "i j k"]
    clear: Bool[Array, "i j k"]
    usable: Bool[Array, "i j k"]
    candidates: Shaped[Array, "n 3"]
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def of(cls, host: HostScan) -> Room:
        """All the white matter of a host that no real lesion is near."""
        clear = ~host.lesions
        if host.lesions.any():
            clear = ndimage.distance_transform_edt(clear, sampling=host.spacing_mm) > CLEAR_MM
        white = white_matter(host)
        return cls(white, clear, host.brain & ~host.lesions, np.argwhere(white & clear), host.spacing_mm)

    def place(self, mask: Bool[Array, "a b c"], rng: np.random.Generator) -> tuple[slice, slice, slice] | None:
        """Box of the host in which a lesion fits, taken from the room; `None` where no try found one.

        Args:
            mask: Crop with the lesion in its middle.
            rng: All that is random.
        """
        for center in self.candidates[rng.integers(len(self.candidates), size=TRIES)]:
            box = box_around(center, mask.shape, self.white.shape)
            if box is not None and self._fits(mask, box):
                self._take(mask, box)
                return box
        return None

    def _fits(self, mask: Array, box: tuple[slice, ...]) -> bool:
        return bool(
            self.clear[box][mask].all() and self.usable[box][mask].all() and self.white[box][mask].mean() >= INSIDE
        )

    def _take(self, mask: Array, box: tuple[slice, ...]) -> None:
        margins = [int(CLEAR_MM / side) + 1 for side in self.spacing_mm]
        wide = tuple(slice(max(b.start - m, 0), b.stop + m) for b, m in zip(box, margins, strict=True))
        placed = np.zeros_like(self.clear[wide])
        inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))
        placed[inner] = mask
        self.clear[wide] &= ndimage.distance_transform_edt(~placed, sampling=self.spacing_mm) > CLEAR_MM


def box_around(
    center: Sequence[int], shape: Sequence[int], scan_shape: Sequence[int]
) -> tuple[slice, slice, slice] | None:
    """Box with its voxel `n // 2` at a centre; `None` where it leaves the scan."""
    start = [int(c) - n // 2 for c, n in zip(center, shape, strict=True)]
    box = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    return box if all(b.start >= 0 and b.stop <= n for b, n in zip(box, scan_shape, strict=True)) else None
