"""Cut a patch at the model's spacing around a lesion, and paste what was made of it.

Where scan and model have the same spacing both are slices and exact: `paste(cut(x))` is `x`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lesionaug.types import Mask, Volume, triple

SAME_SPACING = 0.1  # relative; within it a voxel of the scan counts as one of the model
THICK = 0.28  # patch voxels per slice, inverted: slices of 3.6 mm and more
SEEN = 0.5
TINY = 1e-6  # of a voxel that a mask covers


@dataclass(frozen=True)
class PatchGrid:
    """Where the voxels of a patch lie in a scan.

    Args:
        center: Scan voxel under the patch's centre voxel, which is `n // 2` along an axis of `n`.
        shape: Voxels of the patch along each axis.
        step: Scan voxels per patch voxel along each axis.
    """

    center: tuple[int, int, int]
    shape: tuple[int, int, int]
    step: tuple[float, float, float]

    @classmethod
    def around(
        cls,
        center: tuple[int, int, int],
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        model_spacing_mm: float,
    ) -> PatchGrid:
        """Grid of a patch at the model's spacing."""
        step = triple(_snap(model_spacing_mm / spacing) for spacing in spacing_mm)
        return cls(center, shape, step)

    @property
    def is_exact(self) -> bool:
        """Whether patch voxels are scan voxels."""
        return self.step == (1.0, 1.0, 1.0)

    def box(self, scan_shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
        """Scan voxels whose centres the patch covers."""
        low = [math.ceil(c - (n // 2) * s) for c, n, s in zip(self.center, self.shape, self.step, strict=True)]
        high = [
            math.floor(c + (n - 1 - n // 2) * s) + 1 for c, n, s in zip(self.center, self.shape, self.step, strict=True)
        ]
        return triple(slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, scan_shape, strict=True))

    def surroundings(self, scan_shape: tuple[int, ...]) -> tuple[tuple[slice, slice, slice], PatchGrid]:
        """Part of the scan that the patch depends on, and the grid in it: what is cut out of both is the same."""
        margin = [3 + math.ceil(2 * step) for step in self.step]
        wide = self.box(scan_shape)
        box = triple(
            slice(max(b.start - m, 0), max(min(b.stop + m, n), 0))
            for b, m, n in zip(wide, margin, scan_shape, strict=True)
        )
        return box, PatchGrid(triple(c - b.start for c, b in zip(self.center, box, strict=True)), self.shape, self.step)


def _snap(step: float) -> float:
    return 1.0 if abs(step - 1) <= SAME_SPACING else step


def model_lengths(spacing_mm: tuple[float, float, float], model_spacing_mm: float) -> float:
    """Millimetres in which a patch counts, per millimetre of the scan.

    Where a voxel of the scan counts as one of the model though it is a little smaller or larger, so does all that is in
    it. The cube of this is right for volumes, and it is the mean over directions for lengths.
    """
    counted = [model_spacing_mm / spacing if _snap(model_spacing_mm / spacing) == 1 else 1.0 for spacing in spacing_mm]
    return math.prod(counted) ** (1 / 3)


def before_slices(diameter_mm: float, spacing_mm: tuple[float, float, float]) -> float:
    """Size of a ball over that of its label, where a rater outlines it in thick slices.

    In a slice thicker than the ball all of the slice is labelled where it shows half of what it shows in the middle.
    """
    thickness = max(spacing_mm)
    return min(1.0, math.sqrt(8 / 9 * diameter_mm / thickness)) if THICK * thickness > 1 else 1.0


def cut(volume: Volume, grid: PatchGrid, fill: float = 0.0) -> Volume:
    """Patch of a volume; `fill` outside the scan."""
    if grid.is_exact:
        return _slice_padded(volume, grid, fill)
    box, grid = grid.surroundings(tuple(volume.shape[1:]))
    volume = volume[(slice(None), *box)]
    positions = [c + (torch.arange(n) - n // 2) * s for c, n, s in zip(grid.center, grid.shape, grid.step, strict=True)]
    return _sample(_smooth(volume, grid.step, positions), positions, fill)


def cut_mask(mask: Mask, grid: PatchGrid) -> Mask:
    """Patch of a mask; empty outside the scan."""
    if grid.is_exact:
        return _slice_padded(mask, grid, False)
    box, local = grid.surroundings(tuple(mask.shape[1:]))
    return cut(mask[(slice(None), *box)].float(), local) > 0.5


def uncut(patch: Volume, grid: PatchGrid, scan_shape: tuple[int, ...]) -> tuple[Volume, tuple[slice, slice, slice]]:
    """A patch on the scan's voxels, and the box of the scan that it covers."""
    box = grid.box(scan_shape)
    if grid.is_exact:
        offset = [b.start - (c - n // 2) for b, c, n in zip(box, grid.center, grid.shape, strict=True)]
        inner = tuple(slice(o, o + b.stop - b.start) for o, b in zip(offset, box, strict=True))
        return patch[(slice(None), *inner)], box
    positions = [
        n // 2 + (torch.arange(b.start, b.stop) - c) / s
        for b, c, n, s in zip(box, grid.center, grid.shape, grid.step, strict=True)
    ]
    step = tuple(1 / s for s in grid.step)
    return _sample(_smooth(patch, step, positions), positions, 0.0), box


def uncut_mask(
    mask: Mask, grid: PatchGrid, scan_shape: tuple[int, ...], within: Mask | None = None
) -> tuple[Mask, tuple[slice, slice, slice]]:
    """A mask on the scan's voxels: the most covered ones, as many as keep its volume, and at least one.

    In thick slices it is what a rater would outline: voxels that show at least half of what the most covered one does,
    whatever their volume.

    Args:
        mask: In the patch.
        grid: Of the patch.
        scan_shape: Of the scan.
        within: Another mask that holds this one, as it then does on the scan's voxels.
    """
    covered, box = uncut(mask.float(), grid, scan_shape)
    if grid.is_exact or not bool(mask.any()):
        return covered > 0.5, box
    if within is not None and not torch.equal(within, mask):
        # Each is ranked by its own coverage, so the first voxels of the smaller one need not be among the other's.
        covered = torch.where(uncut_mask(within, grid, scan_shape)[0], covered + TINY, 0)
    if min(grid.step) < THICK:
        return (covered >= SEEN * covered.max()) & (covered > 0), box
    count = max(1, round(int(mask.sum()) * math.prod(grid.step)))
    ranked = covered.flatten().sort(descending=True, stable=True)
    chosen = ranked.indices[:count][ranked.values[:count] > 0]
    return torch.zeros_like(covered, dtype=torch.bool).flatten().index_fill(0, chosen, True).view_as(covered), box


def _slice_padded(volume: Tensor, grid: PatchGrid, fill: float) -> Tensor:
    patch = volume.new_full((volume.shape[0], *grid.shape), fill)
    start = [c - n // 2 for c, n in zip(grid.center, grid.shape, strict=True)]
    source, target = [slice(None)], [slice(None)]
    for a, n, size in zip(start, grid.shape, volume.shape[1:], strict=True):
        low, high = max(a, 0), max(min(a + n, size), max(a, 0))
        source.append(slice(low, high))
        target.append(slice(low - a, high - a))
    patch[tuple(target)] = volume[tuple(source)]
    return patch


def _smooth(volume: Volume, step: tuple[float, ...], positions: list[Tensor]) -> Volume:
    """Average over the size of the coarser voxel before sampling it, so that fine detail does not alias."""
    for axis, (s, where) in enumerate(zip(step, positions, strict=True), start=1):
        if s > 1 and len(where):
            volume = _blur_axis(volume, axis, sigma=math.sqrt((s * s - 1) / 12))
    return volume


def _blur_axis(volume: Volume, axis: int, sigma: float) -> Volume:
    radius = max(1, math.ceil(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).to(volume)
    moved = volume.movedim(axis, -1)
    flat = F.pad(moved.reshape(-1, 1, moved.shape[-1]), (radius, radius), mode="replicate")
    return F.conv1d(flat, (kernel / kernel.sum())[None, None]).reshape(moved.shape).movedim(-1, axis)


def _sample(volume: Volume, positions: list[Tensor], fill: float) -> Volume:
    """Linear interpolation on the grid spanned by voxel positions along each axis."""
    shape = volume.shape[1:]
    scaled = [2 * p.float() / max(n - 1, 1) - 1 for p, n in zip(positions, shape, strict=True)]
    grid = torch.stack(torch.meshgrid(*scaled, indexing="ij")[::-1], dim=-1)[None].to(volume.device)
    sampled = F.grid_sample((volume - fill)[None].float(), grid, mode="bilinear", align_corners=True)
    return sampled[0] + fill
