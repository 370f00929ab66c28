"""What the synthesiser has to know of a brain."""

from __future__ import annotations

from dataclasses import dataclass

from lesionaug.types import Mask, RegionMap, Weight


@dataclass(frozen=True)
class Anatomy:
    """The anatomical part of a `lesionaug.scan.Scan`.

    Args:
        brain: Brain tissue and ventricles, shape `(1, i, j, k)`.
        eligible: Relative probability that a lesion is centred here, shape `(1, i, j, k)`; 0 where none may be.
        regions: Index into `lesionaug.scan.REGIONS` plus one, 0 elsewhere, shape `(1, i, j, k)`.
    """

    brain: Mask
    eligible: Weight
    regions: RegionMap
