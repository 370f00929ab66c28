"""One line of the table of yardsticks: what was found, what real lesions show among each other, what is aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Yardstick:
    """A number that says how real something looks.

    Args:
        name: What is measured.
        value: Of the generator.
        aim: To be reached; none where it is only reported.
        at_least: Whether more is better.
        floor: Median of the same number between real lesions and real lesions.
        worst_real: What one in twenty of these exceeds.
        error: Standard error, where it is known.
        note: How it was found.
    """

    name: str
    value: float
    aim: float | None = None
    at_least: bool = False
    floor: float | None = None
    worst_real: float | None = None
    error: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the aim is; none where there is none."""
        if self.aim is None:
            return None
        return self.value >= self.aim if self.at_least else self.value <= self.aim

    def line(self) -> str:
        """For the terminal."""
        word = {True: "yes", False: "NO", None: ""}[self.reached]
        aim = "" if self.aim is None else f"{'>=' if self.at_least else '<='} {self.aim:.3g}"
        real = f"{_shown(self.floor):>7s} {_shown(self.worst_real):>7s}"
        return f"{self.name:38s} {self.value:7.3f} {aim:>9s} {word:>4s} {real}  {self.note}"

    def to_dict(self) -> dict:
        """For JSON."""
        return asdict(self) | {"reached": self.reached}


HEAD = f"{'yardstick':38s} {'found':>7s} {'aim':>9s} {'ok':>4s} {'real':>7s} {'95 %':>7s}  how"


def middle_and_worst(values: Sequence[float], *, at_least: bool = False) -> dict[str, float]:
    """Median and worse 5 % of what real lesions show, as `Yardstick` takes them."""
    return {"floor": float(np.median(values)), "worst_real": float(np.percentile(values, 5 if at_least else 95))}


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
