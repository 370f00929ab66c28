"""Result files as figures. Each carries the digest of what it shows, by which it is known to be up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.page import draw as draw_speed
from benchmarks.tables.texts import Result, Results, held_yardsticks, of

DRAWING = 1
"""Raise it when a figure is drawn in another way."""
SHOWN = ("dice", "f1")
DESCRIPTION = "Description"


@dataclass(frozen=True)
class Drawing:
    """A figure of one result file.

    Args:
        name: Of the PNG file.
        result: What it shows.
        draw: Takes the result, the path and the description.
    """

    name: str
    result: Result
    draw: Callable[[Result, Path, str], None]

    @property
    def digest(self) -> str:
        """Of what it shows, in this way of drawing."""
        content = json.dumps([DRAWING, self.result], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def is_current(self, folder: Path) -> bool:
        """Whether the file shows this result."""
        from PIL import Image

        path = folder / self.name
        if not path.is_file():
            return False
        with Image.open(path) as image:
            return image.info.get(DESCRIPTION) == self.digest

    def write(self, folder: Path) -> None:
        """Draw it."""
        self.draw(self.result, folder / self.name, self.digest)


def drawings(results: Results) -> Iterator[Drawing]:
    """All figures."""
    ways = {"speed": draw_speed, "loading": draw_loading, "downstream": draw_gains}
    for benchmark, draw in ways.items():
        for name, result in of(results, benchmark):
            yield Drawing(f"{Path(name).stem}.png", result, draw)
    yield Drawing("realism-held.png", {"yardsticks": held_yardsticks(results)}, draw_yardsticks)


@contextmanager
def figure(size: tuple[float, float], path: Path, description: str) -> Iterator[Any]:
    """Axes of a figure that is written when its block ends."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    made, axes = plt.subplots(figsize=size, layout="constrained")
    try:
        yield axes
        made.savefig(path, dpi=120, metadata={DESCRIPTION: description})
    finally:
        plt.close(made)


def draw_loading(result: Result, path: Path, description: str) -> None:
    """As the benchmark draws it when it has run."""
    from benchmarks.bench_loading import plot
    from benchmarks.loading import Loaded

    names = Loaded.__dataclass_fields__
    rows = [Loaded(**{name: row[name] for name in names}) for row in result["rows"]]
    plot(rows, path, description)


def draw_yardsticks(result: Result, path: Path, description: str) -> None:
    """What was found, beside what real lesions show among each other, in units of the latter's 95th percentile."""
    rows = [row for row in result["yardsticks"] if row["worst_real"] and not row["at_least"]]
    with figure((7, 0.4 * len(rows) + 1.3), path, description) as axes:
        places = range(len(rows))
        axes.barh(places, [1] * len(rows), color="0.9", label="real v real, up to the 95th percentile")
        axes.plot([row["floor"] / row["worst_real"] for row in rows], places, "|", color="0.4", ms=12, label="median")
        axes.plot([row["value"] / row["worst_real"] for row in rows], places, "o", color="tab:blue", label="lesionaug")
        axes.set(yticks=places, xlabel="distance over the 95th percentile of real v real")
        axes.set_yticklabels([row["name"] for row in rows], fontsize=8)
        axes.invert_yaxis()
        axes.legend(fontsize=8, loc="best")


def draw_gains(result: Result, path: Path, description: str) -> None:
    """Difference of every arm from `none`, with its interval."""
    rows = [row for row in result["comparisons"] if row["against"] == "none" and row["metric"] in SHOWN]
    groups = list(dict.fromkeys((row["arm"], row["trained_on"]) for row in rows))
    with figure((7, 0.55 * len(groups) + 1.4), path, description) as axes:
        for offset, (metric, colour) in enumerate(zip(SHOWN, ("tab:blue", "tab:orange"), strict=True)):
            _intervals(axes, [row for row in rows if row["metric"] == metric], groups, 0.24 * offset - 0.12, colour)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(yticks=range(len(groups)), xlabel="arm - none, 95 % interval")
        times = {(row["arm"], row["trained_on"]): row["independent"] for row in rows}
        labels = [f"{arm}\ntrained on {patients}; draws or folds: {times[arm, patients]}" for arm, patients in groups]
        axes.set_yticklabels(labels, fontsize=7)
        axes.invert_yaxis()
        axes.legend(fontsize=8, loc="best")
        axes.set_title(path.stem, fontsize=9)


def _intervals(
    axes: Any, rows: Sequence[Mapping[str, Any]], groups: Sequence[tuple[str, int]], offset: float, colour: str
) -> None:
    places = [groups.index((row["arm"], row["trained_on"])) + offset for row in rows]
    means = [row["mean"] for row in rows]
    # Without an interval a point stands alone: too few draws to give one.
    bounds = [row["any_draws"] for row in rows]
    errors = [
        [abs(found[end] - mean) if found else 0 for found, mean in zip(bounds, means, strict=True)]
        for end in ("low", "high")
    ]
    name = rows[0]["metric"] if rows else ""
    axes.errorbar(means, places, xerr=errors, fmt="o", color=colour, ms=4, capsize=2, label=name)
