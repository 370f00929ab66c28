"""Where in a scan lesions have room: centres drawn by region, away from what is there already."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from lesionaug.distributions import uniform
from lesionaug.errors import LesionAugError
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import REGIONS, Scan
from lesionaug.types import Mask, RegionMap

TRIES = 40  # centres tried per lesion
GAP_MM = 1.0  # between lesions
ROOM = 1.5  # of the lesion's volume that must be allowed within its control sphere
MERGE = (0.55, 0.85)  # of the sum of two radii: so far apart are the centres of lesions that have grown together
AT_THE_WALL = REGIONS.index("periventricular")  # where a lesion touches what is no tissue: the wall of a ventricle
CORE = 0.8  # of the ball of its volume that must be; a thin strand of white matter would make a wire of it


@dataclass(frozen=True)
class Size:
    """Volume and control sphere of one lesion."""

    volume_mm3: float
    extent_mm: float

    @property
    def diameter_mm(self) -> float:
        """Of the ball of equal volume."""
        return (6 * self.volume_mm3 / math.pi) ** (1 / 3)


@dataclass(frozen=True)
class Taken:
    """A place that a lesion of the plan has: its centre in mm, and the radius of the ball of its volume."""

    position: np.ndarray
    radius_mm: float


@dataclass(frozen=True)
class Room:
    """Where lesions may be centred, and what is in their way.

    Args:
        allowed: Voxels that lesions may use, shape `(i, j, k)`.
        other: Brain that is no tissue for lesions and no lesion: fluid and grey matter.
        places: Possible centres of each region, as indices into the flattened scan.
        cumulative: Running sum of their weights.
        old: Positions of old lesions' voxels in mm, or none.
        spacing_mm: Voxel size.
    """

    allowed: np.ndarray
    other: np.ndarray
    places: tuple[np.ndarray, ...]
    cumulative: tuple[np.ndarray, ...]
    old: cKDTree | None
    spacing_mm: np.ndarray

    @classmethod
    def of(cls, scan: Scan, options: PlanOptions) -> Room:
        """Room of a scan.

        Raises:
            LesionAugError: There is none.
        """
        allowed = ((scan.eligible > 0) & scan.brain)[0].numpy()
        if not options.overlap:
            allowed &= ~scan.lesion_mask[0].numpy()
        places = np.flatnonzero(allowed)
        weights = scan.eligible[0].reshape(-1).numpy()[places].astype(float)
        regions = known_regions(scan.regions)[0].reshape(-1).numpy()[places]
        chosen = [np.flatnonzero(regions == index + 1) for index in range(len(REGIONS))]
        if options.region_names is not None:
            chosen = [c if name in options.region_names else c[:0] for name, c in zip(REGIONS, chosen, strict=True)]
        if not any(len(c) for c in chosen):
            where = "" if options.region_names is None else f" in {', '.join(options.region_names)}"
            raise LesionAugError(f"Expected eligible voxels{where}, got none; check the eligible map or the regions")
        return cls(
            allowed=allowed,
            other=((scan.eligible == 0) & scan.brain & ~scan.lesion_mask)[0].numpy(),
            places=tuple(places[c] for c in chosen),
            cumulative=tuple(np.cumsum(weights[c]) for c in chosen),
            old=None if options.overlap else _positions(scan),
            spacing_mm=np.asarray(scan.spacing_mm, float),
        )

    def draw_region(self, shares: Sequence[float], generator: torch.Generator) -> int:
        """Index into `REGIONS`.

        Args:
            shares: Of lesions that each region has, where there is any place in it.
            generator: Source of all randomness.
        """
        totals = np.cumsum([share * bool(len(places)) for share, places in zip(shares, self.places, strict=True)])
        return int(np.searchsorted(totals, uniform(generator) * totals[-1], side="right"))

    def draw_center(
        self,
        region: int,
        size: Size,
        taken: Sequence[Taken],
        suits: Callable[[tuple[int, int, int]], bool],
        generator: torch.Generator,
    ) -> tuple[int, int, int] | None:
        """A voxel of the region around which the lesion fits and that suits, or none in a bounded number of tries."""
        for _ in range(TRIES):
            voxel = self._draw_voxel(self.places[region], self.cumulative[region], generator)
            if region == AT_THE_WALL and not self._in_ball(self.other, voxel, size.diameter_mm / 2):
                continue
            free = self._is_free(voxel * self.spacing_mm, size, taken) and self._has_room(voxel, size)
            if free and suits(_triple(voxel)):
                return _triple(voxel)
        return None

    def draw_neighbour(
        self, region: int, size: Size, group: Sequence[Taken], others: Sequence[Taken], generator: torch.Generator
    ) -> tuple[int, int, int] | None:
        """A voxel around which a lesion grows together with one of a group, and with no other.

        Args:
            region: Of the group.
            size: Of the lesion.
            group: What it is to join.
            others: What it is to keep away from.
            generator: Source of all randomness.
        """
        places = self._beside(self.places[region], size, group)
        if not len(places):
            return None
        even = np.arange(1.0, len(places) + 1)
        for _ in range(TRIES):
            voxel = self._draw_voxel(places, even, generator)
            if self._is_free(voxel * self.spacing_mm, size, others) and self._has_room(voxel, size):
                return _triple(voxel)
        return None

    def _draw_voxel(self, places: np.ndarray, cumulative: np.ndarray, generator: torch.Generator) -> np.ndarray:
        index = int(np.searchsorted(cumulative, uniform(generator) * cumulative[-1], side="right"))
        return np.array(np.unravel_index(places[index], self.allowed.shape))

    def _beside(self, places: np.ndarray, size: Size, group: Sequence[Taken]) -> np.ndarray:
        """Those of the places that overlap one lesion of a group, but are not in the middle of any."""
        positions = np.stack(np.unravel_index(places, self.allowed.shape), axis=1) * self.spacing_mm
        apart = [
            np.linalg.norm(positions - one.position, axis=1) / (one.radius_mm + size.diameter_mm / 2) for one in group
        ]
        nearest = np.min(apart, axis=0)
        return places[(nearest > MERGE[0]) & (nearest < MERGE[1])]

    def _is_free(self, position: np.ndarray, size: Size, taken: Sequence[Taken]) -> bool:
        reach = size.diameter_mm / 2 + GAP_MM
        if any(np.linalg.norm(position - other.position) <= reach + other.radius_mm for other in taken):
            return False
        return self.old is None or bool(self.old.query(position, distance_upper_bound=reach)[0] > reach)

    def _has_room(self, voxel: np.ndarray, size: Size) -> bool:
        """Whether there is enough allowed tissue in the control sphere, and in the ball of the lesion's volume."""
        core, whole = (self._in_ball(self.allowed, voxel, mm / 2) for mm in (size.diameter_mm, size.extent_mm))
        return core >= CORE * size.volume_mm3 and whole >= ROOM * size.volume_mm3

    def _in_ball(self, mask: np.ndarray, voxel: np.ndarray, radius_mm: float) -> float:
        """Volume of a mask in a ball; voxels that it touches count, as they may be coarse."""
        radius = radius_mm + self.spacing_mm.max() / 2
        reach = np.ceil(radius / self.spacing_mm).astype(int)
        low, high = np.maximum(voxel - reach, 0), np.minimum(voxel + reach + 1, self.allowed.shape)
        axes = [(np.arange(a, b) - c) * s for a, b, c, s in zip(low, high, voxel, self.spacing_mm, strict=True)]
        distance2 = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
        inside = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] & (distance2 <= radius**2)
        return float(inside.sum() * self.spacing_mm.prod())


def known_regions(regions: RegionMap) -> RegionMap:
    """Regions of a scan, in which what is eligible by the user's own map alone counts as the last one."""
    return regions.masked_fill(regions == 0, len(REGIONS))


def in_regions(regions: RegionMap, names: Sequence[str]) -> Mask:
    """Where lesions of these regions may be centred.

    Args:
        regions: Of a scan.
        names: From `REGIONS`.
    """
    return torch.isin(known_regions(regions), torch.tensor([REGIONS.index(name) + 1 for name in names]))


def _triple(voxel: np.ndarray) -> tuple[int, int, int]:
    i, j, k = voxel.tolist()
    return i, j, k


def _positions(scan: Scan) -> cKDTree | None:
    """Old lesions' voxels in mm."""
    voxels = np.flatnonzero(scan.lesion_mask[0].numpy())
    if not len(voxels):
        return None
    return cKDTree(np.stack(np.unravel_index(voxels, scan.shape), axis=1) * np.asarray(scan.spacing_mm))
