"""What a scan has to be like before anything is done to it, whichever host hands it over."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from lesionaug.errors import LesionAugError

SPACING_MM = (0.4, 10.0)
ROUNDING = 1e-3  # of a label that is stored with a slope
SAME_AFFINE_MM = 1e-2  # how far apart the same voxel may be in two files: rounding, not resampling


def check_known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Every name is one of those known.

    Args:
        kind: What the names are, for the message.
        names: To check.
        known: What they may be.

    Raises:
        LesionAugError: One is not.

    Example:
        >>> check_known("channel", ["flair"], ["flair", "t1w"])
        >>> check_known("channel", ["pd"], ["flair", "t1w"])
        Traceback (most recent call last):
        lesionaug.errors.LesionAugError: Expected a channel among flair, t1w, got 'pd'; check the spelling
    """
    unknown = [name for name in names if name not in set(known)]
    if unknown:
        got = ", ".join(repr(name) for name in unknown)
        raise LesionAugError(f"Expected a {kind} among {', '.join(known)}, got {got}; check the spelling")


def check_affine(affine: np.ndarray, what: str) -> tuple[float, float, float]:
    """Voxel sizes of an affine that places voxels in space, within the range the models were made for.

    Args:
        affine: Voxel to world in mm, 4 by 4.
        what: The image, for the message.

    Returns:
        Voxel size along each axis in mm.

    Raises:
        LesionAugError: It is singular or not finite, or the spacing out of range.
    """
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise LesionAugError(
            f"Expected an affine that can be inverted, got a singular one in {what}; repair the header or convert again"
        )
    i, j, k = (float(size) for size in np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    low, high = SPACING_MM
    if not all(low <= size <= high for size in (i, j, k)):
        got = " x ".join(f"{size:.3g}" for size in (i, j, k))
        raise LesionAugError(
            f"Expected a voxel spacing from {low} to {high} mm, got {got} mm in {what}; resample first"
        )
    return i, j, k


def check_intensities(image: np.ndarray, what: str) -> None:
    """An image with finite values that vary.

    Raises:
        LesionAugError: It has no voxels, is constant or holds NaN or infinity.
    """
    if image.size == 0:
        raise LesionAugError(f"Expected an image with voxels, got an empty one in {what}; check the file")
    # A sum is finite when all terms are, unless it overflows: then look at each.
    if not math.isfinite(float(image.sum(dtype=np.float64))) and not np.isfinite(image).all():
        bad = int((~np.isfinite(image)).sum())
        raise LesionAugError(
            f"Expected finite intensities, got {bad} voxels that are NaN or infinite in {what}; replace them first"
        )
    if image.min() == image.max():
        raise LesionAugError(
            f"Expected varying intensities, got a constant image (all {image.flat[0]:g}) in {what}; check the file"
        )


def check_same_grid(
    shape: tuple[int, ...],
    affine: np.ndarray,
    what: str,
    other_shape: tuple[int, ...],
    other_affine: np.ndarray,
    other: str,
) -> None:
    """Two images whose voxels lie at the same places.

    Raises:
        LesionAugError: They differ in shape or affine.
    """
    if tuple(shape) != tuple(other_shape):
        raise LesionAugError(
            f"Expected images of one shape, got {_times(shape)} in {what} and {_times(other_shape)} in {other}; "
            "resample one to the other"
        )
    apart = _farthest_mm(shape, affine, other_affine)
    if not apart <= SAME_AFFINE_MM:
        raise LesionAugError(
            f"Expected images on one grid, got affines up to {apart:.3g} mm apart in {what} and {other}; "
            "resample one to the other"
        )


def binary_mask(label: np.ndarray, what: str, value: float | None = None) -> tuple[np.ndarray, float]:
    """Where a label is set, and the value that it is set to.

    Args:
        label: Two whole numbers at most, one of them 0; any, if it is said which of them is lesion.
        what: The image, for the message.
        value: Of lesions.

    Returns:
        Boolean mask, and the value of the foreground: 1 where there is none.

    Raises:
        LesionAugError: The label has other values, and it is not said which of them is lesion; or that is said to be 0.

    Example:
        >>> binary_mask(np.array([0, 255]), "lesion")
        (array([False,  True]), 255.0)
        >>> binary_mask(np.array([0, 1, 2]), "tissues", value=2)
        (array([False, False,  True]), 2.0)
    """
    if value is not None:
        if value == 0 or not np.isfinite(value):
            raise LesionAugError(f"Expected a lesion_value other than 0, got {value:g}; 0 is what is no lesion")
        return label == value, float(value)
    mask = label != 0
    values = np.unique(label[mask])
    if len(values) > 1 or not np.isfinite(values).all() or (abs(values - np.round(values)) > ROUNDING).any():
        got = ", ".join([*(f"{value:g}" for value in values[:5]), *(["..."] if len(values) > 5 else [])])
        raise LesionAugError(
            f"Expected a binary label, 0 and one other whole number, got {got} in {what}; "
            "threshold it, or say which value is lesion: lesion_value=..., --lesion-value"
        )
    return mask, float(values[0]) if len(values) else 1.0


def _farthest_mm(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], (1,), indexing="ij")).reshape(4, -1)
    return float(np.abs((affine - other) @ corners).max())


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
