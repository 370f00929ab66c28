"""CarveMix: a region around the lesions of one scan replaces the same voxels of another, in image and label.

M = 1 where D(Y_donor) <= lambda
X = X_donor * M + X_target * (1 - M),  Y = Y_donor * M + Y_target * (1 - M)

Written from the paper; its code has no licence and was not used.

Reference:
    Zhang et al. 2021, CarveMix: A Simple Data Augmentation Method for Brain Lesion Segmentation, MICCAI, section 2;
    Zhang et al. 2023, NeuroImage 271, which adds harmonisation for scans of different scanners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage

from benchmarks.realism.appearance import signed_distance_mm
from lesionaug.errors import LesionAugError
from lesionaug.intensity import robust_scale
from lesionaug.scan import Scan
from lesionaug.types import Mask, Volume

Array = np.ndarray


def carvemix(target: Scan, donor: Scan, rng: np.random.Generator, *, harmonise: bool = True) -> Scan:
    """A scan with the lesions of another at their own coordinates.

    Whatever the target had there, lesions too, is replaced; eligible tissue and regions stay the target's.

    Args:
        target: Where to.
        donor: Whose lesions; on the same grid, so both are to be in one space.
        rng: Draws how much is carved.
        harmonise: Whether the donor's intensities are brought to the target's scale, per channel by median and spread
            of the brain, which is our choice. The paper of 2021 takes scans of one scanner as they are; that of 2023
            harmonises.

    Raises:
        LesionAugError: Scans that do not fit to each other, or a donor without lesions.
    """
    _check_fit(target, donor)
    carved = torch.from_numpy(carved_region(donor.lesion_mask[0].numpy(), donor.spacing_mm, rng))[None]
    image = _harmonised(donor, target) if harmonise else donor.image
    return mixed(target, image, donor.lesion_mask, carved)


def carved_region(
    lesions: Bool[Array, "i j k"], spacing_mm: Sequence[float], rng: np.random.Generator
) -> Bool[Array, "i j k"]:
    """Voxels no farther than lambda from the lesions' border, D <= lambda.

    Args:
        lesions: At least one voxel.
        spacing_mm: Voxel size.
        rng: Draws lambda.
    """
    box = _reach(lesions, spacing_mm)
    signed = signed_distance_mm(lesions[box], spacing_mm)
    carved = np.zeros_like(lesions)
    carved[box] = signed <= draw_lambda_mm(signed, rng)
    return carved


def draw_lambda_mm(signed_mm: Float[Array, "i j k"], rng: np.random.Generator) -> float:
    """How far the carved region reaches beyond the lesions' border, or if negative stays within it.

    With equal chances from U(lambda_l, 0) and U(0, lambda_u), where lambda_l = -|min D| / 2 and lambda_u = |min D|.

    Args:
        signed_mm: Distance from the border of the lesions, negative inside.
        rng: All that is random.
    """
    deepest = abs(float(signed_mm.min()))
    return float(rng.uniform(-deepest / 2, 0) if rng.random() < 0.5 else rng.uniform(0, deepest))


def mixed(target: Scan, image: Volume, lesion_mask: Mask, carved: Bool[torch.Tensor, "1 i j k"]) -> Scan:
    """The target with another image and label where they were carved."""
    return replace(
        target,
        image=torch.where(carved, image.to(target.image.dtype), target.image),
        lesion_mask=torch.where(carved, lesion_mask, target.lesion_mask),
    )


def _reach(lesions: Bool[Array, "i j k"], spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    """Box around all lesions and as far beyond as lambda can reach: no lesion is deeper than half its shortest side."""
    (box,) = ndimage.find_objects(lesions.astype(np.uint8))
    farthest_mm = min((side.stop - side.start) * size for side, size in zip(box, spacing_mm, strict=True)) / 2
    margins = [int(np.ceil(farthest_mm / size)) + 1 for size in spacing_mm]
    return tuple(slice(max(side.start - n, 0), side.stop + n) for side, n in zip(box, margins, strict=True))


def _harmonised(donor: Scan, target: Scan) -> Volume:
    """The donor's image in the target's units."""
    units = robust_scale(donor.image, donor.brain).normalise(donor.image.float())
    return robust_scale(target.image, target.brain).inverse(units)


def _check_fit(target: Scan, donor: Scan) -> None:
    if target.channels != donor.channels or target.shape != donor.shape or not same_spacing(target, donor):
        raise LesionAugError(
            f"Expected scans of one grid with the same channels, got {_about(target)} and {_about(donor)}; "
            "resample the donor to the target's grid"
        )
    if not donor.lesion_mask.any():
        raise LesionAugError("Expected a donor with lesions, got none; draw another")


def same_spacing(target: Scan, donor: Scan) -> bool:
    """Whether voxels are as large, but for what headers round off."""
    return np.allclose(target.spacing_mm, donor.spacing_mm, atol=1e-3)


def _about(scan: Scan) -> str:
    return f"{', '.join(scan.channels)} of {scan.shape} voxels of {scan.spacing_mm} mm"
