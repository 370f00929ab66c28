"""Where the voxels of a preprocessed case lie in space: nnU-Net keeps what it takes, but not the affine itself.

file (x, y, z) ──reader──► (z, y, x) ──transpose_forward──► ──crop to nonzero──► ──resample──► preprocessed voxels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lesionaug.errors import LesionAugError

LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))  # ITK's world to NIfTI's


def case_affine(properties: Mapping[str, Any], shape: Sequence[int], transpose_forward: Sequence[int]) -> np.ndarray:
    """Voxel of a preprocessed case to world position (right, anterior, superior) in mm, 4 by 4.

    Args:
        properties: As nnU-Net keeps them beside the case.
        shape: Of the preprocessed case, without channels.
        transpose_forward: Of the plans.

    Raises:
        LesionAugError: The properties do not say where the case lies in space.
    """
    affine = _reader_affine(properties) @ _transposition(transpose_forward)
    affine = affine @ _translation([start for start, _ in properties["bbox_used_for_cropping"]])
    return affine @ _resampling(properties["shape_after_cropping_and_before_resampling"], shape)


def _reader_affine(properties: Mapping[str, Any]) -> np.ndarray:
    """Voxel of the array that the reader returned, `(z, y, x)`, to world."""
    if "sitk_stuff" in properties:
        file_affine = _itk_affine(properties["sitk_stuff"])
    elif "nibabel_stuff" in properties:
        stored = properties["nibabel_stuff"]
        file_affine = np.asarray(stored.get("reoriented_affine", stored["original_affine"]), float)
    else:
        raise LesionAugError(
            f"Expected a case that was read by SimpleITK or nibabel, got properties of {', '.join(properties)}, which "
            "do not say how it lies in space; store the images as NIfTI and preprocess again"
        )
    return file_affine @ _transposition((2, 1, 0))


def _itk_affine(stored: Mapping[str, Any]) -> np.ndarray:
    direction = np.asarray(stored["direction"], float)
    if direction.size != 9:
        raise LesionAugError(
            f"Expected files of one three-dimensional image each, got {len(stored['spacing'])} dimensions; split them"
        )
    affine = np.eye(4)
    affine[:3, :3] = direction.reshape(3, 3) * np.asarray(stored["spacing"], float)
    affine[:3, 3] = stored["origin"]
    return LPS_TO_RAS @ affine


def _transposition(axes: Sequence[int]) -> np.ndarray:
    """Index into an array whose axes were put in this order to index into the array as it was."""
    matrix = np.zeros((4, 4))
    matrix[[*axes, 3], range(4)] = 1
    return matrix


def _translation(start: Sequence[int]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = start
    return matrix


def _resampling(before: Sequence[int], after: Sequence[int]) -> np.ndarray:
    """Index after resampling to index before: the outer faces of the volume stay where they are."""
    factors = np.asarray(before, float) / np.asarray(after, float)
    matrix = np.diag((*factors, 1.0))
    matrix[:3, 3] = (factors - 1) / 2
    return matrix
