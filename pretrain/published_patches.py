"""How the published models' training data were cut: one patch per lesion, and the lung window of computed tomography.

Stores cut like this keep robust units, which a model's window maps to what its network sees; `to_network_units` is the
published mapping of scanner units, for comparison and for reading published patches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from lesionaug.pretrain.cutting import Cutout, measured, normalised, record_of, stacked, voxels_of, world_of
from lesionaug.pretrain.labelled import BRAIN, CUT, OTHER, THIS, LabelledScan
from scipy import ndimage
from torch import Tensor

from lesionaug.errors import LesionAugError
from lesionaug.models.control import TOUCHING, BoolVolume
from lesionaug.models.published_cleanup import drop_at_border
from lesionaug.patches import SAME_SPACING, PatchGrid

PATCH_SHAPE = (32, 64, 64)
WINDOW = (-1000.0, 400.0)  # Hounsfield units; on FLAIR, everything below -1000 does not exist and above 400 is lost

Volume = Float[np.ndarray, "i j k"]
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class LesionPatch:
    """The patch of one lesion.

    Args:
        label: Of the lesion the patch is centred on, from 1.
        start: First voxel of the patch in the scan.
        mask: Lesions that lie in the patch as a whole; the lesion itself may be too near a face to be among them.
    """

    label: int
    start: Triple
    mask: BoolVolume

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the patch lies in the scan."""
        return _box(self.start)


def lesion_patches(lesions: BoolVolume) -> Iterator[LesionPatch]:
    """One patch per 6-connected lesion that is not too wide for it.

    Raises:
        LesionAugError: The scan is smaller than a patch.
    """
    if any(n < p for n, p in zip(lesions.shape, PATCH_SHAPE, strict=True)):
        raise LesionAugError(f"Expected a scan of at least {PATCH_SHAPE} voxels, got {lesions.shape}; pad it first")
    labels, count = ndimage.label(lesions)
    sizes = np.bincount(labels.ravel())
    for label in range(1, count + 1):
        voxels = np.argwhere(labels == label)
        centroid = voxels.mean(axis=0)
        if 2 * np.linalg.norm(voxels - centroid, axis=1).max() <= PATCH_SHAPE[0]:
            start = _start(centroid, lesions.shape)
            yield LesionPatch(label, start, _whole_lesions(labels[_box(start)], sizes))


def cut_published(scan: LabelledScan) -> Cutout:
    """All patches of a scan; their voxels are those of the scan, axes right, anterior, superior.

    What the published preparation drops from a patch's mask, because it is cut by the border or touches it, keeps its
    place in the label with the bit `CUT`; `published_mask` leaves it out again.

    Raises:
        LesionAugError: The voxels are not 1 mm wide, or the scan is smaller than a patch.
    """
    if any(abs(spacing - 1) > SAME_SPACING for spacing in scan.spacing_mm):
        got = " x ".join(f"{spacing:.3g}" for spacing in scan.spacing_mm)
        raise LesionAugError(
            f"Expected voxels of 1 mm, got {got} mm in {scan.subject}: the published preparation does not resample; "
            "resample first, without --scale, or take --preset model"
        )
    image, (labels, _) = normalised(scan), ndimage.label(scan.lesions)
    shown = {patch.label: patch for patch in lesion_patches(scan.lesions)}
    lesions = [(measured(voxels, scan, patch=label in shown), shown.get(label)) for label, voxels in voxels_of(labels)]
    patches = defaultdict(list)
    for lesion, patch in lesions:
        if patch is not None:
            for name, part in _parts(scan, image, labels, patch).items():
                patches[f"lesion_published_{name}"].append(part)
            patches["lesion_published_volume_mm3"].append(torch.tensor(lesion.volume_mm3))
    return Cutout(stacked(patches), record_of(scan, tuple(lesion for lesion, _ in lesions), 0))


def published_mask(label: UInt8[Tensor, "*batch i j k"]) -> Bool[Tensor, "*batch i j k"]:
    """Mask that the published models learn from: lesions that a patch shows as a whole; it may be empty."""
    return ((label & (THIS | OTHER)) > 0) & ((label & CUT) == 0)


def to_network_units(image: Volume) -> Float[np.ndarray, "32 64 64"]:
    """The window mapped to [-1, 1], then cropped or padded to a patch; padding is 0, which is mid-grey and not air."""
    low, high = WINDOW
    mapped = (2 * (image.clip(low, high) - low) / (high - low) - 1).astype(np.float32)
    crop = [max(offset, 0) for offset in crop_offset(image.shape)]
    pad = [max(-offset, 0) for offset in crop_offset(image.shape)]
    cropped = mapped[tuple(slice(c, c + p) for c, p in zip(crop, PATCH_SHAPE, strict=True))]
    widths = [(low, p - low - n) for low, n, p in zip(pad, cropped.shape, PATCH_SHAPE, strict=True)]
    return np.pad(cropped, widths)


def crop_offset(shape: tuple[int, ...]) -> Triple:
    """Voxel of the scan at the patch's first voxel, negative where the patch is padded; an odd voxel goes low.

    The affine of the patch is the scan's, moved by this many voxels.
    """
    i, j, k = (_half_away_from_zero(n - p) for n, p in zip(shape, PATCH_SHAPE, strict=True))
    return i, j, k


def _parts(scan: LabelledScan, image: Tensor, labels: np.ndarray, patch: LesionPatch) -> dict[str, Tensor]:
    """Image, label and affine of a patch."""
    here, lesions = labels[patch.box], scan.lesions[patch.box]
    bits = np.where(here == patch.label, THIS, OTHER) * lesions + CUT * (lesions & ~patch.mask)
    i, j, k = (start + n // 2 for start, n in zip(patch.start, PATCH_SHAPE, strict=True))
    return {
        "image": image[(slice(None), *patch.box)].half(),
        "label": torch.from_numpy((bits + BRAIN * scan.brain[patch.box]).astype(np.uint8))[None],
        "affine": world_of(PatchGrid((i, j, k), PATCH_SHAPE, (1.0, 1.0, 1.0)), scan.to_world),
    }


def _half_away_from_zero(difference: int) -> int:
    return (difference + 1) // 2 if difference > 0 else -((1 - difference) // 2)


def _start(centroid: Float[np.ndarray, " axes"], shape: tuple[int, ...]) -> Triple:
    """Centred on the lesion, then shifted to stay inside the scan."""
    centred = [round(c) - p // 2 for c, p in zip(centroid.tolist(), PATCH_SHAPE, strict=True)]
    i, j, k = (min(max(s, 0), n - p) for s, n, p in zip(centred, shape, PATCH_SHAPE, strict=True))
    return i, j, k


def _box(start: Triple) -> tuple[slice, slice, slice]:
    i, j, k = (slice(s, s + p) for s, p in zip(start, PATCH_SHAPE, strict=True))
    return i, j, k


def _whole_lesions(labels: np.ndarray, sizes: np.ndarray) -> BoolVolume:
    inside = np.bincount(labels.ravel(), minlength=len(sizes))
    whole = inside == sizes
    whole[0] = False
    return drop_at_border(whole[labels], TOUCHING)
