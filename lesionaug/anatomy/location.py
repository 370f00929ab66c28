"""How likely a lesion is centred in a voxel, given that it is white matter."""

from __future__ import annotations

import numpy as np

FLOOR = 0.003  # of the largest rate: white matter where the atlas has seen no lesion
PARTIAL = 0.15  # added to the probability of white matter, so that its tails do not blow the rate up
WALL_MM, WALL_RATE = (0.5, 1.5, 2.5, 4.0, 6.0, 9.0, 20.0, 30.0), (4.0, 2.6, 1.9, 1.7, 1.25, 1.0, 1.0, 0.7)
"""What the blur of the atlas hides: by how much lesions are more frequent at these distances from the ventricles than
the atlas says. Ratio of two densities in the ICBM template: centres of 1,913 cerebral lesions of 14 mm3 to 4.2 ml of
the lesion database (`CARD.md` of the prior), and its white matter weighted by the atlas; smoothed by hand."""


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
    near = np.interp(to_ventricles_mm, WALL_MM, WALL_RATE)
    return rate * np.where(infratentorial, 1.0, near) * (1 - maps["deep_grey"]) ** 3
