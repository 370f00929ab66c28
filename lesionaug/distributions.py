"""Empirical distributions as plain, JSON-able tables, and draws from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

Table = tuple[float, ...]


@dataclass(frozen=True)
class Quantiles:
    """Distribution of one number by its quantiles at evenly spaced levels from 0 to 1."""

    values: Table

    @classmethod
    def of(cls, sample: Sequence[float] | np.ndarray, points: int = 65) -> Quantiles:
        """Quantiles of a sample, linear between its points."""
        table = np.quantile(np.asarray(sample, float), np.linspace(0, 1, points))
        return cls(tuple(round(float(value), 5) for value in table))

    def at(self, level: float) -> float:
        """Value below which this share lies."""
        return float(np.interp(level, np.linspace(0, 1, len(self.values)), self.values))

    def level(self, value: float) -> float:
        """Share that lies below a value."""
        return float(np.interp(value, self.values, np.linspace(0, 1, len(self.values)), left=0.0, right=1.0))

    def draw(self, generator: torch.Generator, low: float = -np.inf, high: float = np.inf) -> float:
        """One number between two bounds; uniform between them where the distribution has next to nothing there."""
        first, last = self.level(low), self.level(high)
        place = uniform(generator)
        if last - first > 1e-4:
            return min(max(self.at(first + place * (last - first)), low), high)
        low = low if np.isfinite(low) else min(self.values[0], high)
        high = high if np.isfinite(high) else max(self.values[-1], low)
        return low + place * (high - low)


@dataclass(frozen=True)
class ConditionalQuantiles:
    """Distribution of one number given another: quantiles at knots of the other, linear between them."""

    knots: Table
    quantiles: tuple[Quantiles, ...]

    @classmethod
    def of(cls, given: np.ndarray, sample: np.ndarray, knots: int = 9, points: int = 17) -> ConditionalQuantiles:
        """From pairs: each of evenly spaced knots takes the pairs nearest to it."""
        places = np.linspace(given.min(), given.max(), knots)
        nearest = min(len(given), max(40, len(given) // (4 * knots)))
        groups = [np.argsort(np.abs(given - place), kind="stable")[:nearest] for place in places]
        centers = np.array([given[group].mean() for group in groups])
        keep = np.append(True, np.diff(centers) > 1e-6)
        tables = tuple(Quantiles.of(sample[group], points) for group, k in zip(groups, keep, strict=True) if k)
        return cls(tuple(round(float(c), 5) for c in centers[keep]), tables)

    def draw(self, given: float, generator: torch.Generator) -> float:
        """One number."""
        level = uniform(generator)
        return float(np.interp(given, self.knots, [table.at(level) for table in self.quantiles]))


def uniform(generator: torch.Generator) -> float:
    """One number from 0 to 1."""
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def uniform_between(bounds: float | tuple[float, float], generator: torch.Generator) -> float:
    """The number itself, or one drawn between two."""
    if not isinstance(bounds, tuple | list):
        return float(bounds)
    low, high = bounds
    return low + (high - low) * uniform(generator)
