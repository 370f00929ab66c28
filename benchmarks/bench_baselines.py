"""What would users pick instead, and what does it cost: CarveMix, copy and paste, the published LeFusion, and ours?

`python -m benchmarks.bench_baselines` changes one scan with each, in one process, and prints seconds per changed scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.cases import Head, PhantomCase
from benchmarks.measure import Timing, provenance, timed
from benchmarks.published_row import measure_published
from benchmarks.result_files import write_result
from benchmarks.synthesis_rows import Work

if TYPE_CHECKING:
    from lesionaug.scan import Scan

QUICK = PhantomCase(shape=(128, 150, 128))
MODELS = ("parametric", "default")
ANATOMY, CARVEMIX, PUBLISHED = "anatomy", "CarveMix", "LeFusion published 2/2"


@dataclass(frozen=True)
class BenchBaselines:
    """Seconds per scan: CarveMix, copy-paste, ours, the published LeFusion.

    Args:
        lesions: That all but CarveMix put in, which carves all of its donor's.
        repeats: Scans changed by each, after a first that is not counted.
        threads: Of the processor.
        published: Whether a few calls of the published networks are run and scaled to a lesion; takes minutes.
        quick: A smaller phantom, once, without default and published models: shows that all of it runs.
        output: JSON file for timings, hardware, versions and commit.
    """

    lesions: int = 10
    repeats: int = 5
    threads: int = 1
    published: bool = True
    quick: bool = False
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write."""
        import torch

        torch.set_num_threads(self.threads)
        origin, console = provenance(), Console()
        rows = []
        for row in measure(self):
            rows.append(row)
            console.print(f"{row.method}: {row.scan_s:.3g} s")
        console.print(table(rows))
        if self.output:
            found = {"rows": [asdict(row) | {"times_ours": times_ours(row, rows)} for row in rows]}
            write_result(self.output, "baselines", asdict(self), origin, found)


@dataclass(frozen=True)
class Row:
    """What a method takes to change a scan.

    Args:
        method: Its name.
        scan_s: Median.
        p90_s: 90th percentile; none where it is scaled.
        cpu_s: Median processor time.
        lesions: That it puts in; none where the donor decides.
        how: Whether it was measured, or a part of it and scaled.
    """

    method: str
    scan_s: float
    p90_s: float | None
    cpu_s: float | None
    lesions: int | None
    how: str = "measured"

    @property
    def lesion_s(self) -> float | None:
        """Seconds per lesion."""
        return self.scan_s / self.lesions if self.lesions else None


def measure(config: BenchBaselines) -> Iterator[Row]:
    """One after the other; the anatomy, which ours and copy-paste need once per scan, apart."""
    case = QUICK if config.quick else PhantomCase()
    repeats = 1 if config.quick else config.repeats
    heads = [PhantomCase(case.shape, seed=seed).head() for seed in (0, 1)]
    yield _row(ANATOMY, timed(lambda _: scan_of(heads[0]), repeats), None)
    host, donor = map(scan_of, heads)
    for method, run in runs(config, host, donor).items():
        yield _row(method, timed(run, repeats), None if method == CARVEMIX else config.lesions)
    if config.published and not config.quick:
        found = measure_published("cpu", Work(lesions=config.lesions, threads=config.threads))
        yield Row(PUBLISHED, found.scan_s, None, None, config.lesions, found.how)


def _row(method: str, timing: Timing, lesions: int | None) -> Row:
    return Row(method, timing.median_s, timing.p90_s, timing.cpu_s, lesions)


def runs(config: BenchBaselines, host: Scan, donor: Scan) -> dict[str, Callable[[int], Scan]]:
    """Each method as a function from a seed to a changed scan; what it may prepare once is prepared."""
    import numpy as np
    import torch

    from benchmarks.baselines import carvemix, copy_paste, donors_in
    from lesionaug.plan_options import PlanOptions
    from lesionaug.synthesis import load_synthesizer

    donors, options = donors_in(donor, "donor"), PlanOptions(num_lesions=config.lesions)
    found: dict[str, Callable[[int], Scan]] = {
        CARVEMIX: lambda seed: carvemix(host, donor, np.random.default_rng(seed)),
        "copy-paste": lambda seed: copy_paste(host, donors, np.random.default_rng(seed), (config.lesions,) * 2),
    }
    for model in MODELS[:1] if config.quick else MODELS:
        ours = load_synthesizer(model)

        def synthesize(seed: int, ours=ours) -> Scan:
            plan = ours.plan(host, torch.Generator().manual_seed(seed), options)
            return ours.render(host, plan)

        found[f"lesionaug {model}"] = synthesize
    return found


def scan_of(head: Head) -> Scan:
    """With the anatomy that every method may know beforehand."""
    from lesionaug.assemble import assemble_scan

    images = {channel: image[None] for channel, image in zip(head.channels, head.image, strict=True)}
    return assemble_scan(images, head.affine, head.lesion_mask)


def times_ours(row: Row, rows: list[Row]) -> float | None:
    """How many times as long as our default models it takes, in the same run."""
    ours = next((other.scan_s for other in rows if other.method == f"lesionaug {MODELS[-1]}"), None)
    return row.scan_s / ours if ours else None


def table(rows: list[Row]) -> Table:
    """One line for each method."""
    shown = Table("method", caption="seconds per changed scan; anatomy: once per scan, for ours and copy-paste")
    for name in ("median", "90 %", "processor", "per lesion", "times ours"):
        shown.add_column(name, justify="right")
    shown.add_column("how")
    for row in rows:
        seconds = (row.scan_s, row.p90_s, row.cpu_s, row.lesion_s, times_ours(row, rows))
        shown.add_row(row.method, *map(_shown, seconds), row.how)
    return shown


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    tyro.cli(BenchBaselines).run()
