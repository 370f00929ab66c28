"""How many lesions, how large, where and how bright: fitted from masks, loaded, sampled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lesionaug.contrast import ContrastModel
from lesionaug.distributions import ConditionalQuantiles, Quantiles
from lesionaug.errors import LesionAugError
from lesionaug.scan import REGIONS, LesionPlan, Scan

if TYPE_CHECKING:
    import torch

    from lesionaug.prior_fit import ObservedScan

VERSION = 1


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
        halo: Whether the partial volume of a lesion may be painted around its label, as it lies around real ones.
            Without it no voxel outside new labels changes, and lesions end too sharply, above all in blurred scans.

    Raises:
        LesionAugError: A value that cannot be meant.
    """

    num_lesions: int | tuple[int, int] | None = None
    load_ml: float | tuple[float, float] | None = None
    diameter_mm: tuple[float, float] | None = None
    regions: tuple[str, ...] | None = None
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


@dataclass(frozen=True)
class LesionPrior:
    """What is known of lesions before a scan is seen; where they go is the scan's eligible map.

    Args:
        count: Lesions per scan.
        log_volume: Natural logarithm of the volume in mm3, for each of `REGIONS` that a lesion is centred in.
        log_stretch: Logarithm of control sphere's over equal-volume ball's diameter, given the log volume.
        contrast: How bright.
        max_extent_mm: Control spheres that would be larger are drawn so large; their lesions keep their volumes.
        source: What it was fitted from.
    """

    count: Quantiles
    log_volume: tuple[Quantiles, ...]
    log_stretch: ConditionalQuantiles
    contrast: ContrastModel
    max_extent_mm: float = 100.0
    source: str = ""

    @property
    def digest(self) -> str:
        """Of everything a sample depends on."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict:
        """Plain lists, numbers and strings."""
        return json.loads(json.dumps({"version": VERSION, **asdict(self)}))

    @classmethod
    def from_dict(cls, fields: dict) -> LesionPrior:
        """Inverse of `to_dict`."""
        stretch, contrast = fields["log_stretch"], fields["contrast"]
        return cls(
            count=_quantiles(fields["count"]),
            log_volume=tuple(_quantiles(table) for table in fields["log_volume"]),
            log_stretch=ConditionalQuantiles(
                tuple(stretch["knots"]), tuple(_quantiles(table) for table in stretch["quantiles"])
            ),
            contrast=ContrastModel(
                mean=tuple(contrast["mean"]),
                slope=tuple(contrast["slope"]),
                between=tuple(tuple(row) for row in contrast["between"]),
                within=tuple(tuple(row) for row in contrast["within"]),
            ),
            max_extent_mm=float(fields["max_extent_mm"]),
            source=fields["source"],
        )

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        text = json.dumps(self.to_dict(), indent=1)
        Path(path).write_text(text + "\n")

    @classmethod
    def load(cls, path: str | Path | None = None) -> LesionPrior:
        """Read what `save` wrote; the packaged prior where no path is given.

        Raises:
            LesionAugError: The file is missing or no prior.
        """
        path = Path(str(files("lesionaug") / "assets" / "prior" / "prior.json")) if path is None else Path(path)
        try:
            fields = json.loads(path.read_text())
            if fields["version"] != VERSION:
                raise LesionAugError(f"Expected a prior of version {VERSION}, got {fields['version']}; fit it again")
            return cls.from_dict(fields)
        except FileNotFoundError:
            message = f"Expected a prior at {path}, got no file; fit one with `lesionaug prior fit`"
            raise LesionAugError(message) from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise LesionAugError(
                f"Expected a prior as `lesionaug prior fit` writes it, got {path} ({error}); fit it again"
            ) from None

    @classmethod
    def fit(
        cls,
        masks: Sequence[str | Path | ObservedScan],
        imaged: Sequence[ObservedScan] = (),
        source: str = "",
    ) -> LesionPrior:
        """Fit to delineated lesions; see `lesionaug.prior_fit.fit_prior`."""
        from lesionaug.prior_fit import fit_prior

        return fit_prior(masks, imaged, source)

    def sample(self, scan: Scan, generator: torch.Generator, options: PlanOptions | None = None) -> LesionPlan:
        """Draw the lesions of one scan.

        Args:
            scan: Where they are to go.
            generator: On the CPU; all that is random comes from it.
            options: What is not left to the prior.

        Raises:
            LesionAugError: No voxel of the scan may hold a lesion.

        Warns:
            LesionAugWarning: Not all lesions fit.
        """
        from lesionaug.planning import plan_lesions

        return plan_lesions(self, scan, generator, options or PlanOptions())


def _quantiles(fields: dict) -> Quantiles:
    return Quantiles(tuple(float(value) for value in fields["values"]))
