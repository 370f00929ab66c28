"""`python -m lesionaug.pretrain.stats SOURCE...`: how large lesions are, and how many a scan has."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import LayoutName

if TYPE_CHECKING:
    from lesionaug.pretrain.index import ScanRecord

QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
"""In percent."""

UNITS = {
    "lesion volume": "mm3",
    "lesion radius": "mm",
    "equivalent radius": "mm",
    "lesions per scan": "",
    "lesion load per scan": "ml",
}
"""What is counted; a radius is the largest distance to the centroid, the equivalent one that of a ball as large."""


@dataclass(frozen=True)
class Stats:
    """Tell how large lesions are and how many a scan has, as a table, a figure and numbers.

    Every lesion counts once, also those too large for a patch. Scans without lesions count in the lower two rows.

    Examples:
      lesionaug pretrain stats patches --output stats
      lesionaug pretrain stats MSLesSeg --scale 0.86 --output stats

    Args:
        sources: A patch store; or folders of scans or tables, of which only the labels are read.
        output: Folder for stats.json and stats.png; nothing is written if not given.
        layout: As in prepare.
        scale: As in prepare; a store has been corrected already.
        connectivity: Neighbours that make voxels of scans one lesion; in a store it is settled.
    """

    sources: tyro.conf.Positional[tuple[Path, ...]]
    output: Path | None = None
    layout: LayoutName = "auto"
    scale: tuple[float, ...] = (1.0,)
    connectivity: Literal[6, 26] = 26

    def run(self) -> None:
        """Count, print, write."""
        records = self._records()
        values, patients = distributions(records), len({record.patient for record in records})
        _print_table(values, patients)
        if self.output is not None:
            self.output.mkdir(parents=True, exist_ok=True)
            facts = {"scans": len(records), "patients": len({record.patient for record in records})}
            content = {
                **facts,
                "quantiles_percent": QUANTILES,
                **{name: asdict(summary(row)) for name, row in values.items()},
            }
            (self.output / "stats.json").write_text(json.dumps(content, indent=1) + "\n")
            _draw(values, self.output / "stats.png")
            print(f"wrote {self.output}/stats.json and stats.png")

    def _records(self) -> tuple[ScanRecord, ...]:
        from lesionaug.pretrain.index import FILE
        from lesionaug.pretrain.lesion_lists import is_store, records_of_sources, records_of_store

        stores = [path for path in self.sources if is_store(path)]
        if stores and len(self.sources) > 1:
            raise LesionAugError(
                f"Expected one patch store, or sources of scans, got {stores[0]} among others; "
                "look at one after the other"
            )
        if stores:
            if not (stores[0] / FILE).exists():
                print(f"{stores[0]} is of format 1: lesions too large for a patch are not in it")
            return records_of_store(stores[0])
        return records_of_sources(self.sources, self.layout, self.scale, self.connectivity)


def distributions(records: Sequence[ScanRecord]) -> dict[str, list[float]]:
    """All values of what `UNITS` names.

    Raises:
        LesionAugError: There is no lesion in any scan.
    """
    lesions = [lesion for record in records for lesion in record.lesions]
    if not lesions:
        raise LesionAugError(f"Expected lesions, got none in {len(records)} scans; check the labels")
    return {
        "lesion volume": [lesion.volume_mm3 for lesion in lesions],
        "lesion radius": [lesion.radius_mm for lesion in lesions],
        "equivalent radius": [(3 * lesion.volume_mm3 / (4 * math.pi)) ** (1 / 3) for lesion in lesions],
        "lesions per scan": [float(len(record.lesions)) for record in records],
        "lesion load per scan": [sum(lesion.volume_mm3 for lesion in record.lesions) / 1000 for record in records],
    }


@dataclass(frozen=True)
class Summary:
    """Number, mean, standard deviation and `QUANTILES`."""

    n: int
    mean: float
    sd: float
    quantiles: tuple[float, ...]


def summary(values: Sequence[float]) -> Summary:
    """Of some values.

    Example:
        >>> summary([1.0, 2.0, 3.0]).quantiles[5]
        2.0
    """
    import numpy as np

    quantiles = np.quantile(values, np.array(QUANTILES) / 100).tolist()
    return Summary(len(values), float(np.mean(values)), float(np.std(values)), tuple(quantiles))


def _print_table(values: dict[str, list[float]], patients: int) -> None:
    from rich.console import Console
    from rich.table import Table

    scans = len(values["lesions per scan"])
    table = Table(title=f"{len(values['lesion volume'])} lesions of {scans} scans of {patients} patients")
    table.add_column("")
    for name in values:
        table.add_column(f"{name}{f', {UNITS[name]}' if UNITS[name] else ''}", justify="right")
    columns = [summary(row) for row in values.values()]
    table.add_row("n", *(str(column.n) for column in columns))
    table.add_row("mean", *(_short(column.mean) for column in columns))
    table.add_row("sd", *(_short(column.sd) for column in columns), end_section=True)
    for index, percent in enumerate(QUANTILES):
        table.add_row(f"{percent} %", *(_short(column.quantiles[index]) for column in columns))
    Console().print(table)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _draw(values: dict[str, list[float]], path: Path) -> None:
    """Cumulative distributions: no bins to choose, and quantiles can be read off."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(15, 3.4), layout="constrained")
    for axes, (name, row) in zip(figure.subplots(1, len(values), sharey=True), values.items(), strict=True):
        ordered = np.sort(row)
        axes.step([ordered[0], *ordered], np.linspace(0, 1, len(ordered) + 1), where="post", color="#1f5f8b", lw=1.6)
        axes.axvline(np.median(ordered), color="#c44e2b", lw=1, ls="--")
        axes.set_title(f"{name}: median {_short(float(np.median(ordered)))}", fontsize=10)
        axes.set_xlabel(UNITS[name] or "count")
        if ordered[0] > 0 and ordered[-1] > 20 * ordered[0]:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        axes.set_ylim(0, 1)
    figure.axes[0].set_ylabel("share of all")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    tyro.cli(Stats).run()
