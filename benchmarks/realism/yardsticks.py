"""One line of the table of yardsticks: what was found, what real lesions show among each other, what is aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

WORDS = {True: "yes", False: "NO", None: ""}
"""Whether an aim is reached."""


@dataclass(frozen=True)
class Yardstick:
    """A number that says how real something looks.

    Args:
        name: What is measured.
        value: Of the generator; none where there is not enough to tell, which `note` explains.
        aim: To be reached; none where it is only reported.
        at_least: Whether more is better.
        floor: Median of the same number between real lesions and real lesions.
        worst_real: What one in twenty of these exceeds.
        error: Standard error, where it is known.
        note: How it was found.
    """

    name: str
    value: float | None
    aim: float | None = None
    at_least: bool = False
    floor: float | None = None
    worst_real: float | None = None
    error: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the aim is; none where there is none, or nothing to compare with it."""
        if self.aim is None or self.value is None:
            return None
        return self.value >= self.aim if self.at_least else self.value <= self.aim

    @property
    def aim_text(self) -> str:
        """The aim with its side, for the terminal."""
        return "" if self.aim is None else f"{'>=' if self.at_least else '<='} {self.aim:.3g}"

    def line(self) -> str:
        """For the terminal."""
        word, aim = WORDS[self.reached], self.aim_text
        real = f"{_shown(self.floor):>7s} {_shown(self.worst_real):>7s}"
        return f"{self.name:38s} {_shown(self.value) or '-':>7s} {aim:>9s} {word:>4s} {real}  {self.note}"

    def to_dict(self) -> dict:
        """For JSON."""
        return asdict(self) | {"reached": self.reached}


HEAD = f"{'yardstick':38s} {'found':>7s} {'aim':>9s} {'ok':>4s} {'real':>7s} {'95 %':>7s}  how"


def middle_and_worst(values: Sequence[float], *, at_least: bool = False) -> dict[str, float]:
    """Median and worse 5 % of what real lesions show, as `Yardstick` takes them."""
    return {"floor": float(np.median(values)), "worst_real": float(np.percentile(values, 5 if at_least else 95))}


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def side_by_side(columns: Mapping[str, Sequence[Yardstick]]) -> list[str]:
    """A table with a column for each method; the real values are those of the first that has them.

    Args:
        columns: Rows by name of the method; a method may lack rows that others have.
    """
    names = list(dict.fromkeys(row.name for rows in columns.values() for row in rows))
    found = {method: {row.name: row for row in rows} for method, rows in columns.items()}
    width = max(13, *(len(method) + 2 for method in columns))
    head = f"{'yardstick':46s}" + "".join(f"{method:>{width}s}" for method in columns)
    lines = [f"{head} {'aim':>9s} {'real':>7s} {'95 %':>7s}"]
    for name in names:
        rows = [found[method].get(name) for method in columns]
        cells = "".join(f"{_cell(row):>{width}s}" for row in rows)
        best = next((row for row in rows if row and row.value is not None), next(filter(None, rows)))
        lines.append(f"{name:46s}{cells} {best.aim_text:>9s} {_shown(best.floor):>7s} {_shown(best.worst_real):>7s}")
    notes = [
        f"{row.name}, {method}: {row.note}" for method, rows in columns.items() for row in rows if row.value is None
    ]
    return [*lines, *(f"not told: {note}" for note in notes)]


def _cell(row: Yardstick | None) -> str:
    if row is None or row.value is None:
        return "-  "
    return f"{row.value:.3f} {WORDS[row.reached]:3s}"
