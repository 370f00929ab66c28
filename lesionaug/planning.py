"""From a prior and a scan to a plan: sizes drawn by region, centres drawn where the lesion fits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from lesionaug.contrast import ContrastModel, ScanContrast, local_spread, scale_of
from lesionaug.distributions import uniform, uniform_between
from lesionaug.errors import LesionAugWarning
from lesionaug.gate import BRIGHT, FAINTEST
from lesionaug.intensity import Scale
from lesionaug.plan_options import DIAMETER_MM, NUM_LESIONS, PATIENTS, PlanOptions
from lesionaug.prior_tables import PriorTables
from lesionaug.room import AT_THE_WALL, Room, Size, Taken
from lesionaug.scan import CHANNELS, LesionPlan, LesionSpec, Scan

FAILURES = 25  # lesions in a row that did not fit, after which the scan counts as full
LARGEST_MM3 = math.pi / 6 * DIAMETER_MM[1] ** 3  # of one lesion; what is larger is composed of several
FOCUS_MM3 = (300.0, 2500.0)  # of the lesions that it is composed of
CONFLUENT_MM3 = 8000.0
"""Of the largest confluent lesion. Patients have larger ones, which wrap both ventricles: what cannot be drawn well is
not drawn."""
LOAD_REACHED = 0.95
CLEARLY = 1.15  # times the faintest that the gate lets through, as the tissue around is only known roughly here

Center = tuple[int, int, int]


def plan_lesions(prior: PriorTables, scan: Scan, generator: torch.Generator, options: PlanOptions) -> LesionPlan:
    """See `LesionPrior.sample`."""
    room = Room.of(scan, options)
    goal = _Goal.draw(prior, options, generator)
    if goal.reached(0, 0.0):
        return LesionPlan()
    looks = _Looks.of(prior, scan, options, generator)
    lesions: list[LesionSpec] = []
    for contrast, foci in _placed(prior, room, looks, goal, options, generator):
        pairs = tuple((channel, round(float(c), 4)) for channel, c in zip(scan.channels, contrast, strict=True))
        for size, center in foci:
            seed = int(torch.randint(2**63 - 1, (), generator=generator))
            spec = LesionSpec(center, size.diameter_mm, size.extent_mm, pairs, seed)
            lesions.append(replace(spec, halo=options.halo, gate=options.gate))
    return LesionPlan(tuple(lesions), overlap=options.overlap)


@dataclass(frozen=True)
class _Looks:
    """How bright the lesions of a scan are, and where a lesion so bright would be seen.

    Args:
        scan: Where they go.
        contrast: Of lesions in any scan.
        own: How lesions of this one differ.
        rows: Of `CHANNELS` that the scan has.
        factor: On every contrast.
        scale: Robust units of the scan.
        seen: Whether only places will do where the lesion would be seen.
    """

    scan: Scan
    contrast: ContrastModel
    own: ScanContrast
    rows: list[int]
    factor: float
    scale: Scale
    seen: bool

    @classmethod
    def of(cls, prior: PriorTables, scan: Scan, options: PlanOptions, generator: torch.Generator) -> _Looks:
        rows = [CHANNELS.index(channel) for channel in scan.channels]
        own = prior.contrast.draw_scan(scan, rows, generator)
        factor = uniform_between(options.contrast, generator)
        return cls(scan, prior.contrast, own, rows, factor, scale_of(scan), options.gate)

    def draw(self, sizes: Sequence[Size], generator: torch.Generator) -> np.ndarray:
        """Contrast of a lesion of so many foci; what has grown together is as bright as each other."""
        volume = sum(size.volume_mm3 for size in sizes)
        return self.factor * self.contrast.draw_lesion(volume, self.rows, self.own, generator)

    def stands_out(self, contrast: np.ndarray, size: Size, center: Center) -> bool:
        """Whether such a lesion would be seen at a place, by the first of the channels that show lesions.

        Places are drawn to suit the contrast and not the other way round: brightness stays what it is in patients.
        """
        channel = next(name for name in BRIGHT if name in self.scan.channels)
        index = self.scan.channels.index(channel)
        if not self.seen:
            return True
        spread = local_spread(self.scan, self.scale, center, size.diameter_mm / 2)[index]
        return bool(BRIGHT[channel] * contrast[index] >= CLEARLY * FAINTEST[channel] * spread)


@dataclass(frozen=True)
class _Goal:
    """When there are enough lesions: by number, or by volume.

    Args:
        count: Of lesions; confluent ones count as one.
        load_mm3: Their volume, instead.
    """

    count: int | None
    load_mm3: float | None

    @classmethod
    def draw(cls, prior: PriorTables, options: PlanOptions, generator: torch.Generator) -> _Goal:
        if options.load_ml is not None:
            return cls(None, 1000 * uniform_between(options.load_ml, generator))
        wanted = NUM_LESIONS if options.num_lesions is None else options.num_lesions
        if wanted == PATIENTS:
            return cls(round(prior.count.draw(generator)), None)
        if isinstance(wanted, tuple | list):
            low, high = wanted
            return cls(low + int(uniform(generator) * (high + 1 - low)), None)
        return cls(int(wanted), None)

    def reached(self, count: int, volume_mm3: float) -> bool:
        enough = self.count is not None and count >= self.count
        return enough or (self.load_mm3 is not None and volume_mm3 >= LOAD_REACHED * self.load_mm3)

    def largest_mm3(self, volume_mm3: float) -> float:
        """A larger lesion would make the load too large."""
        return math.inf if self.load_mm3 is None else self.load_mm3 - volume_mm3

    def warn(self, count: int, volume_mm3: float, smallest_mm3: float) -> None:
        """Say what was missed, and why."""
        if self.count is not None and count < self.count:
            warnings.warn(
                f"Expected to place {self.count} lesions, got room for {count}; ask for fewer or smaller ones",
                LesionAugWarning,
                stacklevel=5,
            )
        if self.load_mm3 is None or volume_mm3 >= 0.9 * self.load_mm3:
            return
        rest = self.load_mm3 - volume_mm3
        if rest < smallest_mm3:
            why = f"the rest is less than the smallest lesion asked for, {smallest_mm3:.3g} mm3; ask for smaller ones"
        else:
            why = "there is no room for more; ask for less"
        warnings.warn(
            f"Expected to place {self.load_mm3 / 1000:.3g} ml of lesions, got {volume_mm3 / 1000:.3g} ml: {why}",
            LesionAugWarning,
            stacklevel=5,
        )


def _placed(
    prior: PriorTables, room: Room, looks: _Looks, goal: _Goal, options: PlanOptions, generator: torch.Generator
) -> Iterator[tuple[np.ndarray, list[tuple[Size, Center]]]]:
    """Contrasts of lesions, and the foci that each is composed of, until the goal is reached or the scan is full.

    The largest are placed first, as long as there is room for them; what found none is drawn anew.
    """
    bounds, taken = _bounds_mm3(options), []
    count, volume, failures = 0, 0.0, 0
    while failures < FAILURES and (drawn := _drawn(prior, room, goal, (count, volume), bounds, generator)):
        for region, sizes in drawn:
            contrast = looks.draw(sizes, generator)
            foci = _foci(room, region, sizes, taken, partial(looks.stands_out, contrast, sizes[0]), generator)
            failures = 0 if foci else failures + 1
            if failures == FAILURES:
                break
            if foci:
                taken += [_taken(room, *focus) for focus in foci]
                count, volume = count + 1, volume + sum(size.volume_mm3 for size, _ in foci)
                yield contrast, foci
    goal.warn(count, volume, bounds[0])


def _bounds_mm3(options: PlanOptions) -> tuple[float, float]:
    """Volumes between which lesions are drawn."""
    low, high = options.diameter_mm or DIAMETER_MM
    whole_patients = options.num_lesions == PATIENTS and options.diameter_mm is None
    return math.pi / 6 * low**3, CONFLUENT_MM3 if whole_patients else math.pi / 6 * high**3


def _drawn(
    prior: PriorTables,
    room: Room,
    goal: _Goal,
    reached: tuple[int, float],
    bounds: tuple[float, float],
    generator: torch.Generator,
) -> list[tuple[int, list[Size]]]:
    """Regions and sizes of the lesions that are still missing, largest first; none where no size would help."""
    count, volume = reached
    drawn: list[tuple[float, int, list[Size]]] = []
    while not goal.reached(count, volume):
        region = room.draw_region(prior.region_share, generator)
        whole = draw_volume(prior, region, bounds, goal.largest_mm3(volume), generator)
        if whole is None:
            break
        if whole > LARGEST_MM3 and len(room.places[AT_THE_WALL]):
            region = AT_THE_WALL  # where lesions of patients grow together
        drawn.append((whole, region, [_size(prior, part, generator) for part in _parts(whole, generator)]))
        count, volume = count + 1, volume + whole
    return [(region, sizes) for _, region, sizes in sorted(drawn, key=lambda one: -one[0])]


def draw_volume(
    prior: PriorTables,
    region: int,
    bounds: tuple[float, float],
    largest_mm3: float,
    generator: torch.Generator,
) -> float | None:
    """Volume in mm3 within bounds; none where they leave nothing.

    Args:
        prior: Knows the sizes.
        region: Index into `REGIONS`.
        bounds: Asked for, in mm3.
        largest_mm3: Bound from the load that is still missing.
        generator: Source of all randomness.
    """
    low, high = bounds[0], min(bounds[1], largest_mm3)
    if high < low:
        return None
    return math.exp(prior.log_volume[region].draw(generator, math.log(low), math.log(high)))


def _parts(volume_mm3: float, generator: torch.Generator) -> list[float]:
    """Volumes of the foci of a lesion; one, unless it is confluent."""
    if volume_mm3 <= LARGEST_MM3:
        return [volume_mm3]
    parts, rest = [], volume_mm3
    while rest > FOCUS_MM3[1]:
        low, high = FOCUS_MM3
        parts.append(math.exp(uniform_between((math.log(low), math.log(high)), generator)))
        rest -= parts[-1]
    return sorted([*parts, rest], reverse=True)


def _size(prior: PriorTables, volume_mm3: float, generator: torch.Generator) -> Size:
    ball_mm = (6 * volume_mm3 / math.pi) ** (1 / 3)
    stretch = math.exp(prior.log_stretch.draw(math.log(volume_mm3), generator))
    return Size(volume_mm3, min(ball_mm * stretch, max(ball_mm, prior.max_extent_mm)))


def _foci(
    room: Room,
    region: int,
    sizes: list[Size],
    taken: list[Taken],
    suits: Callable[[Center], bool],
    generator: torch.Generator,
) -> list[tuple[Size, Center]]:
    """Where the foci of a lesion go: the first where it suits, the others beside it; as many as fit."""
    first = room.draw_center(region, sizes[0], taken, suits, generator)
    if first is None:
        return []
    foci = [(sizes[0], first)]
    for size in sizes[1:]:
        group = [_taken(room, *focus) for focus in foci]
        center = room.draw_neighbour(region, size, group, taken, generator)
        if center is not None:
            foci.append((size, center))
    return foci


def _taken(room: Room, size: Size, center: Center) -> Taken:
    return Taken(np.asarray(center) * room.spacing_mm, size.diameter_mm / 2)
