"""How many lesions, how large, where and how bright: fitted from masks, loaded, sampled. (Being written.)"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlanOptions:
    """What the user fixes instead of leaving it to the prior; `None` leaves it there.

    Args:
        num_lesions: Number of lesions, or a `(low, high)` range to draw it from.
        load_ml: Total volume to add, or a range to draw it from; excludes `num_lesions`.
        diameter_mm: Range of the diameter of the ball of equal volume.
        regions: Names from `lesionaug.scan.REGIONS`.
        contrast: Factor on the drawn contrast, or a range to draw it from.
        overlap: Whether new lesions may touch old ones.
    """

    num_lesions: int | tuple[int, int] | None = None
    load_ml: float | tuple[float, float] | None = None
    diameter_mm: tuple[float, float] | None = None
    regions: tuple[str, ...] | None = None
    contrast: float | tuple[float, float] = 1.0
    overlap: bool = False


class LesionPrior:
    """Being written."""
