"""How likely a lesion is centred in a voxel, given that it is white matter."""

from __future__ import annotations

import numpy as np

FLOOR = 0.003  # of the largest rate: white matter where the atlas has seen no lesion
PARTIAL = 0.15  # added to the probability of white matter, so that its tails do not blow the rate up


def location_weight(maps: dict[str, np.ndarray]) -> np.ndarray:
    """Density of lesions over the probability of white matter, by Bayes' rule; no tissue of the scan is used."""
    return maps["lesions"] / (maps["white"] + PARTIAL) + FLOOR
