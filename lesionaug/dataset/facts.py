"""What a report wants to know of a case, measured while its scan is at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lesionaug.anatomy.morphology import box_of, near
from lesionaug.contrast import measure
from lesionaug.prior_fit import ObservedScan, lesion_regions, measure_lesions
from lesionaug.scan import REGIONS, Scan
from lesionaug.types import Mask

PLACES = 1000  # to which the room for lesions is condensed
SKULL_MM = 6.0  # from the brain, where only a head goes on
NOTHING = 0.01  # of the brain's median
STRIPPED = 0.98  # of all that is farther away, nothing there


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


def room_facts(scan: Scan, affine: np.ndarray) -> dict[str, float]:
    """Share of each region in where lesions may be, by the atlas, as of the lesions.

    Args:
        scan: To which lesions are added.
        affine: Voxel to world in mm, 4 by 4.
    """
    free = scan.brain & ~scan.lesion_mask
    weight = np.cumsum((scan.eligible * free).numpy().ravel(), dtype=np.float64)
    places = np.searchsorted(weight, (np.arange(PLACES) + 0.5) / PLACES * weight[-1], side="right")
    observed = ObservedScan(scan.lesion_mask[0].numpy(), affine, scan.brain[0].numpy())
    points = np.stack(np.unravel_index(places, scan.shape), axis=1)
    found = lesion_regions(observed, replace(measure_lesions(observed), centroid=points))
    return {name: int((found == index).sum()) / PLACES for index, name in enumerate(REGIONS, start=1)}


def brain_box(scan: Scan) -> list[tuple[int, int]]:
    """First voxel of the brain along each axis, and that after the last."""
    return [(side.start, side.stop) for side in box_of(scan.brain[0].numpy())]


def is_skull_stripped(scan: Scan) -> bool:
    """Whether there is nothing around the brain, up to what interpolation leaves."""
    image, brain = scan.image[0].numpy(), scan.brain[0].numpy()
    far = image[~near(brain, SKULL_MM, scan.spacing_mm)]
    return bool((np.abs(far) <= NOTHING * np.abs(np.median(image[brain]))).mean() > STRIPPED) if far.size else False
