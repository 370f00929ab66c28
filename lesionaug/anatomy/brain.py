"""The brain in an image: what is not background where a skull was stripped, what morphology finds where it was not."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from lesionaug.anatomy.atlas import Atlas
from lesionaug.anatomy.background import background_of, signal_of
from lesionaug.anatomy.credible import CROPS, check_mask
from lesionaug.anatomy.grids import ReducedGrid, enlarged, spacing_of
from lesionaug.anatomy.morphology import box_of, closed, deep, filled, largest, near, opened
from lesionaug.errors import LesionAugError
from lesionaug.types import Mask

SKULL_MM = (3.0, 9.0)  # depth at which a head that is not stripped is dark
DARK = 0.4  # of the bright tissue
DARK_SHARE = 0.25  # of that depth: at most 0.18 in nine stripped scans, 0.35 and more in nine that were not
CONSTANT_SHARE = 0.35  # of the volume, at least, is exactly background in a stripped scan
NECK_MM = 4.0  # half the width of the bridges between brain and scalp that are cut
MIN_BRAIN_MM3 = 5e4
MUCH_LARGER = 1.15  # all heads together than their common part: 1.22 and 1.31 where T1w kept too much, else up to 1.08
LOCAL_MM = 25.0  # standard deviation of the local mean
BLOCK_MM = 8.0  # a mean so wide needs no finer voxels


def brain_of(
    images: np.ndarray, grid: ReducedGrid, atlas: Atlas, brain_mask: Mask | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Brain mask as it was handed in or is found, and the placement of the scan in the atlas; see `find_brain`.

    Args:
        images: Shape `(channels, i, j, k)`, reduced.
        grid: That reduced them.
        atlas: Knows what a brain's outline looks like.
        brain_mask: At the scan's own voxels.

    Raises:
        LesionAugError: No brain is found, or what was handed in is none of this scan.
    """
    if brain_mask is None:
        return find_brain(images, grid.affine, atlas)
    brain = grid.reduce(grid.orient(brain_mask[0])) > 0.5
    check_mask(images, brain)
    _check_size(brain, grid.spacing_mm)
    return brain, atlas.place(filled(brain), grid.affine)


def find_brain(images: np.ndarray, affine: np.ndarray, atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """Brain mask, and the placement of the scan in the atlas.

    Args:
        images: Shape `(channels, i, j, k)`, right-anterior-superior voxels of about 2 mm.
        affine: Voxel to world in mm.
        atlas: Knows what a brain's outline looks like.

    Returns:
        Mask of shape `(i, j, k)`, and world to atlas, 4 by 4.

    Raises:
        LesionAugError: Nothing as large as a brain stands out of the background.
    """
    spacing = spacing_of(affine)
    signals, backgrounds = zip(*(_signal(image) for image in images), strict=True)
    heads = [_solid((signal > 0.05) & ~outside) for signal, outside in zip(signals, backgrounds, strict=True)]
    head = np.logical_or.reduce(heads)
    _check_size(head, spacing)
    if all(_is_stripped(signal, own, spacing) for signal, own in zip(signals, heads, strict=True)):
        brain = _all_or_any(heads)
        # One channel may end where another goes on, or have kept membranes: synthesis needs what all of them have.
        outline = brain if head.sum() > MUCH_LARGER * brain.sum() else head
        return brain, atlas.place(outline, affine)
    return _extract(signals[0], head, affine, atlas)


def _check_size(mask: np.ndarray, spacing: np.ndarray) -> None:
    ml = mask.sum() * spacing.prod() / 1000
    if ml * 1000 < MIN_BRAIN_MM3:
        raise LesionAugError(
            f"Expected a brain of 50 ml or more, got {ml:.3g} ml of signal; check the image, or, {CROPS}"
        )


def _all_or_any(masks: list[np.ndarray]) -> np.ndarray:
    common = np.logical_and.reduce(masks)
    return common if common.any() else np.logical_or.reduce(masks)


def _signal(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the background, 1 for bright tissue; and what is exactly background."""
    background = background_of(image)
    signal = signal_of(image, background)
    if not np.isfinite(signal).all():
        raise LesionAugError(
            "Expected a brain that stands out of its background, got a constant image, or hardly more than background; "
            f"check the file, or, {CROPS}"
        )
    return signal, background


def _is_stripped(signal: np.ndarray, head: np.ndarray, spacing: np.ndarray) -> bool:
    """Whether a channel is background around its own head, which is not dark where the skull would be."""
    if not head.any() or (signal < 1e-3).mean() <= CONSTANT_SHARE:
        return False
    box = box_of(head)
    skull = deep(head[box], SKULL_MM[0], spacing) & ~deep(head[box], SKULL_MM[1], spacing)
    dark = signal[box][skull] < DARK * np.quantile(signal[head], 0.9)
    return bool(dark.mean() < DARK_SHARE)


def _solid(mask: np.ndarray) -> np.ndarray:
    """Largest part without specks and holes."""
    cleaned = opened(mask, 1)
    return filled(largest(cleaned if cleaned.any() else mask))


def _extract(signal: np.ndarray, head: np.ndarray, affine: np.ndarray, atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """Tissue that stays connected when thin bridges are cut, within the atlas' outline."""
    spacing = spacing_of(affine)
    tissue = head & (_flat(signal, head, spacing) > 0.6)
    core = largest(deep(tissue, NECK_MM, spacing))
    brain = tissue & near(core, NECK_MM + 1, spacing)
    _check_size(brain, spacing)
    world_to_atlas = atlas.place(brain, affine)
    for _ in range(2):
        outline = atlas.resample(affine, brain.shape, world_to_atlas, ("brain",))[0]
        inside = closed(brain & (outline > 0.2), 8.0, spacing) & (outline > 0.2)
        brain = filled(inside | (head & (outline > 0.97)))
        world_to_atlas = atlas.place(brain, affine)
    return brain, world_to_atlas


def _flat(signal: np.ndarray, head: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Signal over its local mean, so that a bias field does not decide what is tissue."""
    i, j, k = (max(1, round(step)) for step in BLOCK_MM / spacing)
    both = torch.from_numpy(np.stack([signal * head, head]).astype(np.float32))
    blocks = F.avg_pool3d(both, (i, j, k), ceil_mode=True)
    total, share = ndimage.gaussian_filter(blocks.numpy(), (0, *(LOCAL_MM / spacing / (i, j, k))))
    mean = enlarged(torch.from_numpy(total / (share + 1e-3)), (i, j, k)).numpy()
    return signal / (mean[tuple(slice(0, n) for n in signal.shape)] + 1e-3)
