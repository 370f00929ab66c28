"""What a user fixes of a plan, instead of leaving it to the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lesionaug.errors import LesionAugError
from lesionaug.scan import REGIONS

NUM_LESIONS = (1, 10)
"""Lesions that a scan gets where nothing else is asked for: an augmentation, not a patient."""

DIAMETER_MM = (3.0, 20.0)
"""From McDonald's least to what still is one lesion; what is larger in patients are several that grew together."""

MOST_ML = 150.0
"""Nearly three times the largest load of the patients at hand (53 ml, open_ms); more is a slip of the keyboard."""

OFF = 0.1
"""Share of the volume asked for that may be missing, or too much, without a word."""

PATIENTS = "patients"
"""Asks for as many lesions, and as large ones, as patients have."""


@dataclass(frozen=True)
class PlanOptions:
    """What the user fixes; `None` leaves it to the prior.

    Args:
        num_lesions: Number of lesions, or a `(low, high)` range to draw it from, 1 to 10 if nothing is given;
            `"patients"` draws whole patients' numbers and sizes, with confluent lesions, for healthy scans that are to
            look like patients'.
        load_ml: Total volume to add, 150 ml at most, or a range to draw it from; excludes `num_lesions`.
        diameter_mm: Range of the diameter of the ball of equal volume, 3 to 20 mm if not given. Smaller ones are noise
            of raters, and larger ones several that have grown together, as which they are drawn.
        regions: Names from `lesionaug.scan.REGIONS`, or one of them.
        contrast: Factor on the drawn contrast, or a range to draw it from.
        overlap: Whether new lesions may touch old ones.
        halo: Whether the partial volume of a lesion is painted around its label, as far as the blur of the scan says;
            without it no voxel outside new labels changes, and a classifier finds lesions by their sharp rims.
        gate: Whether a lesion that nobody could see, that darkens tissue in FLAIR, or that is no compact piece is drawn
            again, and left out if that does not help.

    Raises:
        LesionAugError: A value that cannot be meant.
    """

    num_lesions: int | tuple[int, int] | Literal["patients"] | None = None
    load_ml: float | tuple[float, float] | None = None
    diameter_mm: tuple[float, float] | None = None
    regions: str | tuple[str, ...] | None = None
    contrast: float | tuple[float, float] = 1.0
    overlap: bool = False
    halo: bool = True
    gate: bool = True

    @property
    def region_names(self) -> tuple[str, ...] | None:
        """Regions, also where one of them was given as a word."""
        return (self.regions,) if isinstance(self.regions, str) else self.regions

    def missed(self, got_ml: float) -> str | None:
        """Where the volume of the lesions that were made is off the one asked for by more than a tenth: what to say.

        Args:
            got_ml: Volume of the new label.
        """
        if self.load_ml is None:
            return None
        low, high = self.load_ml if isinstance(self.load_ml, tuple | list) else (self.load_ml, self.load_ml)
        if (1 - OFF) * low <= got_ml <= (1 + OFF) * high:
            return None
        asked = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        return f"Expected {asked} ml of new lesions, got {got_ml:.3g} ml"

    def __post_init__(self) -> None:
        """Check what was asked for."""
        if isinstance(self.regions, str):
            object.__setattr__(self, "regions", (self.regions,))  # the class is frozen
        if self.num_lesions is not None and self.load_ml is not None:
            raise LesionAugError("Expected num_lesions or load_ml, got both; leave one out")
        if self.num_lesions != PATIENTS:
            _check_range("num_lesions", self.num_lesions, "0 or more", lambda value: value >= 0 and int(value) == value)
        most = f"above 0 and up to {MOST_ML:g} (no patient comes near)"
        _check_range("load_ml", self.load_ml, most, lambda value: 0 < value <= MOST_ML)
        _check_range("diameter_mm", self.diameter_mm, "above 0", lambda value: value > 0)
        _check_range("contrast", self.contrast, "above 0", lambda value: value > 0)
        unknown = set(self.regions or ()) - set(REGIONS)
        if unknown or (self.regions is not None and not self.regions):
            got = ", ".join(sorted(unknown)) or "none"
            raise LesionAugError(f"Expected regions among {', '.join(REGIONS)}, got {got}; correct or leave out")


def _check_range(name: str, value, expected: str, valid) -> None:
    if value is None:
        return
    ends = tuple(value) if isinstance(value, tuple | list) else (value, value)
    numbers = all(isinstance(end, int | float) for end in ends)
    if not numbers or len(ends) != 2 or not all(valid(end) for end in ends) or ends[0] > ends[1]:
        raise LesionAugError(f"Expected {name} {expected}, or a (low, high) range of it, got {value}; correct it")
