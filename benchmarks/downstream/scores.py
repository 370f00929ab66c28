"""All numbers of one predicted mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from monai.metrics import compute_dice, compute_surface_dice
from scipy import ndimage

from benchmarks.downstream.lesions import by_iou, by_overlap, by_size, lesions_of
from lesionaug.errors import LesionAugError

Array = np.ndarray
Mask = Bool[Array, "i j k"]
TOLERANCE_MM = 1.0
METRICS = ("dice", "nsd", "f1", "recall", "precision", "f1_iou", "avd_ml")
"""What arms are compared by; the smaller, the better, only in `avd_ml`, the absolute volume difference."""


def scores(predicted: Mask, real: Mask, spacing_mm: Sequence[float]) -> dict[str, Any]:
    """`METRICS` and lesions found by size.

    Args:
        predicted: By a network.
        real: By a reader.
        spacing_mm: Voxel size.

    Raises:
        LesionAugError: Masks of different shapes, or no real lesion to be found.
    """
    if predicted.shape != real.shape:
        raise LesionAugError(f"Expected masks of one shape, got {predicted.shape} and {real.shape}; resample one")
    if not real.any():
        raise LesionAugError("Expected a reference with lesions, got an empty one; test healthy scans as healthy ones")
    voxel_mm3 = float(np.prod(spacing_mm))
    detection = by_overlap(predicted, real, voxel_mm3)
    return {
        "dice": dice(predicted, real),
        "nsd": surface_dice(predicted, real, spacing_mm),
        **detection.rates(),
        "f1_iou": by_iou(predicted, real, voxel_mm3).rates()["f1"],
        "avd_ml": abs(int(predicted.sum()) - int(real.sum())) * voxel_mm3 / 1000,
        "by_size": by_size(detection, real, voxel_mm3),
        "lesions": len(detection.found),
        "load_ml": int(real.sum()) * voxel_mm3 / 1000,
        "predicted_ml": int(predicted.sum()) * voxel_mm3 / 1000,
    }


def healthy_scores(predicted: Mask, spacing_mm: Sequence[float]) -> dict[str, float]:
    """What was found where nothing is."""
    voxel_mm3 = float(np.prod(spacing_mm))
    return {"false_lesions": len(lesions_of(predicted, voxel_mm3)[1]), "false_ml": predicted.sum() * voxel_mm3 / 1000}


def dice(predicted: Mask, real: Mask) -> float:
    """Of voxels; 1 where both masks are empty."""
    return float(compute_dice(_batched(predicted), _batched(real), ignore_empty=False))


def surface_dice(predicted: Mask, real: Mask, spacing_mm: Sequence[float]) -> float:
    """Share of both surfaces that lies within `TOLERANCE_MM` of the other; 1 where both masks are empty."""
    if not predicted.any() or not real.any():
        return float(not predicted.any() and not real.any())
    box = _box(predicted | real)
    pair = [_batched(np.pad(mask[box], 2)) for mask in (predicted, real)]
    # Headers round 1 mm to 1.00000002, and a tolerance of one voxel must stay one voxel.
    within = [TOLERANCE_MM + 1e-3]
    found = compute_surface_dice(*pair, class_thresholds=within, include_background=True, spacing=spacing_mm)
    return float(found)


def _batched(mask: Mask) -> torch.Tensor:
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def _box(mask: Mask) -> tuple[slice, ...]:
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    return box
