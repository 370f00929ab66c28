"""What do new lesions cost a data loader: rendered in its workers, by the render server, or out of the cache?

`python -m benchmarks.bench_loading` measures every way with every number of workers, each in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.cases import QUICK_PHANTOM, Case, PhantomCase
from benchmarks.loading import Load, Loaded, Mode, measure
from benchmarks.measure import in_fresh_process, provenance
from benchmarks.result_files import write_result


@dataclass(frozen=True)
class BenchLoading:
    """Scans per second of a torch DataLoader, and what lesions take from a training.

    Examples:
      python -m benchmarks.bench_loading --output benchmarks/results/loading.json
      python -m benchmarks.bench_loading --device cuda:0 --workers 1 2 4 8

    Args:
        modes: Ways of getting lesions; the first is what the others are compared with.
        workers: Numbers of loader workers.
        model: Packaged pair of models.
        device: Of the server's models.
        lesions: New ones per scan.
        samples: Scans per worker that are timed.
        step_ms: What a training step takes; 0 leaves this part out.
        quick: A small phantom instead of one as large as a 1 mm scan.
        output: JSON file; the plot lies beside it.
        deadline_s: Longest time for one row.
    """

    modes: tuple[Mode, ...] = ("without", "in process", "served", "cached")
    workers: tuple[int, ...] = (1, 2, 4, 8)
    model: str = "default"
    device: str = "cpu"
    lesions: int = 5
    samples: int = 8
    step_ms: float = 145.0
    quick: bool = False
    output: Path | None = None
    deadline_s: float = 3600.0

    def run(self) -> None:
        """Measure, print, write, plot."""
        origin, rows = provenance(), []
        for row in self.rows():
            rows.append(row)
            Console(stderr=True).print(row)
        Console().print(table(rows))
        if self.output:
            write_result(self.output, "loading", asdict(self), origin, {"rows": overheads(rows)})
            plot(rows, self.output.with_suffix(".png"))

    def rows(self) -> Iterator[Loaded]:
        """One after the other."""
        case: Case = QUICK_PHANTOM if self.quick else PhantomCase()
        os.environ.pop("LESIONAUG_SERVER", None)
        for workers in self.workers:
            for mode in self.modes:
                load = Load(mode, workers, self.model, self.device, self.lesions, self.samples, self.step_ms)
                yield in_fresh_process(measure, case, load, deadline_s=self.deadline_s)


def overheads(rows: Sequence[Loaded]) -> list[dict[str, Any]]:
    """Each row, and how much longer than without lesions it makes a training."""
    return [asdict(row) | {"overhead_percent": overhead_percent(row, rows)} for row in rows]


def overhead_percent(row: Loaded, rows: Sequence[Loaded]) -> float | None:
    """Of time per training step, against the row without lesions and with as many workers."""
    plain = next((other for other in rows if (other.mode, other.workers) == ("without", row.workers)), None)
    if plain is None or not plain.step_samples_per_s or not row.step_samples_per_s:
        return None
    return 100 * (plain.step_samples_per_s / row.step_samples_per_s - 1)


def table(rows: Sequence[Loaded]) -> Table:
    """For people."""
    shown = Table("lesions", "workers", "scans/s", "scans/s with steps", "overhead", "lesions per call")
    for row in rows:
        overhead = overhead_percent(row, rows)
        shown.add_row(
            row.mode,
            str(row.workers),
            f"{row.samples_per_s:.2f}",
            "" if row.step_samples_per_s is None else f"{row.step_samples_per_s:.2f}",
            "" if overhead is None else f"{overhead:.0f} %",
            "" if row.batch_sizes is None else f"{mean_batch(row):.1f}",
        )
    return shown


def mean_batch(row: Loaded) -> float:
    """Lesions per call of the server's networks."""
    sizes = {int(size): number for size, number in (row.batch_sizes or {}).items()}
    return sum(size * number for size, number in sizes.items()) / max(sum(sizes.values()), 1)


def plot(rows: Sequence[Loaded], path: Path, description: str = "") -> None:
    """Scans per second against workers, one line per way; the description is kept in the file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for mode in dict.fromkeys(row.mode for row in rows):
        line = sorted((row.workers, row.samples_per_s) for row in rows if row.mode == mode)
        axes.plot(*zip(*line, strict=True), marker="o", label=mode)
    axes.set(xlabel="loader workers", ylabel="scans per second", yscale="log")
    axes.set_xticks(sorted({row.workers for row in rows}), labels=[str(n) for n in sorted({r.workers for r in rows})])
    axes.grid(visible=True, alpha=0.3)
    axes.legend(title="new lesions")
    figure.savefig(path, dpi=150, metadata={"Description": description})
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(BenchLoading, config=(tyro.conf.FlagCreatePairsOff,)).run()
