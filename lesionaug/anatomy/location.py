"""How likely a lesion is centred in a voxel, given that it is white matter."""

from __future__ import annotations

import numpy as np

FLOOR = 0.003  # of the largest rate: white matter where the atlas has seen no lesion
PARTIAL = 0.15  # added to the probability of white matter, so that its tails do not blow the rate up
WALL_MM, WALL_RATE = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def location_weight(
    maps: dict[str, np.ndarray], to_ventricles_mm: np.ndarray, infratentorial: np.ndarray
) -> np.ndarray:
    """Density of lesions over the probability of white matter, by Bayes' rule; no tissue of the scan is used.

    Args:
        maps: Of the atlas.
        to_ventricles_mm: Distance to the ventricles of the cerebrum.
        infratentorial: Brainstem and cerebellum.
    """
    rate = maps["lesions"] / (maps["white"] + PARTIAL) + FLOOR
    wall = np.where(infratentorial, 1.0, np.interp(to_ventricles_mm, WALL_MM, WALL_RATE))
    return rate * wall * (1 - maps["deep_grey"]) ** 2
