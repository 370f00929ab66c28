"""Result files as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.downstream.report import (
    SCOPES,
    arms_of,
    draw_table,
    excludes_zero,
    interval,
    level_table,
    markdown,
    warnings_of,
)
from benchmarks.downstream.zero import page as by_domain
from benchmarks.quantities import number, timing_spread
from benchmarks.speed.gathering import mark, rows_of, where_from
from benchmarks.speed.page import machine_lines

Result = Mapping[str, Any]
Results = Mapping[str, Result]
"""By file name."""

ELSEWHERE = ("loading", "steps")
"""Benchmarks that have tables of their own besides that of speed."""
COMPARED = ("dice", "f1", "recall", "precision")


def speed(results: Results) -> Iterator[str]:
    """What a user decides by, each number with its file."""
    (result,) = (found for found in results.values() if found["benchmark"] == "speed")
    files = {name: source for name, source in result["sources"].items() if source["benchmark"] not in ELSEWHERE}
    rows, group = [], None
    for row in rows_of(result):
        if row.source and row.source not in files:
            continue
        if row.group != group:
            rows.append([f"**{row.group}**", "", "", ""])
            group = row.group
        high = f" ({number(row.value + row.spread)})" if row.spread is not None and row.value is not None else ""
        value = "" if row.value is None else f"{number(row.value)}{high} {row.unit}"
        rows.append([row.name, value, row.note, mark(result, row, list(files))])
    yield from markdown(["", "median (90th percentile)", "", "from"], rows)
    yield ""
    yield from (f"[{index}] {where_from(*item)}  " for index, item in enumerate(files.items(), start=1))
    yield from machine_lines({"sources": files})


def loading(results: Results) -> Iterator[str]:
    """A row for each way of getting lesions, a column for each number of workers."""
    for name, result in of(results, "loading"):
        rows, config = result["rows"], result["config"]
        workers = list(dict.fromkeys(row["workers"] for row in rows))
        head = ["lesions", *(f"scans/s, {n}" for n in workers), *(f"training, {n}" for n in workers)]
        lines = [_way(mode, rows, workers) for mode in dict.fromkeys(row["mode"] for row in rows)]
        yield from markdown(head, lines)
        yield ""
        yield (
            f"Workers: {', '.join(map(str, workers))}; {config['lesions']} lesions of the {config['model']} models; "
            f"training: time of a step of {config['step_ms']:g} ms, times that without lesions. "
            + where_from(name, told(result))
        )


def _way(mode: str, rows: Sequence[Mapping[str, Any]], workers: Sequence[int]) -> list[str]:
    found = {row["workers"]: row for row in rows if row["mode"] == mode}
    overheads = [found[n]["overhead_percent"] if n in found else None for n in workers]
    times = [None if percent is None else 1 + percent / 100 for percent in overheads]
    return [mode, *(number(found[n]["samples_per_s"]) for n in workers), *map(number, times)]


def steps(results: Results) -> Iterator[str]:
    """Few calls against many: area of the better classifier, and variance over that of the slow sampler."""
    for name, result in of(results, "steps"):
        calls = list(dict.fromkeys(row["schedule"]["calls"] for row in _fast(result)))
        head = ["AUC (standard error) / variance ratio", *(f"{n} calls" for n in calls), "fewest that pass"]
        lines = []
        for model, rows in result["rows"].items():
            for stage in dict.fromkeys(row["stage"] for row in rows):
                own = {row["schedule"]["calls"]: row for row in _fast(result) if row["stage"] == stage}
                few = result["smallest"][f"{model}, {stage}"]
                passing = f"{few['strict'] or 'none'}; within a standard error {few['within_se'] or 'none'}"
                lines.append([f"{model}, {stage}", *(_judged(own.get(n)) for n in calls), passing])
        yield from markdown(head, lines)
        config = result["config"]
        yield ""
        yield (
            f"Against {config['ancestral']} calls; {config['lesions']} lesions that fit {config['patch']} voxels, "
            f"{config['seeds']} draws each. {where_from(name, told(result))}"
        )


def _fast(result: Result) -> list[Mapping[str, Any]]:
    return [row for rows in result["rows"].values() for row in rows if not row["schedule"]["fresh_noise"]]


def _judged(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    found = row["distance"]
    value, error = max((found["logreg"], found["logreg_se"]), (found["forest"], found["forest_se"]))
    return f"{max(value, 0.5):.2f} ({error:.2f}) / {found['variance_ratio']:.2f}"


def realism(results: Results) -> Iterator[str]:
    """Every yardstick beside what real lesions show among each other."""
    rows = [
        [row["name"], f"{row['value']:.3f}", _aim(row), _reached(row), _three(row["floor"]), _three(row["worst_real"])]
        for row in held_yardsticks(results)
    ]
    yield from markdown(["yardstick", "found", "aim", "reached", "real v real, median", "95 %"], rows)
    for name, result in _without_hosts(results):
        about = (
            f"Held patients: {', '.join(result['config']['held'])}. " if "masks" in result["config"]["parts"] else ""
        )
        yield from ("", f"{'; '.join(result['config']['parts'])}: {about}{where_from(name, told(result))}")


def held_yardsticks(results: Results) -> list[Mapping[str, Any]]:
    """Rows of plans and masks; what was measured again is taken from the newest file."""
    oldest_first = sorted((result for _, result in _without_hosts(results)), key=lambda result: result["time"])
    return list({row["name"]: row for result in oldest_first for row in result["yardsticks"]}.values())


def _without_hosts(results: Results) -> list[tuple[str, Result]]:
    return [(name, found) for name, found in of(results, "realism held") if "hosts" not in found["config"]["parts"]]


def _aim(row: Mapping[str, Any]) -> str:
    return "" if row["aim"] is None else f"{'>=' if row['at_least'] else '<='} {row['aim']:.3g}"


def _reached(row: Mapping[str, Any]) -> str:
    return {True: "yes", False: "**no**", None: ""}[row["reached"]]


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def hosts(results: Results) -> Iterator[str]:
    """In-host two-sample tests: a row for each file, a column for each classifier."""
    files = [(name, found) for name, found in of(results, "realism held") if "hosts" in found["config"]["parts"]]
    names = [row["name"] for row in files[0][1]["yardsticks"] if row["name"].startswith("AUC")]
    rows = [[_judged_hosts(found), *(_area(found, name) for name in names), file] for file, found in files]
    yield from markdown(["hosts", *names, "from"], rows)
    yield ""
    yield "0.5: cannot be told; the aim is 0.75 or less. In brackets: standard error of one seed."


def _judged_hosts(result: Result) -> str:
    config = result["config"]
    return f"{', '.join(config['hosts'])}{'; halo' if config['halo'] else ''}; seeds: {len(config['seeds'])}"


def _area(result: Result, name: str) -> str:
    row = next(row for row in result["yardsticks"] if row["name"] == name)
    text = f"{row['value']:.2f} ({row['error']:.2f})"
    return text if row["reached"] else f"**{text}**"


def judged(results: Results) -> Iterator[str]:
    """Whole data sets beside real ones: a column for each method."""
    files = list(of(results, "realism judge"))
    if not files:
        yield "Not measured: there is no result of `python -m benchmarks.realism GENERATED --reference REAL` here."
    for name, result in files:
        columns = {method: {row["name"]: row for row in rows} for method, rows in result["columns"].items()}
        names = list(dict.fromkeys(name for rows in columns.values() for name in rows))
        lines = [_yardstick(name, [rows.get(name) for rows in columns.values()]) for name in names]
        yield from markdown(["yardstick", *columns, "aim", "real v real, median", "95 %"], lines)
        yield from ("", f"In bold: aim missed. {where_from(name, told(result))}", "")


def _yardstick(name: str, rows: Sequence[Mapping[str, Any] | None]) -> list[str]:
    row = next(row for row in rows if row is not None)
    cells = ["-" if row is None or row["value"] is None else _marked(row) for row in rows]
    return [name, *cells, _aim(row), _three(row["floor"]), _three(row["worst_real"])]


def _marked(row: Mapping[str, Any]) -> str:
    return f"**{row['value']:.3f}**" if row["reached"] is False else f"{row['value']:.3f}"


def soak(results: Results) -> Iterator[str]:
    """Whether everything went on."""
    rows = []
    for name, result in of(results, "soak"):
        answers, seconds = result["answers"], result["seconds"]
        wrong = sum(answers.values()) - answers.get("right", 0)
        kills = ", ".join(f"{count} x {what}" for what, count in result["kills"].items())
        recovered = [second for second in result["recovery_s"] if second is not None]
        drift = max(map(abs, result["memory_drift_percent"].values()), default=0.0)
        rows.append(
            [
                f"{result['config']['minutes']:g} minutes",
                f"{sum(answers.values()):,}, {wrong} wrong",
                kills,
                " / ".join(f"{seconds[key]:g}" for key in ("p50", "p99", "max")),
                f"{max(recovered, default=0.0):g}",
                f"{drift:g} %",
                name,
            ]
        )
    head = ["soak", "answers", "disturbed by", "answer, s: median / 99 % / longest"]
    yield from markdown([*head, "s to answer again, at most", "memory drift, at most", "from"], rows)


def downstream(results: Results) -> Iterator[str]:
    """A table for each study; claims are what its intervals allow."""
    for name, result in of(results, "downstream"):
        if name != next(of(results, "downstream"))[0]:
            yield ""
        yield from _study(name, result)


def zero(results: Results) -> Iterator[str]:
    """What synthetic lesions alone teach, by kind of scan."""
    for name, result in of(results, "downstream"):
        if result["about"]["cohort"].startswith("zero:"):
            yield f"By kind of scan, from `{name}`: mean over patients and seeds (least to largest seed)."
            yield ""
            yield from by_domain(result["records"])


def _study(name: str, result: Result) -> Iterator[str]:
    records, engine = result["records"], result["about"]["engine"]
    told_engine = f"{engine['name']}, {engine['steps']} steps" if "steps" in engine else engine["name"]
    yield f"**`{name}`**: {result['about']['cohort']}; engine {told_engine}; {result['about']['generator']}."
    for patients in sorted({record["run"]["patients"] for record in records}):
        here = [record for record in records if record["run"]["patients"] == patients]
        runs = {(record["run"]["draw"], record["run"]["seed"]) for record in here}
        yield from ("", f"Trained on {patients}; draws x seeds: {len(runs)}; mean over test patients:", "")
        yield from level_table(here, patients)
        yield ""
        yield from draw_table(here)
        against = [row for row in result["comparisons"] if row["trained_on"] == patients and row["metric"] in COMPARED]
        if against:
            yield ""
            yield from _gains(against, arms_of(here))
    yield from warnings_of(result["comparisons"])


def _gains(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> list[str]:
    """Difference of every arm from `none`, with its intervals; in bold where they leave out 0."""
    found = {(row["arm"], row["metric"]): row for row in rows if row["against"] == "none"}
    lines = [[arm, *(_gain(found[arm, metric]) for metric in COMPARED)] for arm in arms if (arm, COMPARED[0]) in found]
    scopes = "; ".join(name for scope, name in SCOPES.items() if any(row[scope] for row in found.values()))
    return markdown([f"arm - `none` (95 %, {scopes}; p by Holm)", *COMPARED], lines)


def _gain(row: Mapping[str, Any]) -> str:
    known = [row[scope] for scope in SCOPES if row[scope]]
    intervals = [f"**{interval(found)}**" if excludes_zero(found) else interval(found) for found in known]
    return f"{row['mean']:+.3f} ({'; '.join([*intervals, format(row['p_holm'], '.2f')])})"


def cache(results: Results) -> Iterator[str]:
    """Every stage of a cached variant."""
    for name, result in of(results, "cache"):
        rows = [
            [stage, number(1000 * timing["median_s"]), number(1000 * (timing["median_s"] + timing_spread(timing)))]
            for stage, timing in result["stages"].items()
        ]
        yield from markdown(["stage", "ms, median", "90 %"], rows)
        yield from ("", where_from(name, told(result)))


def of(results: Results, benchmark: str) -> Iterator[tuple[str, Result]]:
    """Files of one benchmark."""
    return ((name, found) for name, found in results.items() if found["benchmark"] == benchmark)


def told(result: Result) -> dict[str, Any]:
    """As `where_from` takes it."""
    return {**result, "differs": []}


MAKERS: dict[str, Callable[[Results], Iterator[str]]] = {
    "speed": speed,
    "cache": cache,
    "loading": loading,
    "soak": soak,
    "steps": steps,
    "realism": realism,
    "hosts": hosts,
    "judged": judged,
    "downstream": downstream,
    "zero": zero,
}
