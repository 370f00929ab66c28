"""What is synthesised from and what is synthesised: frozen, plain data.

A `LesionPlan` is cheap, random and JSON-able; rendering it is expensive and pure. History, replay, the cache and
provenance records all hold a plan and nothing else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionaug.types import Mask, RegionMap, Volume, Weight

CHANNELS = ("flair", "t1w", "t2w")
"""Image contrasts the packaged models know, in BIDS spelling."""

REGIONS = ("periventricular", "juxtacortical", "infratentorial", "deep_white_matter")
"""Lesion regions of the 2017 McDonald criteria, and the rest of the white matter; `Scan.regions` holds index + 1."""


@dataclass(frozen=True)
class Scan:
    """A brain scan as the synthesiser sees it.

    Args:
        image: Intensities in any unit, shape `(channels, i, j, k)`.
        channels: Name of each channel, from `CHANNELS`.
        lesion_mask: Existing lesions, shape `(1, i, j, k)`.
        brain: Brain tissue and ventricles, shape `(1, i, j, k)`. Intensities are normalised over it.
        eligible: Relative probability that a lesion is centred here, shape `(1, i, j, k)`, not negative; lesion
            voxels are only placed where it is positive.
        regions: Index into `REGIONS` plus one, 0 elsewhere, shape `(1, i, j, k)`.
        spacing_mm: Voxel size along each axis.
    """

    image: Volume
    channels: tuple[str, ...]
    lesion_mask: Mask
    brain: Mask
    eligible: Weight
    regions: RegionMap
    spacing_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        i, j, k = self.image.shape[1:]
        return i, j, k

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return math.prod(self.spacing_mm)


@dataclass(frozen=True)
class LesionSpec:
    """One lesion to be: where, how large, how bright, and the seed of its noise.

    Args:
        center: Voxel index in the scan.
        diameter_mm: Diameter of the ball that has the full-grown lesion's volume.
        extent_mm: Diameter of the control sphere, which contains the lesion.
        contrast: `(channel, value)` pairs: mean lesion intensity minus that of the tissue around it, in units of
            the scan's robust scale (`lesionaug.intensity`).
        seed: Of this lesion alone.
        grown: Share of the volume that is there; the rest has not grown yet, or has gone.
        halo: Whether its partial volume around the label is painted.
        gate: Whether it is drawn again, or left out, where it turns out badly.
    """

    center: tuple[int, int, int]
    diameter_mm: float
    extent_mm: float
    contrast: tuple[tuple[str, float], ...]
    seed: int
    grown: float = 1.0
    halo: bool = False
    gate: bool = False

    @property
    def volume_mm3(self) -> float:
        """Volume of the full-grown lesion."""
        return math.pi / 6 * self.diameter_mm**3

    @classmethod
    def from_dict(cls, fields: dict) -> LesionSpec:
        """Inverse of `dataclasses.asdict`, also after a trip through JSON."""
        return cls(
            center=tuple(fields["center"]),
            diameter_mm=float(fields["diameter_mm"]),
            extent_mm=float(fields["extent_mm"]),
            contrast=tuple((channel, float(value)) for channel, value in fields["contrast"]),
            seed=int(fields["seed"]),
            grown=float(fields.get("grown", 1.0)),
            halo=bool(fields.get("halo", False)),
            gate=bool(fields.get("gate", False)),
        )


@dataclass(frozen=True)
class LesionPlan:
    """The lesions of one scan, in the order in which they are painted.

    Args:
        lesions: What is to be.
        overlap: Whether they may be painted over lesions that are there already.
    """

    lesions: tuple[LesionSpec, ...] = ()
    overlap: bool = False

    def __len__(self) -> int:
        return len(self.lesions)

    def __iter__(self) -> Iterator[LesionSpec]:
        return iter(self.lesions)

    def to_dict(self) -> dict:
        """Plain lists, numbers and strings."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, fields: dict) -> LesionPlan:
        """Inverse of `to_dict`."""
        lesions = tuple(LesionSpec.from_dict(lesion) for lesion in fields["lesions"])
        return cls(lesions, bool(fields.get("overlap", False)))
