"""From a prior and a scan to a plan: sizes drawn by region, centres drawn where the lesion fits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from lesionaug.distributions import uniform, uniform_between
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.plan_options import PlanOptions
from lesionaug.prior_tables import PriorTables
from lesionaug.scan import CHANNELS, REGIONS, LesionPlan, LesionSpec, Scan
from lesionaug.types import Mask, RegionMap

TRIES = 40  # centres tried per lesion
FAILURES = 25  # lesions in a row that did not fit, after which the scan counts as full
GAP_MM = 1.0  # between lesions
ROOM = 1.2  # of the lesion's volume that must be allowed within its control sphere
MIN_MM3 = 1.0


@dataclass(frozen=True)
class Size:
    """Volume and control sphere of one lesion."""

    volume_mm3: float
    extent_mm: float

    @property
    def diameter_mm(self) -> float:
        """Of the ball of equal volume."""
        return (6 * self.volume_mm3 / math.pi) ** (1 / 3)


def plan_lesions(prior: PriorTables, scan: Scan, generator: torch.Generator, options: PlanOptions) -> LesionPlan:
    """See `LesionPrior.sample`."""
    room = Room.of(scan, options)
    rows = [CHANNELS.index(channel) for channel in scan.channels]
    goal = _Goal.draw(prior, options, generator)
    if goal.reached(0, 0.0):
        return LesionPlan()
    offset = prior.contrast.draw_scan(scan, rows, generator)
    factor = uniform_between(options.contrast, generator)
    lesions: list[LesionSpec] = []
    for size, center in _placed(prior, room, goal, options, generator):
        contrast = factor * prior.contrast.draw_lesion(size.volume_mm3, rows, offset, generator)
        pairs = tuple((channel, round(float(c), 4)) for channel, c in zip(scan.channels, contrast, strict=True))
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        lesions.append(LesionSpec(center, size.diameter_mm, size.extent_mm, pairs, seed, halo=options.halo))
    goal.warn(lesions)
    return LesionPlan(tuple(lesions), overlap=options.overlap)


@dataclass(frozen=True)
class _Goal:
    """When there are enough lesions: by number, or by volume."""

    count: int | None
    load_mm3: float | None

    @classmethod
    def draw(cls, prior: PriorTables, options: PlanOptions, generator: torch.Generator) -> _Goal:
        if options.load_ml is not None:
            return cls(None, 1000 * uniform_between(options.load_ml, generator))
        wanted = options.num_lesions
        if isinstance(wanted, tuple | list):
            low, high = wanted
            return cls(low + int(uniform(generator) * (high + 1 - low)), None)
        return cls(round(prior.count.draw(generator)) if wanted is None else int(wanted), None)

    def reached(self, count: int, volume_mm3: float) -> bool:
        enough = self.count is not None and count >= self.count
        return enough or (self.load_mm3 is not None and volume_mm3 >= self.load_mm3)

    def largest_mm3(self, volume_mm3: float) -> float:
        """A larger lesion would miss the load by more than leaving it out."""
        return math.inf if self.load_mm3 is None else 2 * (self.load_mm3 - volume_mm3)

    def warn(self, lesions: list[LesionSpec]) -> None:
        if self.count is not None and len(lesions) < self.count:
            warnings.warn(
                f"Expected to place {self.count} lesions, got room for {len(lesions)}; ask for fewer or smaller ones",
                LesionAugWarning,
                stacklevel=4,
            )
        load = sum(lesion.volume_mm3 for lesion in lesions)
        if self.load_mm3 is not None and load < 0.9 * self.load_mm3 and self.load_mm3 - load > 50:
            warnings.warn(
                f"Expected to place {self.load_mm3 / 1000:.3g} ml of lesions, got room for {load / 1000:.3g} ml; "
                "ask for less",
                LesionAugWarning,
                stacklevel=4,
            )


def _placed(
    prior: PriorTables, room: Room, goal: _Goal, options: PlanOptions, generator: torch.Generator
) -> Iterator[tuple[Size, tuple[int, int, int]]]:
    """Lesions and their centres until the goal is reached or the scan is full.

    The largest are placed first, as long as there is room for them; what found none is drawn anew.
    """
    taken: list[tuple[np.ndarray, float]] = []
    count, volume, failures = 0, 0.0, 0
    while drawn := _drawn(prior, room, goal, (count, volume), options, generator):
        for region, size in sorted(drawn, key=lambda pair: -pair[1].volume_mm3):
            if failures == FAILURES:
                return
            center = room.draw_center(region, size, taken, generator)
            failures = 0 if center else failures + 1
            if center is None:
                continue
            taken.append((np.asarray(center) * room.spacing_mm, size.diameter_mm / 2))
            count, volume = count + 1, volume + size.volume_mm3
            yield size, center


def _drawn(
    prior: PriorTables,
    room: Room,
    goal: _Goal,
    reached: tuple[int, float],
    options: PlanOptions,
    generator: torch.Generator,
) -> list[tuple[int, Size]]:
    """Regions and sizes of the lesions that are still missing; none where no size is left that would help."""
    count, volume = reached
    drawn: list[tuple[int, Size]] = []
    while not goal.reached(count, volume):
        region = room.draw_region(generator)
        size = draw_size(prior, region, options.diameter_mm, goal.largest_mm3(volume), generator)
        if size is None:
            break
        drawn.append((region, size))
        count, volume = count + 1, volume + size.volume_mm3
    return drawn


def draw_size(
    prior: PriorTables,
    region: int,
    diameter_mm: tuple[float, float] | None,
    largest_mm3: float,
    generator: torch.Generator,
) -> Size | None:
    """Volume within bounds and its control sphere; none where the bounds leave nothing.

    Args:
        prior: Knows the sizes.
        region: Index into `REGIONS`.
        diameter_mm: Range asked for.
        largest_mm3: Bound from the load that is still missing.
        generator: Source of all randomness.
    """
    low, high = (math.pi / 6 * d**3 for d in diameter_mm) if diameter_mm else (MIN_MM3, math.inf)
    high = min(high, largest_mm3)
    table = prior.log_volume[region]
    if high < low or (diameter_mm is None and math.log(high) < table.values[0]):
        return None
    volume = math.exp(table.draw(generator, math.log(low), math.log(high)))
    stretch = math.exp(prior.log_stretch.draw(math.log(volume), generator))
    ball_mm = (6 * volume / math.pi) ** (1 / 3)
    return Size(volume, min(ball_mm * stretch, max(ball_mm, prior.max_extent_mm)))


@dataclass(frozen=True)
class Room:
    """Where lesions may be centred, and what is in their way.

    Args:
        allowed: Voxels that lesions may use, shape `(i, j, k)`.
        places: Possible centres of each region, as indices into the flattened scan.
        cumulative: Running sum of their weights.
        old: Positions of old lesions' voxels in mm, or none.
        spacing_mm: Voxel size.
    """

    allowed: np.ndarray
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
        if options.regions is not None:
            chosen = [c if name in options.regions else c[:0] for name, c in zip(REGIONS, chosen, strict=True)]
        if not any(len(c) for c in chosen):
            where = "" if options.regions is None else f" in {', '.join(options.regions)}"
            raise LesionAugError(f"Expected eligible voxels{where}, got none; check the eligible map or the regions")
        return cls(
            allowed=allowed,
            places=tuple(places[c] for c in chosen),
            cumulative=tuple(np.cumsum(weights[c]) for c in chosen),
            old=None if options.overlap else _positions(scan),
            spacing_mm=np.asarray(scan.spacing_mm, float),
        )

    def draw_region(self, generator: torch.Generator) -> int:
        """Index into `REGIONS`, in proportion to the weight of its voxels."""
        totals = np.cumsum([c[-1] if len(c) else 0.0 for c in self.cumulative])
        return int(np.searchsorted(totals, uniform(generator) * totals[-1], side="right"))

    def draw_center(
        self, region: int, size: Size, taken: list[tuple[np.ndarray, float]], generator: torch.Generator
    ) -> tuple[int, int, int] | None:
        """A voxel of the region around which the lesion fits, or none in a bounded number of tries."""
        cumulative = self.cumulative[region]
        for _ in range(TRIES):
            index = int(np.searchsorted(cumulative, uniform(generator) * cumulative[-1], side="right"))
            voxel = np.array(np.unravel_index(self.places[region][index], self.allowed.shape))
            if self._is_free(voxel * self.spacing_mm, size, taken) and self._has_room(voxel, size):
                i, j, k = voxel.tolist()
                return i, j, k
        return None

    def _is_free(self, position: np.ndarray, size: Size, taken: list[tuple[np.ndarray, float]]) -> bool:
        reach = size.diameter_mm / 2 + GAP_MM
        if any(np.linalg.norm(position - other) <= reach + radius for other, radius in taken):
            return False
        return self.old is None or bool(self.old.query(position, distance_upper_bound=reach)[0] > reach)

    def _has_room(self, voxel: np.ndarray, size: Size) -> bool:
        """Whether the control sphere holds enough allowed voxels; those it touches count, as voxels may be coarse."""
        radius = size.extent_mm / 2 + self.spacing_mm.max() / 2
        reach = np.ceil(radius / self.spacing_mm).astype(int)
        low, high = np.maximum(voxel - reach, 0), np.minimum(voxel + reach + 1, self.allowed.shape)
        axes = [(np.arange(a, b) - c) * s for a, b, c, s in zip(low, high, voxel, self.spacing_mm, strict=True)]
        distance2 = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2
        inside = self.allowed[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] & (distance2 <= radius**2)
        return inside.sum() * self.spacing_mm.prod() >= ROOM * size.volume_mm3


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


def _positions(scan: Scan) -> cKDTree | None:
    """Old lesions' voxels in mm."""
    voxels = np.flatnonzero(scan.lesion_mask[0].numpy())
    if not len(voxels):
        return None
    return cKDTree(np.stack(np.unravel_index(voxels, scan.shape), axis=1) * np.asarray(scan.spacing_mm))
