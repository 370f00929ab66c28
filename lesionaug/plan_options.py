"""What a user fixes of a plan, instead of leaving it to the prior."""

from __future__ import annotations

from dataclasses import dataclass

from lesionaug.errors import LesionAugError
from lesionaug.scan import REGIONS


@dataclass(frozen=True)
class PlanOptions:
    """What the user fixes; `None` leaves it to the prior.

    Args:
        num_lesions: Number of lesions, or a `(low, high)` range to draw it from.
        load_ml: Total volume to add, or a range to draw it from; excludes `num_lesions`.
        diameter_mm: Range of the diameter of the ball of equal volume.
        regions: Names from `lesionaug.scan.REGIONS`, or one of them.
        contrast: Factor on the drawn contrast, or a range to draw it from.
        overlap: Whether new lesions may touch old ones.
        halo: Whether the partial volume of a lesion may be painted around its label, as it lies around real ones.
            Without it no voxel outside new labels changes, and lesions end too sharply, above all in blurred scans.

    Raises:
        LesionAugError: A value that cannot be meant.
    """

    num_lesions: int | tuple[int, int] | None = None
    load_ml: float | tuple[float, float] | None = None
    diameter_mm: tuple[float, float] | None = None
    regions: tuple[str, ...] | str | None = None
    contrast: float | tuple[float, float] = 1.0
    overlap: bool = False
    halo: bool = False

    def __post_init__(self) -> None:
        """Check what was asked for."""
        if self.num_lesions is not None and self.load_ml is not None:
            raise LesionAugError("Expected num_lesions or load_ml, got both; leave one out")
        _check_range("num_lesions", self.num_lesions, "0 or more", lambda value: value >= 0 and int(value) == value)
        _check_range("load_ml", self.load_ml, "above 0", lambda value: value > 0)
        _check_range("diameter_mm", self.diameter_mm, "above 0", lambda value: value > 0)
        _check_range("contrast", self.contrast, "above 0", lambda value: value > 0)
        if isinstance(self.regions, str):
            object.__setattr__(self, "regions", (self.regions,))  # the class is frozen
        unknown = set(self.regions or ()) - set(REGIONS)
        if unknown or (self.regions is not None and not self.regions):
            got = ", ".join(sorted(unknown)) or "none"
            raise LesionAugError(f"Expected regions among {', '.join(REGIONS)}, got {got}; correct or leave out")


def _check_range(name: str, value, expected: str, valid) -> None:
    if value is None:
        return
    ends = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(ends) != 2 or not all(valid(end) for end in ends) or ends[0] > ends[1]:
        raise LesionAugError(f"Expected {name} {expected}, or a (low, high) range of it, got {value}; correct it")
