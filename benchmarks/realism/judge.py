"""`python -m benchmarks.realism GENERATED --reference REAL`: how real the lesions of a data set are, by all yardsticks.

folders ─► scan_sets (paths) ─► scan_measures (processes) ─► judging, classifying, copying (rows) ─► table, JSON, figure
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tyro

from benchmarks.measure import provenance
from benchmarks.realism.classifying import Each
from benchmarks.realism.copying import copy_rows
from benchmarks.realism.halving import Scans
from benchmarks.realism.judging import distribution_rows, tissue_rows
from benchmarks.realism.scan_measures import ScanMeasures, measure_group, measure_real
from benchmarks.realism.scan_sets import GeneratedSet, Which, find_generated, find_labelled, find_real
from benchmarks.realism.yardsticks import HEAD, Yardstick, side_by_side
from benchmarks.result_files import write_result
from lesionaug.checks import check_known
from lesionaug.dataset.executors import DIED
from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import LayoutName
from lesionaug.layouts.core import SourceScan
from lesionaug.scan import CHANNELS

Columns = dict[str, list[Yardstick]]
FIGURES = (".png", ".svg", ".pdf")
CHUNK = 3  # variants of a host that a worker measures in one go


@dataclass(frozen=True)
class Judge:
    """How real the lesions of generated scans are, beside how alike real patients are.

    Examples:
      python -m benchmarks.realism OUT --reference PATIENTS --output result.json --figure result.png
      python -m benchmarks.realism lesionaug=OUT carvemix=OUT2 --reference PATIENTS --channels flair

    Args:
        generated: Folder or table of scans with synthetic lesions, as NAME=FOLDER where there are several.
        reference: Folder or table of real scans with labels, of two patients or more.
        channels: Judge these contrasts, the first also by itself; else all that every scan has.
        lesions: `new` judges what a manifest calls new, `all` also the hosts' own; without a manifest all are judged.
        seen: Folder or table of the scans that the method learnt from, to find what it learnt by heart.
        layout: How files are named in GENERATED.
        reference_layout: How files are named in the reference and in --seen.
        splits: Halvings of the real patients, at most.
        seed: Of halvings and classifiers.
        workers: Processes.
        output: JSON file for all of it, with hardware, versions and commit.
        figure: Picture (PNG, SVG, PDF) of the distributions.
    """

    generated: tyro.conf.Positional[tuple[str, ...]]
    reference: Path
    channels: tuple[str, ...] = ()
    lesions: Which = "new"
    seen: Path | None = None
    layout: LayoutName = "auto"
    reference_layout: LayoutName = "auto"
    splits: int = 100
    seed: int = 0
    workers: int = 2
    output: Path | None = None
    figure: Path | None = None

    def run(self) -> None:
        """Find, measure, judge, print, write."""
        self._check()
        origin, start = provenance(), time.perf_counter()
        real = find_real(self.reference, self.reference_layout)
        sets = [find_generated(name, root, real, self.lesions, self.layout) for name, root in named(self.generated)]
        seen = find_labelled(self.seen, self.reference_layout) if self.seen else ()
        channels = common_channels(self.channels, real, sets)
        with _pool(self.workers) as pool:
            measured = measure_all(real, sets, seen, channels, pool)
            columns = {one.name: self._column(one, measured, channels, pool.map) for one in sets}
        wall_s = time.perf_counter() - start
        print("\n".join([*heading(sets, measured), *table(columns), f"{wall_s:.0f} s"]))
        if self.figure:
            from benchmarks.realism.judge_figure import draw

            draw(measured.real, measured.generated, columns, channels, self.figure, self.splits)
        if self.output:
            found = {"columns": {name: [row.to_dict() for row in rows] for name, rows in columns.items()}}
            write_result(self.output, "realism judge", asdict(self), origin, {"wall_s": round(wall_s, 1), **found})

    def _check(self) -> None:
        """Before minutes of work.

        Raises:
            LesionAugError: Something that was asked for cannot be done.
        """
        if self.splits < 1:
            raise LesionAugError(f"Expected one split or more, got {self.splits}; correct --splits")
        if self.figure and self.figure.suffix not in FIGURES:
            raise LesionAugError(
                f"Expected a figure of kind {', '.join(FIGURES)}, got {self.figure}; choose another --figure"
            )

    def _column(self, one: GeneratedSet, measured: Measured, channels: Sequence[str], each: Each) -> list[Yardstick]:
        sides, options = (measured.real, measured.generated[one.name]), {"splits": self.splits, "seed": self.seed}
        return [
            *distribution_rows(*sides, **options),
            *tissue_rows(*sides, channels, paired=one.paired, **options, each=each),
            *copy_rows(*sides, measured.seen or None, self.seed),
        ]


@dataclass(frozen=True)
class Measured:
    """Measures of all scans: real, of each method, and those that were learnt from."""

    real: Scans
    generated: dict[str, list[ScanMeasures]]
    seen: Scans


def named(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """Methods and their folders.

    Raises:
        LesionAugError: None, or two of one name.

    Example:
        >>> named(["out", "carvemix=mixed/out"])
        [('out', PosixPath('out')), ('carvemix', PosixPath('mixed/out'))]
    """
    pairs = [argument.partition("=") for argument in arguments]
    found = [(name, Path(root)) if sign else (Path(name).name, Path(name)) for name, sign, root in pairs]
    names = [name for name, _ in found]
    if not found or len(set(names)) < len(names):
        raise LesionAugError(
            f"Expected folders of generated scans, each of another name, got {', '.join(names) or 'none'}; "
            "name them: lesionaug=OUT carvemix=OUT2"
        )
    return found


def common_channels(wanted: Sequence[str], real: Sequence[SourceScan], sets: Sequence[GeneratedSet]) -> tuple[str, ...]:
    """Contrasts to judge.

    Raises:
        LesionAugError: A contrast that was asked for is unknown, or a scan lacks it.
    """
    check_known("channel", wanted, CHANNELS)
    files = [*real, *(scan.files for one in sets for scan in one.scans)]
    for channel in wanted:
        if lacking := [one.subject for one in files if channel not in one.images]:
            raise LesionAugError(
                f"Expected {channel} of every scan, got none of {', '.join(lacking[:3])}; choose other --channels"
            )
    return tuple(wanted) or tuple(channel for channel in CHANNELS if all(channel in one.images for one in files))


def measure_all(
    real: Sequence[SourceScan],
    sets: Sequence[GeneratedSet],
    seen: Sequence[SourceScan],
    channels: Sequence[str],
    pool: Executor,
) -> Measured:
    """Measure all scans in a pool of processes.

    Raises:
        LesionAugError: A scan cannot be used.
    """
    of_real = [pool.submit(measure_real, files, channels) for files in real]
    of_sets = {one.name: [pool.submit(measure_group, *group, channels) for group in groups_of(one)] for one in sets}
    # Textures are compared in the first contrast, where it is there.
    of_seen = [pool.submit(measure_real, files, [c for c in channels[:1] if c in files.images]) for files in seen]
    return Measured(
        [future.result() for future in of_real],
        {name: [scan for future in futures for scan in future.result()] for name, futures in of_sets.items()},
        [future.result() for future in of_seen],
    )


def groups_of(one: GeneratedSet) -> list[tuple[SourceScan | None, list]]:
    """Scans of a host next to each other, few at a time."""
    hosts: dict[str, list] = {}
    for scan in one.scans:
        hosts.setdefault(scan.host.subject if scan.host else "", []).append(scan)
    return [
        (scans[0].host, scans[first : first + CHUNK])
        for scans in hosts.values()
        for first in range(0, len(scans), CHUNK)
    ]


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Processes that are gone after the block.

    Raises:
        LesionAugError: Fewer than one, or one of them died.
    """
    if workers < 1:
        raise LesionAugError(f"Expected one worker or more, got {workers}; correct --workers")
    # Threads of several processes would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise LesionAugError(DIED) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def heading(sets: Sequence[GeneratedSet], measured: Measured) -> list[str]:
    """What is compared with what, for the terminal."""
    lines = [f"{one.name}: {len(one.scans)} scans, {one.note}; {_hosts(one)}" for one in sets]
    lines += [f"{one.name}: {warning}" for one in sets if (warning := _voxels(measured, one.name))]
    patients = len({scan.patient for scan in measured.real})
    return [*lines, f"real: {patients} patients; `real` and `95 %` are what their halves show of each other"]


def table(columns: Columns) -> list[str]:
    """All rows, of several methods side by side."""
    if len(columns) > 1:
        return side_by_side(columns)
    return [HEAD, *(row.line() for rows in columns.values() for row in rows)]


def _hosts(one: GeneratedSet) -> str:
    if one.paired:
        return "made from real scans at hand: compared in the host"
    return "WARNING: not made from the real scans at hand, so that hosts differ as well as lesions"


def _voxels(measured: Measured, name: str) -> str:
    """What to know where the voxels of generated scans are none that real ones have."""
    sizes = [
        {tuple(np.round(scan.spacing_mm, 1)) for scan in side} for side in (measured.generated[name], measured.real)
    ]
    if sizes[0] <= sizes[1]:
        return ""
    return "WARNING: voxels of other sizes than the real ones', on which shape, edge and texture depend; resample first"
