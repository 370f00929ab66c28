"""How many network calls are enough: few of them against many of the same network.

`python -m benchmarks.bench_steps` judges 1, 2, 4, 8 and 25 deterministic calls by 300 with fresh noise in every step,
for LeFusion and for DiffMask. The number to use is the smallest whose lesions a classifier cannot tell from the slow
ones and that differ from seed to seed as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.measure import provenance
from benchmarks.realism.hosts import DEFAULT_HOSTS, load_host, load_masks
from benchmarks.realism.shape import lesions_of
from benchmarks.result_files import write_result
from benchmarks.steps.repaint import RePaintCost, repaint_cost
from benchmarks.steps.schedule import Schedule
from benchmarks.steps.sets import Distance, Draws, distance
from benchmarks.steps.shapes import FIELD, draw_all, draw_jobs, real_shapes, shape_ks
from benchmarks.steps.tissue import paint_all, paint_jobs
from lesionaug.models.registry import load_inpainter, load_mask_generator

MAX_AUC = 0.55
VARIANCE = (0.9, 1.1)
SLOW_SEEDS = 500_000  # from here on, so that no draw shares its noise with one that it is compared with

Run = Callable[[Schedule, int], dict[str, Draws]]
"""Draws of all lesions by stage, from a schedule and its first seed."""


@dataclass(frozen=True)
class BenchSteps:
    """Few network calls against many of the same network.

    Examples:
      python -m benchmarks.bench_steps --output benchmarks/results/steps-cpu.json
      python -m benchmarks.bench_steps --lefusion RUN/model --diffmask RUN/model --lesions 60 --seeds 4
      python -m benchmarks.bench_steps --tries 2 0.2 1.5 7 4 0.3 2 3

    Args:
        lefusion: Folder of an inpainting model instead of the packaged one.
        diffmask: Folder of a mask model instead of the packaged one.
        steps: Numbers of deterministic calls.
        ancestral: Calls of the slow sampler.
        tries: More deterministic schedules: calls, lowest and highest noise level, rho; again and again.
        hosts: Scans that LeFusion paints into.
        held: Patients whose lesions' sizes DiffMask is given; all if none is named.
        lesions: For each model.
        seeds: Draws of each lesion.
        patch: Voxels of the largest patch: 16 hold lesions of 10 mm, 24 of 18 mm (three times the work), 32 of 26 mm.
        repaint: Whether a call of the published network is timed.
        seed: Of places, shapes, folds.
        threads: Of the processor.
        quick: Few lesions, few calls, without the published network: shows that all of it runs.
        output: JSON file for all of it, with hardware, versions and commit.
    """

    lefusion: Path | None = None
    diffmask: Path | None = None
    steps: tuple[int, ...] = (1, 2, 4, 8, 25)
    ancestral: int = 300
    tries: tuple[tuple[int, float, float, float], ...] = ()
    hosts: tuple[str, ...] = DEFAULT_HOSTS
    held: tuple[str, ...] = ()
    lesions: int = 24
    seeds: int = 2
    patch: Literal[16, 24, 32, 48] = 16
    repaint: bool = True
    seed: int = 0
    threads: int = 1
    quick: bool = False
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write."""
        few = {"lesions": 6, "seeds": 2, "steps": (1, 2), "ancestral": 3, "repaint": False}
        (replace(self, **few) if self.quick else self)._run()

    def _run(self) -> None:
        torch.set_num_threads(self.threads)
        console, origin = Console(width=150), provenance()
        found: dict[str, list[Row]] = {}
        for name, subject in _models(self):
            found[name] = rows = list(judged(self, subject))
            console.print(*(table(f"{name}: {stage}", self, _of(rows, stage)) for stage in _stages(rows)))
            console.print(verdict(name, rows))
            write(self, origin, found, None)
        cost = repaint_cost() if self.repaint else None
        if cost:
            console.print(cost.line(), soft_wrap=True)
        write(self, origin, found, cost)


@dataclass(frozen=True)
class Subject:
    """A model whose samplers are compared.

    Args:
        run: Draws its lesions.
        settings: Of the model; its own range of noise levels.
        real: Shapes of the real lesions after which its jobs are made, where shapes are judged.
    """

    run: Run
    settings: Any
    real: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """One schedule, compared with the slow one.

    Args:
        stage: What was compared.
        schedule: How the lesions were sampled.
        lesion_s: Seconds per lesion, the slow measures of this benchmark included.
        distance: To the slow sampler's lesions.
        ks: Of each feature, where features are few.
        real_ks: Likewise, but to the real lesions that the jobs were made after.
    """

    stage: str
    schedule: Schedule
    lesion_s: float
    distance: Distance
    ks: dict[str, float] = field(default_factory=dict)
    real_ks: dict[str, float] = field(default_factory=dict)

    @property
    def auc_passes(self) -> bool:
        """Not told from the slow ones."""
        return self.distance.worst_auc[0] <= MAX_AUC

    @property
    def auc_may_pass(self) -> bool:
        """Not told from the slow ones, to within a standard error."""
        value, error = self.distance.worst_auc
        return value - error <= MAX_AUC

    @property
    def variance_passes(self) -> bool:
        """As diverse as the slow ones."""
        ratio = self.distance.variance_ratio
        return ratio is not None and VARIANCE[0] <= ratio <= VARIANCE[1]


def _models(config: BenchSteps) -> Iterator[tuple[str, Subject]]:
    """Each model under its name."""
    masks = load_masks()
    painter = load_inpainter(config.lefusion or "default", device="cpu")
    jobs = paint_jobs(
        painter, [load_host(name) for name in config.hosts], masks, config.lesions, config.patch, config.seed
    )
    yield "lefusion", Subject(lambda plan, seed: paint_all(painter, jobs, plan, config.seeds, seed), painter.config)
    drawer = load_mask_generator(config.diffmask or "default", device="cpu")
    real = [crop for name in config.held or masks for crop in lesions_of(masks[name])]
    sizes = draw_jobs(drawer, real, config.lesions, config.patch, config.seed)
    yield (
        "diffmask",
        Subject(
            lambda plan, seed: {FIELD: draw_all(drawer, sizes, plan, config.seeds, seed)},
            drawer.config,
            real_shapes(sizes),
        ),
    )


def judged(config: BenchSteps, subject: Subject) -> Iterator[Row]:
    """Every schedule against the slow one, which comes first, with its halves against each other."""
    run, model = subject.run, subject.settings
    slow = Schedule(config.ancestral, model.sigma_min, model.sigma_max, fresh_noise=True)
    slow_s, reference = _timed(run, slow, SLOW_SEEDS, config)
    half = config.seeds // 2
    for stage, draws in reference.items():
        first, second = draws.only(slice(half)), draws.only(slice(half, 2 * half))
        yield _row(stage, slow, slow_s, (first, second), subject.real, config.seed)
    own = [Schedule(calls, model.sigma_min, model.sigma_max) for calls in config.steps]
    for plan in (*own, *(Schedule(*chosen) for chosen in config.tries)):
        lesion_s, found = _timed(run, plan, 0, config)
        for stage, draws in found.items():
            yield _row(stage, plan, lesion_s, (draws, reference[stage]), subject.real, config.seed)


def _timed(run: Run, plan: Schedule, first_seed: int, config: BenchSteps) -> tuple[float, dict[str, Draws]]:
    start = time.perf_counter()
    found = run(plan, first_seed)
    return (time.perf_counter() - start) / (config.lesions * config.seeds), found


def _row(
    stage: str, plan: Schedule, lesion_s: float, sides: tuple[Draws, Draws], real: np.ndarray | None, seed: int
) -> Row:
    draws, reference = sides
    found = distance(draws, reference, seed)
    if real is None:
        return Row(stage, plan, lesion_s, found)
    return Row(
        stage,
        plan,
        lesion_s,
        found,
        ks=shape_ks(draws.features, reference.features),
        real_ks=shape_ks(draws.features, real),
    )


def _stages(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row.stage for row in rows))


def _of(rows: list[Row], stage: str) -> list[Row]:
    return [row for row in rows if row.stage == stage]


def table(title: str, config: BenchSteps, rows: list[Row]) -> Table:
    """One line per schedule."""
    size = f"{config.lesions} lesions that fit {config.patch}^3, {config.seeds} draws each"
    caption = f"{size}; in brackets: standard error over lesions"
    shown = Table(title=title, caption=caption)
    lines = [_cells(row) for row in rows]
    for name in lines[0]:
        shown.add_column(name, justify="left" if name == "calls" else "right")
    for line in lines:
        shown.add_row(*line.values())
    return shown


def _cells(row: Row) -> dict[str, str]:
    found, plan = row.distance, row.schedule
    slow = plan.fresh_noise
    return {
        "calls": f"{plan.calls} slow, half v half"
        if slow
        else f"{plan.calls} ({plan.low:g}-{plan.high:g}, {plan.rho:g})",
        "s": f"{row.lesion_s:.2f}",
        **{name: f"{value:.3f}" for name, value in found.errors.items()},
        "histogram": f"{found.histogram:.3f}",
        **{f"{name} edge": f"{value:.3f}" for name, value in found.edge.items()},
        **{f"KS {name}": f"{value:.3f}" for name, value in row.ks.items()},
        **{f"to real {name}": f"{value:.3f}" for name, value in row.real_ks.items()},
        "variance ratio": _with_error(found.variance_ratio, found.variance_se),
        "logistic": _with_error(found.logreg, found.logreg_se),
        "forest": _with_error(found.forest, found.forest_se),
        "passes": "" if slow else _passes(row),
    }


def _with_error(value: float | None, error: float | None) -> str:
    return "" if value is None or error is None else f"{value:.2f} ({error:.2f})"


def _passes(row: Row) -> str:
    told = "yes" if row.auc_passes else "within SE" if row.auc_may_pass else "no"
    return f"AUC {told}, variance {'yes' if row.variance_passes else 'no'}"


def smallest(rows: list[Row], stage: str, *, strict: bool) -> int | None:
    """Fewest calls of the model's own schedule that pass; none if none do."""
    own = [row for row in _of(rows, stage) if not row.schedule.fresh_noise]
    passing = [r for r in own if (r.auc_passes if strict else r.auc_may_pass) and r.variance_passes]
    return min((row.schedule.calls for row in passing), default=None)


def verdict(name: str, rows: list[Row]) -> str:
    """The rule, for each stage."""
    lines = [
        f"{name}, {stage}: smallest number of calls with AUC <= {MAX_AUC} and variance ratio {VARIANCE[0]} to "
        f"{VARIANCE[1]}: {smallest(rows, stage, strict=True) or 'none'}; with AUC within its standard error: "
        f"{smallest(rows, stage, strict=False) or 'none'}"
        for stage in _stages(rows)
    ]
    return "\n".join(lines)


def write(config: BenchSteps, origin: dict, found: dict[str, list[Row]], cost: RePaintCost | None) -> None:
    """Everything so far, as JSON, if that was asked for."""
    if config.output is None:
        return
    content = {
        "rows": {name: [asdict(row) for row in rows] for name, rows in found.items()},
        "smallest": {
            f"{name}, {stage}": {
                "strict": smallest(rows, stage, strict=True),
                "within_se": smallest(rows, stage, strict=False),
            }
            for name, rows in found.items()
            for stage in _stages(rows)
        },
        "repaint": asdict(cost) if cost else None,
    }
    write_result(config.output, "steps", asdict(config), origin, content)


if __name__ == "__main__":
    tyro.cli(BenchSteps).run()
