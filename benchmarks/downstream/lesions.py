"""Lesion by lesion: what was found, and what was made up.

A lesion is a 26-connected component of 3 mm3 or more. Two rules say what counts as found:

* `overlap`: a real lesion is found if a tenth of its voxels are predicted; a predicted lesion is right if a tenth of
  its voxels are lesion. One prediction may find several lesions.
* `iou`: predicted and real lesions are paired, one with one, so that the sum of their intersections over union is
  largest; pairs above 0.1 count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import cc3d
import numpy as np
from jaxtyping import Bool, Int, Shaped
from scipy.optimize import linear_sum_assignment

Array = np.ndarray
MIN_MM3 = 3.0
ENOUGH = 0.1
BINS_MM3 = (3, 10, 50, 100, 500, np.inf)


@dataclass(frozen=True)
class Detection:
    """Lesions of a scan by one rule.

    Args:
        found: For each real lesion, whether it was.
        right: For each predicted lesion, whether it is one.
    """

    found: Bool[Array, " real"]
    right: Bool[Array, " predicted"]

    def rates(self) -> dict[str, float]:
        """Recall, precision and their harmonic mean; 0 where nothing was predicted and something was to be found."""
        nothing = 1.0 if self.found.size == self.right.size == 0 else 0.0
        recall, precision = (float(x.mean()) if x.size else nothing for x in (self.found, self.right))
        both = recall + precision
        return {"recall": recall, "precision": precision, "f1": 2 * recall * precision / both if both else 0.0}


def components(mask: Bool[Array, "i j k"], at_least: int = 1) -> tuple[Int[Array, "i j k"], int]:
    """Voxels numbered by component from 1, and how many there are; smaller components count as background.

    Args:
        mask: What is to be taken apart.
        at_least: Voxels of a component.
    """
    numbered = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(numbered.ravel())
    kept = sizes >= at_least
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[numbered], int(kept.sum())


def lesions_of(mask: Bool[Array, "i j k"], voxel_mm3: float) -> tuple[Int[Array, "i j k"], Int[Array, " lesions"]]:
    """Voxels numbered by lesion, and the voxels that each has."""
    numbered, count = components(mask, int(np.ceil(MIN_MM3 / voxel_mm3 - 1e-6)))
    return numbered, np.bincount(numbered.ravel(), minlength=count + 1)[1:]


def by_overlap(predicted: Bool[Array, "i j k"], real: Bool[Array, "i j k"], voxel_mm3: float) -> Detection:
    """See the top of this file."""
    return Detection(_touched(real, predicted, voxel_mm3), _touched(predicted, real, voxel_mm3))


def _touched(lesions: Array, other: Array, voxel_mm3: float) -> Bool[Array, " lesions"]:
    """Lesions of which the other mask covers enough."""
    numbered, sizes = lesions_of(lesions, voxel_mm3)
    covered = np.bincount(numbered[other], minlength=len(sizes) + 1)[1:]
    return covered >= ENOUGH * sizes


def by_iou(predicted: Bool[Array, "i j k"], real: Bool[Array, "i j k"], voxel_mm3: float) -> Detection:
    """See the top of this file."""
    (ours, our_sizes), (theirs, their_sizes) = lesions_of(predicted, voxel_mm3), lesions_of(real, voxel_mm3)
    both = _joint_sizes(ours, theirs, (len(our_sizes), len(their_sizes)))
    iou = both / (our_sizes[:, None] + their_sizes - both)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    matched = iou[rows, columns] > ENOUGH
    found, right = np.zeros(len(their_sizes), bool), np.zeros(len(our_sizes), bool)
    right[rows[matched]], found[columns[matched]] = True, True
    return Detection(found, right)


def _joint_sizes(ours: Array, theirs: Array, shape: tuple[int, int]) -> Shaped[Array, "ours theirs"]:
    """Voxels that each pair has in common."""
    table = np.zeros((shape[0] + 1, shape[1] + 1), int)
    both = (ours > 0) & (theirs > 0)
    np.add.at(table, (ours[both], theirs[both]), 1)
    return table[1:, 1:]


def by_size(detection: Detection, real: Bool[Array, "i j k"], voxel_mm3: float) -> Mapping[str, tuple[int, int]]:
    """Found and real lesions in each bin of volume."""
    volumes = lesions_of(real, voxel_mm3)[1] * voxel_mm3
    bins = np.digitize(volumes, BINS_MM3[1:-1], right=True)
    return {
        name: (int(detection.found[bins == index].sum()), int((bins == index).sum()))
        for index, name in enumerate(bin_names())
    }


def bin_names() -> tuple[str, ...]:
    """Of the bins of volume in mm3; a bin holds its upper end.

    Example:
        >>> bin_names()
        ('3-10', '10-50', '50-100', '100-500', '>500')
    """
    ends = [f"{low}-{high}" for low, high in pairwise(BINS_MM3[:-1])]
    return (*ends, f">{BINS_MM3[-2]}")
