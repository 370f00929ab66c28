"""Real against real: halves of the patients, and what is as far from a half as the other half is.

Generated scans are compared with each half alone, so that both numbers come from as many real lesions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from benchmarks.realism.scan_measures import ScanMeasures
from benchmarks.realism.yardsticks import Yardstick, middle_and_worst

Scans = Sequence[ScanMeasures]
Distances = Callable[[Scans, Scans], dict[str, float]]
Lack = Callable[[Scans], str]
"""Why scans do not suffice for a comparison; empty where they do."""


@dataclass(frozen=True)
class Aim:
    """What is to be reached; none where a number is only reported."""

    value: float | None = None
    at_least: bool = False

    def allowing(self, worst_real: float) -> float | None:
        """The aim, or what one in twenty real halves misses, where that is farther off."""
        if self.value is None:
            return None
        return round(min(self.value, worst_real) if self.at_least else max(self.value, worst_real), 3)


@dataclass(frozen=True)
class Comparison:
    """Distances between two sets of scans.

    Args:
        aims: By name of the distance.
        distances: Of two sets that suffice.
        lack: Why a set does not.
    """

    aims: dict[str, Aim]
    distances: Distances
    lack: Lack

    def rows(self, generated: Scans, halves: Sequence[tuple[Scans, Scans]]) -> list[Yardstick]:
        """A row for each distance; without a value where scans do not suffice."""
        usable = [pair for pair in halves if not any(map(self.lack, pair))]
        reason = self.lack(generated)
        reason = f"generated: {reason}" if reason else "" if usable else f"half of the real: {self.lack(halves[0][0])}"
        if reason:
            return self._without_value(reason)
        found = self._known((generated, half) for pair in usable for half in pair)
        floor = self._known(usable)
        if not found or not floor:
            return self._without_value("not enough, no lesions of a volume, or in a place, that both sides have")
        return [self._row(name, found, floor) for name in self.aims]

    def _known(self, pairs: Iterable[tuple[Scans, Scans]]) -> list[dict[str, float]]:
        """Distances of those pairs that have something to compare."""
        found = []
        for pair in pairs:
            with suppress(ValueError):
                found.append(self.distances(*pair))
        return found

    def _without_value(self, reason: str) -> list[Yardstick]:
        return [Yardstick(name, None, aim.value, aim.at_least, note=reason) for name, aim in self.aims.items()]

    def _row(self, name: str, found: list[dict[str, float]], floor: list[dict[str, float]]) -> Yardstick:
        aim = self.aims[name]
        real = middle_and_worst([row[name] for row in floor], at_least=aim.at_least)
        value = float(np.median([row[name] for row in found]))
        note = f"against halves of the real patients, {len(floor)} splits"
        return Yardstick(name, value, aim.allowing(real["worst_real"]), aim.at_least, **real, note=note)


def halves_of(scans: Scans, splits: int, seed: int) -> list[tuple[Scans, Scans]]:
    """Two halves of the patients, again and again; of an odd number one patient is left out in turn.

    Args:
        scans: Of two patients or more; all of a patient's are on one side.
        splits: How often; with few patients each division is taken once.
        seed: Of the divisions.
    """
    patients = sorted({scan.patient for scan in scans})
    rng, half = np.random.default_rng(seed), len(patients) // 2
    divisions: dict[frozenset, tuple[list[str], list[str]]] = {}
    for _ in range(splits):
        order = rng.permutation(patients).tolist()
        sides = order[:half], order[half : 2 * half]
        divisions.setdefault(frozenset(map(frozenset, sides)), sides)
    return [(_of(scans, one), _of(scans, other)) for one, other in divisions.values()]


def _of(scans: Scans, patients: Sequence[str]) -> list[ScanMeasures]:
    return [scan for scan in scans if scan.patient in patients]
