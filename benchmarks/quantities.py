"""The numbers of a result file that can be compared with those of another: what, how much, and how sure.

Every benchmark writes its results in its own way; here is the one place that reads them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.bench_baselines import ANATOMY
from lesionaug.errors import LesionAugError

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Quantity:
    """A number by which something is decided.

    Args:
        group: What it belongs to.
        name: What was measured; with `group`, no other of the file has it.
        value: The number; none where it could not be had.
        unit: Of it, and of the next.
        spread: How far chance alone may move it: from the median to the 90th percentile of times, two standard errors
            of means and areas, from median to 95th percentile of what real lesions show; none where that is not known.
        more_is_better: Or less.
        note: What to know of it.
    """

    group: str
    name: str
    value: float | None
    unit: str = ""
    spread: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Of the same number in another file."""
        return self.group, self.name


def quantities(result: Result) -> list[Quantity]:
    """All that a result of `result_files.read_result` has.

    Raises:
        LesionAugError: Nothing of that benchmark can be compared.
    """
    if result["benchmark"] not in READERS:
        known = ", ".join(READERS)
        raise LesionAugError(f"Expected a result of one of {known}, got {result['benchmark']}; look at it by eye")
    return list(READERS[result["benchmark"]](result))


def timing_spread(timing: Mapping[str, float]) -> float:
    """Of a `measure.Timing`."""
    return timing["p90_s"] - timing["median_s"]


def _baselines(result: Result) -> Iterator[Quantity]:
    config = result["config"]
    group = f"one scan, {config['lesions']} new lesions, threads: {config['threads']}"
    for row in result["rows"]:
        spread = None if row["p90_s"] is None else row["p90_s"] - row["scan_s"]
        yield Quantity(group, row["method"], row["scan_s"], "s", spread, note="; ".join(_notes_of_method(row)))


def _notes_of_method(row: Mapping[str, Any]) -> Iterator[str]:
    if row["lesions"]:
        yield f"{number(row['scan_s'] / row['lesions'])} s per lesion"
    if row["method"] == ANATOMY:
        yield "once per scan; ours and copy-paste need it"
    elif row["times_ours"] not in (None, 1):
        yield f"{number(row['times_ours'])} times ours"
    if row["how"] != "measured":
        yield row["how"]


def _synthesis(result: Result) -> Iterator[Quantity]:
    for row in result["rows"]:
        group = f"anatomy, plan and {row['lesions']} lesions on {row['device']}, threads: {row['threads']}"
        measured = row["how"] == "measured"
        spreads = {name: timing_spread(timing) for name, timing in row["stages"].items()} if measured else {}
        note = "" if measured else row["how"]
        scan, lesion = (math.hypot(*spreads.values()), spreads["render"] / row["lesions"]) if spreads else (None, None)
        yield Quantity(group, f"{row['model']}: scan", row["scan_s"], "s", scan, note=note)
        yield Quantity(group, f"{row['model']}: a lesion", row["lesion_s"], "s", lesion, note=note)
        yield Quantity(group, f"{row['model']}: peak memory", row["peak_gb"], "GB", note=note)


def _cache(result: Result) -> Iterator[Quantity]:
    stages, config = result["stages"], result["config"]
    group = f"a variant of {config['lesions']} lesions, {config['model']} models, threads: 1"
    times = stages["render"]["median_s"] / stages["total"]["median_s"]
    for stage, name in (("total", "out of the cache"), ("render", "rendered instead")):
        note = f"{number(times)} times faster than rendering" if stage == "total" else ""
        found = stages[stage]
        yield Quantity(group, name, 1000 * found["median_s"], "ms", 1000 * timing_spread(found), note=note)
    yield Quantity(group, "size on disk", result["size"]["variant_bytes"] / 1000, "kB")


def _loading(result: Result) -> Iterator[Quantity]:
    config = result["config"]
    device = "" if config["device"] == "cpu" else f", server on {config['device']}"
    what = f"{config['lesions']} lesions of {config['model']} models{device}"
    for row in result["rows"]:
        yield Quantity(f"data loader, {what}", _loader(row), row["samples_per_s"], "scans/s", more_is_better=True)
    for row in result["rows"]:
        times = _times(row["overhead_percent"])
        if row["mode"] != "without" and times is not None:
            yield Quantity(f"training with steps of {config['step_ms']:g} ms, {what}", _loader(row), times, TIMES)


def _loader(row: Mapping[str, Any]) -> str:
    return f"{row['mode']}, workers: {row['workers']}"


def _nnunet(result: Result) -> Iterator[Quantity]:
    config = result["config"]
    group = f"nnU-Net, iteration with the batch made in its process, {config['configuration']} on {config['device']}"
    for row in result["ways"]:
        note = f"batch {number(row['batch_mean_s'])} s, step {number(row['step_mean_s'])} s"
        if row["way"] != "without":
            yield Quantity(group, row["way"], _times(row["overhead_percent"]), TIMES, note=note)


def _overlays(result: Result) -> Iterator[Quantity]:
    stages = result["stages"]
    added_s = stages["crop, with"]["cpu_s"] - stages["crop, without"]["cpu_s"]
    sample_s = stages["sample, without"]["cpu_s"]
    group = "nnU-Net, one sample of its loader, threads: 1"
    note = f"{1000 * added_s:.1f} ms of {1000 * sample_s:,.0f} ms, processor time"
    yield Quantity(group, "prepared variant", 1 + added_s / sample_s, TIMES, note=note)


def _steps(result: Result) -> Iterator[Quantity]:
    """Calls, allowing the area its standard error; the strict number is in the note."""
    config = result["config"]
    group = f"network calls that pass, {config['lesions']} lesions x {config['seeds']}"
    for stage, found in result["smallest"].items():
        note = f"without allowing a standard error: {found['strict'] or 'none passes'}"
        yield Quantity(group, stage, found["within_se"], "calls", note=note)


def _soak(result: Result) -> Iterator[Quantity]:
    answers = result["answers"]
    group = f"soak of {result['config']['minutes']:g} minutes"
    yield Quantity(group, "answers that were not right", sum(answers.values()) - answers.get("right", 0), "")
    yield Quantity(group, "99th percentile of answers", result["seconds"]["p99"], "s")
    recovered = [seconds for seconds in result["recovery_s"] if seconds is not None]
    if recovered:
        middle = sorted(recovered)[len(recovered) // 2]
        yield Quantity(group, "right answers again after a kill", middle, "s", max(recovered) - middle)


def _filling(result: Result) -> Iterator[Quantity]:
    for name, found in result["found"].items():
        for test in ("logreg", "forest"):
            yield Quantity(name, f"AUC {test}", found[test], "", 2 * found[f"{test}_se"])


def _held(result: Result) -> Iterator[Quantity]:
    return _yardsticks("yardsticks", result["yardsticks"])


def _judge(result: Result) -> Iterator[Quantity]:
    for generator, rows in result["columns"].items():
        yield from _yardsticks(generator, rows)


def _yardsticks(group: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Quantity]:
    for row in rows:
        error, real, floor = row["error"], row["worst_real"], row["floor"]
        varies = None if real is None or floor is None else abs(real - floor)
        spread = varies if error is None else 2 * error
        yield Quantity(group, row["name"], row["value"], "", spread, row["at_least"], row["note"])


def _downstream(result: Result) -> Iterator[Quantity]:
    """Level of each arm; the spread is of test patients alone. For claims there are the study's own intervals."""
    from benchmarks.downstream.report import SHOWN, arms_of
    from benchmarks.downstream.statistics import tables

    records = result["records"]
    for patients in sorted({record["run"]["patients"] for record in records}):
        for arm in arms_of(records):
            for metric in SHOWN:
                runs = [list(row.values()) for row in tables(records, arm, patients, metric).values()]
                if runs:
                    yield _level(f"{arm}, trained on {patients}", metric, runs)


def _level(group: str, metric: str, runs: list[list[float]]) -> Quantity:
    import numpy as np

    by_patient = np.mean(runs, axis=0)
    error = float(by_patient.std(ddof=1) / math.sqrt(len(by_patient))) if len(by_patient) > 1 else None
    return Quantity(group, metric, float(by_patient.mean()), "", error and 2 * error, more_is_better=True)


@dataclass(frozen=True)
class Gathered(Quantity):
    """A number in a table of several files.

    Args:
        source: File that it is from.
    """

    source: str = field(default="", kw_only=True)

    @classmethod
    def of(cls, quantity: Quantity, source: str) -> Gathered:
        """The same, and where it is from."""
        return cls(**asdict(quantity), source=source)


def _speed(result: Result) -> Iterator[Quantity]:
    for row in result["rows"]:
        yield Gathered(**row)


def _times(overhead_percent: float | None) -> float | None:
    return None if overhead_percent is None else 1 + overhead_percent / 100


def number(value: float | None) -> str:
    """Three digits, for people."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


TIMES = "x without"
"""Unit of what lesions make longer: how many times as long as without them."""

READERS: dict[str, Callable[[Result], Iterator[Quantity]]] = {
    "baselines": _baselines,
    "cache": _cache,
    "downstream": _downstream,
    "filling": _filling,
    "loading": _loading,
    "nnunet": _nnunet,
    "nnunet-overlays": _overlays,
    "realism held": _held,
    "realism judge": _judge,
    "soak": _soak,
    "speed": _speed,
    "steps": _steps,
    "synthesis": _synthesis,
}
