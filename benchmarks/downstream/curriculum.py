"""More synthetic lesions of the sizes and in the regions that the network misses while it learns.

    bank of single lesions ──► drawn by weight ──► training case
             │                      ▲
             └─ held ones ──► shown to the network: recall by size, recall by region

The held lesions are never trained on. When the network is worse at them and at the case's own lesions than it was,
twice in a row, weights go back to even and stay there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.downstream.cases import Case
from benchmarks.downstream.changes import Variants, applied
from benchmarks.downstream.lesions import BINS_MM3, ENOUGH
from benchmarks.downstream.scores import dice
from lesionaug.scan import REGIONS, Scan
from lesionaug.variants import VoxelChange

Array = np.ndarray
Find = Callable[[Case], Bool[Array, "i j k"]]
"""A network in the middle of its training."""

LEAST = 0.1
"""Weight of what is never missed, where that of what is always missed is 1."""
WORSE = 0.03
"""Points of Dice by which a held score is worse than the best one so far."""


@dataclass(frozen=True)
class Curriculum:
    """Lesions from a bank, as a `Change`; all are equally likely until a `Course` learns otherwise.

    Args:
        bank: Sets of one lesion each.
        num_lesions: Range of lesions that are added.
        probability: That a case gets any.
        held: How many of a case's bank are kept from training, to see what the network misses.
    """

    bank: Variants
    num_lesions: tuple[int, int]
    probability: float
    held: int

    def __call__(self, case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
        """See `Change`."""
        return self.course()(case, cases, rng)

    def identity(self) -> dict:
        """See `changes.generator_of`."""
        return self.bank.identity()

    def course(self) -> Course:
        """Of one training."""
        return Course(self)

    def taught(self, case: Case) -> list[VoxelChange]:
        """Lesions to train on."""
        return [self.bank.change_of(case, number) for number in range(self.bank.count - self.held)]

    def kept(self, case: Case) -> list[VoxelChange]:
        """Lesions to look with."""
        return [self.bank.change_of(case, number) for number in range(self.bank.count - self.held, self.bank.count)]


@dataclass
class Course:
    """What one training has shown so far.

    Args:
        curriculum: Its settings.
        misses: Share of the held lesions that were missed at the last look, by size and by region.
        best: Highest held score so far.
        drops: Looks in a row with a worse one.
        stopped: Whether weights are even for the rest of the training.
    """

    curriculum: Curriculum
    misses: tuple[Float[Array, " sizes"], Float[Array, " regions"]] = field(default_factory=lambda: _even())
    best: float = 0.0
    drops: int = 0
    stopped: bool = False

    def __call__(self, case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
        """See `Change`."""
        if rng.random() >= self.curriculum.probability:
            return case.scan
        low, high = self.curriculum.num_lesions
        bank = self.curriculum.taught(case)
        weight = np.array([self.weight(*kind_of(lesion, case.scan)) for lesion in bank])
        order = rng.choice(len(bank), len(bank), replace=False, p=weight / weight.sum())
        return applied(case.scan, together([bank[index] for index in order], int(rng.integers(low, high + 1))))

    def weight(self, size: int, region: int) -> float:
        """How often a lesion of this size in this region is drawn, beside others."""
        sizes, regions = self.misses
        return float((LEAST + (1 - LEAST) * sizes[size]) * (LEAST + (1 - LEAST) * regions[region]))

    def look(self, cases: Sequence[Case], find: Find) -> None:
        """Show the network the held lesions of all cases, and teach what it misses from now on."""
        if self.stopped:
            return
        seen = [self._shown(case, find) for case in cases]
        score = float(np.mean([score for score, _ in seen]))
        self.drops = self.drops + 1 if score < self.best - WORSE else 0
        self.best, self.stopped = max(self.best, score), self.drops == 2
        self.misses = _even() if self.stopped else missed(lesion for _, lesions in seen for lesion in lesions)

    def _shown(self, case: Case, find: Find) -> tuple[float, list[tuple[int, int, bool]]]:
        """Dice of a case with the held lesions, and size, region and whether it was found of each of these."""
        held = apart(self.curriculum.kept(case))
        scan = applied(case.scan, together(held, len(held)))
        mask = find(replace(case, scan=scan))
        rows = [
            (*kind_of(x, case.scan), bool(mask.ravel()[x.lesions].mean() >= ENOUGH)) for x in held if len(x.lesions)
        ]
        return dice(mask, scan.lesion_mask[0].numpy()), rows


def kind_of(lesion: VoxelChange, scan: Scan) -> tuple[int, int]:
    """Index of a lesion's bin of size, and of the region that most of it lies in."""
    size = int(np.digitize(len(lesion.lesions) * scan.voxel_mm3, BINS_MM3[1:-1], right=True))
    counts = np.bincount(scan.regions.numpy().ravel()[lesion.lesions], minlength=len(REGIONS) + 1)
    return size, int(counts[1:].argmax())


def missed(found: Iterable[tuple[int, int, bool]]) -> tuple[Float[Array, " sizes"], Float[Array, " regions"]]:
    """Share that was missed by size, and by region; 0.5 of what was not seen, and near it of what was hardly seen."""
    rows = list(found)
    shares = []
    for part, count in ((0, len(BINS_MM3) - 1), (1, len(REGIONS))):
        kinds = np.array([row[part] for row in rows], int)
        lost = np.bincount(kinds, [not row[2] for row in rows], count)
        shares.append((lost + 0.5) / (np.bincount(kinds, minlength=count) + 1))
    return shares[0], shares[1]


def apart(lesions: Iterable[VoxelChange]) -> list[VoxelChange]:
    """Those that have no voxel in common with one before them."""
    taken, chosen = np.zeros(0, np.int64), []
    for lesion in lesions:
        if not np.isin(lesion.indices, taken).any():
            taken = np.union1d(taken, lesion.indices)
            chosen.append(lesion)
    return chosen


def together(lesions: Sequence[VoxelChange], count: int) -> VoxelChange:
    """The first so many lesions that are apart, as one change."""
    chosen = apart(lesions)[:count]
    if not chosen:
        return VoxelChange.none(lesions[0].values if lesions else ())
    order = np.argsort(np.concatenate([x.indices for x in chosen]))
    values = {name: np.concatenate([x.values[name] for x in chosen])[order] for name in chosen[0].values}
    indices, labelled = (np.concatenate([getattr(x, name) for x in chosen])[order] for name in ("indices", "labelled"))
    return VoxelChange(indices, values, labelled)


def _even() -> tuple[Float[Array, " sizes"], Float[Array, " regions"]]:
    return np.ones(len(BINS_MM3) - 1), np.ones(len(REGIONS))
