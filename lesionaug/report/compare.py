"""How far synthetic lesions are from real ones, next to how far real ones are from other real ones.

Patients differ, and few patients differ much: a distance says nothing without the one between two halves of the real
patients. Both are measured with equally many scans, as small samples are far from anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lesionaug.report.samples import Sample
from lesionaug.scan import CHANNELS

Values = Sequence[Any]
SPLITS = 200
MIN_PATIENTS = 4  # two halves of two
HIGHEST_FLOOR = 2 / 3
"""Where halves of the patients are farther apart than this, by chance, being no farther says nothing."""


@dataclass(frozen=True)
class Measure:
    """Something that scans have.

    Args:
        name: What it is.
        of: Values of one scan; none where it is not known.
        categories: Whether values are names.
        log: Whether it is drawn and thought of as a logarithm.
        per_scan: Whether a scan has one, not one for each lesion.
    """

    name: str
    of: Callable[[Sample], Values]
    categories: bool = False
    log: bool = False
    per_scan: bool = False


def contrast_of(channel: str) -> Callable[[Sample], Values]:
    """Contrast of a scan's lesions in one channel."""
    return lambda sample: sample.contrast.get(channel, ())


MEASURES = (
    Measure("lesion volume, mm³", lambda sample: sample.volume_mm3, log=True),
    Measure("lesions per scan", lambda sample: (len(sample.volume_mm3),), per_scan=True),
    Measure("lesion load, ml", lambda sample: (sample.load_ml,), log=True, per_scan=True),
    Measure("region", lambda sample: sample.regions, categories=True),
    *(Measure(f"contrast in {channel}, robust units", contrast_of(channel)) for channel in CHANNELS),
)


@dataclass(frozen=True)
class Floor:
    """Distances of real from other real scans.

    Args:
        median: Over the halvings.
        high: That which 95 % of them stay below.
    """

    median: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Distances of one measure, from 0, the same, to 1, nothing in common.

    Args:
        measure: Which.
        synthetic: Median distance of synthetic from real scans.
        floor: How far real scans are from other real ones; none where patients are too few to halve them.
        patients: How many real ones there are.
    """

    measure: str
    synthetic: float
    floor: Floor | None
    patients: int

    @property
    def verdict(self) -> Literal["like", "farther", "unknown"]:
        """Whether the synthetic lesions could be those of other real patients, by this measure."""
        if self.floor is None:
            return "unknown"
        if self.synthetic > self.floor.high:
            return "farther"
        return "like" if self.floor.high <= HIGHEST_FLOOR else "unknown"

    @property
    def reading(self) -> str:
        """The verdict in words."""
        if self.floor is None:
            return f"too few real patients for a floor: {self.patients}, {MIN_PATIENTS} are needed"
        return {
            "like": "like another real patient",
            "farther": "farther than real patients from each other",
            "unknown": f"too few scans to tell: by chance, real ones are up to {self.floor.high:.2f} from each other",
        }[self.verdict]


def compare(measure: Measure, synthetic: Sequence[Sample], real: Sequence[Sample], seed: int = 0) -> Comparison | None:
    """Distances over many ways of halving the real patients; None where a side does not know the measure.

    Args:
        measure: What to compare.
        synthetic: Scans.
        real: Scans.
        seed: Of the halvings.
    """
    real, synthetic = ([s for s in samples if len(measure.of(s))] for samples in (real, synthetic))
    patients = sorted({sample.patient for sample in real})
    if not real or not synthetic:
        return None
    if len(patients) < MIN_PATIENTS:
        return Comparison(measure.name, distance(measure, synthetic, real), None, len(patients))
    generator = np.random.default_rng(seed)
    distances = []
    for _ in range(SPLITS):
        chosen = set(generator.permutation(patients)[: len(patients) // 2])
        one, other = ([s for s in real if (s.patient in chosen) == side] for side in (True, False))
        number = min(len(other), len(synthetic))
        few = [[group[index] for index in generator.permutation(len(group))[:number]] for group in (synthetic, other)]
        distances.append([distance(measure, one, group) for group in few])
    apart, between = np.array(distances).T
    floor = Floor(float(np.median(between)), float(np.quantile(between, 0.95)))
    return Comparison(measure.name, float(np.median(apart)), floor, len(patients))


def distance(measure: Measure, one: Sequence[Sample], other: Sequence[Sample]) -> float:
    """Kolmogorov-Smirnov distance of numbers, total variation of names."""
    values = [[value for sample in samples for value in measure.of(sample)] for samples in (one, other)]
    return total_variation(*values) if measure.categories else kolmogorov_smirnov(*values)


def kolmogorov_smirnov(one: Values, other: Values) -> float:
    """Largest difference between the shares of two samples that lie below a value.

    Example:
        >>> kolmogorov_smirnov([1, 2, 3, 4], [3, 4, 5, 6])
        0.5
    """
    sample = [np.sort(np.asarray(values, float)) for values in (one, other)]
    places = np.concatenate(sample)
    below = [np.searchsorted(values, places, side="right") / len(values) for values in sample]
    return float(np.abs(below[0] - below[1]).max())


def total_variation(one: Values, other: Values) -> float:
    """Share that would have to be renamed to turn one sample into the other.

    Example:
        >>> total_variation(["a", "a", "b", "b"], ["a", "b", "b", "b"])
        0.25
    """
    counts = [Counter(values) for values in (one, other)]
    names = set(counts[0]) | set(counts[1])
    return sum(abs(counts[0][name] / len(one) - counts[1][name] / len(other)) for name in names) / 2
