"""What a report wants to know of a case, measured while its scan is at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lesionaug.contrast import measure
from lesionaug.prior_fit import ObservedScan, lesion_regions, measure_lesions
from lesionaug.scan import REGIONS, Scan
from lesionaug.types import Mask


def lesion_facts(scan: Scan, mask: Mask, affine: np.ndarray) -> dict:
    """Volume, region and contrast of the lesions of a mask.

    Regions are those of the atlas, as for masks without images, so that they compare with these.

    Args:
        scan: With the lesions in its image.
        mask: Lesions to measure.
        affine: Voxel to world in mm, 4 by 4.
    """
    observed = ObservedScan(mask[0].numpy(), affine, scan.brain[0].numpy())
    lesions = measure_lesions(observed)
    names = ("elsewhere", *REGIONS)
    contrast, volume_mm3 = measure(replace(scan, lesion_mask=mask), at_least=1)
    return {
        "voxels": int(mask.sum()),
        "load_ml": round(int(mask.sum()) * scan.voxel_mm3 / 1000, 4),
        "volume_mm3": [round(float(volume), 2) for volume in lesions.volume_mm3],
        "region": [names[region] for region in lesion_regions(observed, lesions)],
        "contrast": {
            channel: [round(float(row[index]), 3) for row in contrast] for index, channel in enumerate(scan.channels)
        },
        "contrast_volume_mm3": [round(volume, 2) for volume in volume_mm3],
    }
