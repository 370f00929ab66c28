"""What does a lesion cost: time, network calls, operations, memory?

`python -m benchmarks.bench_synthesis` measures the default models, the parametric baseline, and the published networks
(by a few calls, scaled), each in a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.cases import QUICK_PHANTOM, Case, FileCase, PhantomCase, save_head
from benchmarks.measure import Timing, in_fresh_process, provenance
from benchmarks.published_row import PUBLISHED, measure_published
from benchmarks.result_files import write_result
from benchmarks.synthesis_rows import PAINT, Row, Work, measure_synthesizer

Model = Literal["parametric", "default", "published"]

TARGET_LESIONS, TARGET_SCAN_S, TARGET_TIMES_LESS, TARGET_GB = 10, 20.0, 1000.0, 3.0


@dataclass(frozen=True)
class BenchSynthesis:
    """Seconds, network calls, operations and memory per lesion and per scan.

    Examples:
      python -m benchmarks.bench_synthesis --output benchmarks/results/synthesis.json
      python -m benchmarks.bench_synthesis --flair flair.nii.gz --t1w t1w.nii.gz --models default --device cpu

    Args:
        models: The baseline without networks, the default pair, the published pair.
        device: Such as cpu or cuda:0; the processor and the first GPU, if there is one, where none is named.
        flair: FLAIR image; a phantom as large as a 1 mm scan where no image is given.
        t1w: T1-weighted image on the same grid.
        work: How much is measured.
        quick: One lesion in a small phantom, without the published networks: shows that all of it runs.
        output: JSON file for rows, targets, hardware, versions and commit.
        deadline_s: Longest time for one row.
    """

    models: tuple[Model, ...] = ("parametric", "default", "published")
    device: tuple[str, ...] = ()
    flair: Path | None = None
    t1w: Path | None = None
    work: tyro.conf.OmitArgPrefixes[Work] = Work()  # noqa: RUF009, frozen
    quick: bool = False
    output: Path | None = None
    deadline_s: float = 3600.0

    @property
    def case(self) -> Case:
        """The scan that is measured on."""
        given = tuple((name, path) for name, path in (("flair", self.flair), ("t1w", self.t1w)) if path is not None)
        return FileCase(given) if given else QUICK_PHANTOM if self.quick else PhantomCase()

    @property
    def effective(self) -> BenchSynthesis:
        """With what `quick` leaves of it, and devices by name."""
        devices = self.device or _devices()
        if not self.quick:
            return replace(self, device=devices)
        models = tuple(model for model in self.models if model != "published")
        return replace(self, device=devices, models=models, work=replace(self.work, lesions=1, repeats=1))

    def run(self) -> None:
        """Measure, print, write."""
        config, console = self.effective, Console()
        origin = provenance()
        rows = []
        for row in measure(config, console):
            console.print(f"{row.model} on {row.device}: {row.lesion_s:.3g} s per lesion, {row.how}")
            rows.append(row)
        reached = [] if config.quick else targets(rows)
        console.print(table(rows))
        for target in reached:
            console.print(target.line(), soft_wrap=True)
        if config.output:
            found = {"rows": [asdict(row) for row in rows], "targets": [asdict(target) for target in reached]}
            asked = {**asdict(config), "case": asdict(config.case)}
            write_result(config.output, "synthesis", asked, origin, found)
            console.print(f"wrote {config.output}")


def measure(config: BenchSynthesis, console: Console) -> Iterator[Row]:
    """The rows, each from a fresh process, so that its memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        head_file = Path(folder) / "head.npz"
        with console.status("making the scan"):
            in_fresh_process(save_head, config.case, head_file, deadline_s=config.deadline_s)
        for device in config.device:
            for model in config.models:
                with console.status(f"measuring {model} on {device}"):
                    yield _row(config, model, device, head_file)


def _row(config: BenchSynthesis, model: str, device: str, head_file: Path) -> Row:
    if model == "published":
        return in_fresh_process(measure_published, device, config.work, deadline_s=config.deadline_s)
    return in_fresh_process(measure_synthesizer, model, device, head_file, config.work, deadline_s=config.deadline_s)


@dataclass(frozen=True)
class Target:
    """Something to reach, and what was found; None where it was not measured."""

    what: str
    reached: bool | None
    found: str

    def line(self) -> str:
        """For the terminal."""
        word = {True: "reached", False: "MISSED", None: "not measured"}[self.reached]
        return f"{word}: {self.what}" + (f" (found {self.found})" if self.found else "")


def targets(rows: list[Row]) -> list[Target]:
    """What the default models are to reach on a processor."""
    ours = next((row for row in rows if row.model == "default" and row.device == "cpu"), None)
    published = next((row for row in rows if row.model == PUBLISHED), None)
    speed = f"{TARGET_LESIONS} lesions in {TARGET_SCAN_S:.0f} s or less after start-up, on two threads"
    compute = f"{TARGET_TIMES_LESS:.0f} times fewer operations per lesion, both networks, than LeFusion {PUBLISHED}"
    memory = f"peak memory below {TARGET_GB:.0f} GB"
    if ours is None:
        return [Target(what, None, "") for what in (speed, compute, memory)]
    as_asked = ours.lesions == TARGET_LESIONS and ours.threads == 2
    times = published.gflop[PAINT] / ours.gflop_per_lesion if published else None
    return [
        Target(speed, ours.scan_s <= TARGET_SCAN_S if as_asked else None, f"{ours.scan_s:.2f} s"),
        Target(compute, times >= TARGET_TIMES_LESS if times else None, f"{times:.0f} times" if times else ""),
        Target(memory, ours.peak_gb < TARGET_GB, f"{ours.peak_gb:.2f} GB"),
    ]


def table(rows: list[Row]) -> Table:
    """One column per row, because the terminal is narrow."""
    shown = Table(caption="s: median / 90th percentile; calls and GFLOP: diffmask + lefusion; GB: 1e9 bytes")
    shown.add_column("")
    for row in rows:
        shown.add_column(f"{row.model}\n{row.device}, threads: {row.threads}\n{row.how}", justify="right")
    lines = [_cells(row) for row in rows]
    for name in lines[0] if lines else ():
        shown.add_row(name, *(line[name] for line in lines))
    return shown


def _cells(row: Row) -> dict[str, str]:
    return {
        "start-up, once, s": f"{sum(row.startup_s.values()):.2f}",
        **{f"{stage}, s": _times(row.stages.get(stage)) for stage in ("anatomy", "plan", "render")},
        f"scan of {row.lesions}, s": f"{row.scan_s:,.2f}",
        "lesion, s": f"{row.lesion_s:,.3f}",
        "calls per lesion": _sum(row.calls, ".0f"),
        "GFLOP per lesion": _sum(row.gflop, ",.1f"),
        "peak memory, GB": f"{row.peak_gb:.2f}",
        "of the GPU, GB": "" if row.peak_device_gb is None else f"{row.peak_device_gb:.2f}",
    }


def _times(timing: Timing | None) -> str:
    return "" if timing is None else f"{timing.median_s:.3f} / {timing.p90_s:.3f}"


def _sum(parts: dict[str, float], style: str) -> str:
    return " + ".join(format(value, style) for value in parts.values()) or "0"


def _devices() -> tuple[str, ...]:
    import torch

    return ("cpu", "cuda:0") if torch.cuda.is_available() else ("cpu",)


if __name__ == "__main__":
    tyro.cli(BenchSynthesis).run()
