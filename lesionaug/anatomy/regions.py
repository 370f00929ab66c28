"""Which McDonald region a voxel of the white matter belongs to."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesionaug.anatomy.morphology import near
from lesionaug.scan import REGIONS

TOUCHES_MM = 4.0  # a lesion centred so near touches, at a usual size

PERIVENTRICULAR, JUXTACORTICAL, INFRATENTORIAL, DEEP = range(1, len(REGIONS) + 1)


def region_map(
    ventricles: np.ndarray, cortex: np.ndarray, infratentorial: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    """Region of each voxel, whatever its tissue; uint8.

    Args:
        ventricles: Ventricles of the cerebrum.
        cortex: Cortex of the cerebrum.
        infratentorial: Brainstem and cerebellum.
        spacing: Voxel size in mm.
    """
    regions = np.full(cortex.shape, DEEP, np.uint8)
    regions[near(cortex, TOUCHES_MM, spacing)] = JUXTACORTICAL
    regions[near(ventricles, TOUCHES_MM, spacing)] = PERIVENTRICULAR
    regions[infratentorial] = INFRATENTORIAL
    return regions


def distance_mm(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance to the nearest voxel of a mask; infinite where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return ndimage.distance_transform_edt(~mask, sampling=spacing)
