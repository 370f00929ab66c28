"""What is known of lesions before a scan is seen: how many, how large, how bright. Plain numbers, to and from JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Self

from lesionaug.contrast import ContrastModel
from lesionaug.distributions import ConditionalQuantiles, Quantiles

VERSION = 2


@dataclass(frozen=True)
class PriorTables:
    """Distributions of what a plan draws; where lesions go is the scan's eligible map.

    Args:
        count: Lesions per scan.
        region_share: Share of lesions of 3 mm and more in each of `REGIONS`.
        log_volume: Natural logarithm of the volume in mm3, for each of `REGIONS` that a lesion is centred in.
        log_stretch: Logarithm of control sphere's over equal-volume ball's diameter, given the log volume.
        contrast: How bright.
        max_extent_mm: Control spheres that would be larger are drawn so large; their lesions keep their volumes.
        source: What it was fitted from.
    """

    count: Quantiles
    region_share: tuple[float, ...]
    log_volume: tuple[Quantiles, ...]
    log_stretch: ConditionalQuantiles
    contrast: ContrastModel
    max_extent_mm: float = 42.0
    source: str = ""

    @property
    def digest(self) -> str:
        """Of everything a sample depends on."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict:
        """Plain lists, numbers and strings."""
        return json.loads(json.dumps({"version": VERSION, **asdict(self)}))

    @classmethod
    def from_dict(cls, fields: dict) -> Self:
        """Inverse of `to_dict`."""
        stretch, contrast = fields["log_stretch"], fields["contrast"]
        return cls(
            count=_quantiles(fields["count"]),
            region_share=tuple(float(share) for share in fields["region_share"]),
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


def _quantiles(fields: dict) -> Quantiles:
    return Quantiles(tuple(float(value) for value in fields["values"]))
