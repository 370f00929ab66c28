"""The table and the figure of a gathered result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.bench_baselines import ANATOMY
from benchmarks.quantities import TIMES, Gathered, number
from benchmarks.speed.gathering import mark, of_benchmark, rows_of, where_from

COLOURS = {"lesionaug": "tab:blue", "cached": "tab:blue", "prepared": "tab:blue", "LeFusion": "tab:red"}
"""Of names that begin so; ways that cost next to nothing are ours, too."""


def table(result: Mapping[str, Any]) -> Table:
    """A line for each number; the last column says which file it is from."""
    files = list(result["sources"])
    shown = Table("", caption="\n".join(captions(result)), caption_justify="left")
    for name in ("found", "90 %"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("")
    shown.add_column("from", justify="right")
    group = None
    for row in rows_of(result):
        if row.group != group:
            shown.add_section()
            shown.add_row(f"[bold]{row.group}")
            group = row.group
        shown.add_row(f"  {row.name}", *cells(row), row.note, escape(mark(result, row, files)))
    return shown


def cells(row: Gathered) -> tuple[str, str]:
    """Value and its 90th percentile, where there is one."""
    if row.value is None:
        return "-", ""
    high = number(row.value + row.spread) if row.spread is not None and row.unit in ("s", "ms") else ""
    return f"{number(row.value)} {row.unit}".rstrip(), high


def captions(result: Mapping[str, Any]) -> Iterator[str]:
    """Every file, numbered, and the machine."""
    for index, (name, source) in enumerate(result["sources"].items(), start=1):
        yield escape(f"[{index}] {where_from(name, source)}")
    yield from machine_lines(result)


def machine_lines(result: Mapping[str, Any]) -> list[str]:
    """Every machine that numbers are from."""
    found = [(source["hardware"], source["versions"]) for source in result["sources"].values()]
    return list(dict.fromkeys(_machine_line(*pair) for pair in found))


def _machine_line(hardware: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gb']:g} GB, {gpus}; {told}"


def draw(result: Mapping[str, Any], path: Path, description: str = "") -> None:
    """Seconds per scan beside competitors, scans per second of a loader, and what lesions add to a training.

    Args:
        result: Of `gathering.gathered`.
        path: PNG file.
        description: Kept in the file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained", width_ratios=(1.2, 1, 1.2))
    methods = [row for row in of_benchmark(result, "baselines") if row.name != ANATOMY]
    bars(axes[0], methods, _title(methods), "seconds, logarithmic", start=0.1)
    loader(axes[1], [row for row in of_benchmark(result, "loading") if row.unit == "scans/s"])
    training = [row for row in rows_of(result) if row.unit == TIMES]
    bars(axes[2], training, "time of a training step with lesions", "times that without, logarithmic", start=1.0)
    figure.supxlabel("\n".join(_footer(result)), fontsize=7, color="0.35")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Description": description})
    plt.close(figure)


def _title(rows: Sequence[Gathered]) -> str:
    return rows[0].group if rows else "one scan"


def _footer(result: Mapping[str, Any]) -> list[str]:
    return [*machine_lines(result), *(where_from(*item) for item in result["sources"].items())]


def bars(axis: Any, rows: Sequence[Gathered], title: str, label: str, start: float) -> None:
    """One bar for each number, from the top; on a logarithmic axis somebody has to say where bars start."""
    axis.set_title(title, fontsize=9)
    if not _drawn(axis, rows):
        return
    labels = [_label(row) for row in rows]
    values = [(row.value or start) - start for row in rows]
    colours = [next((c for start, c in COLOURS.items() if row.name.startswith(start)), "0.6") for row in rows]
    axis.barh(range(len(rows)), values, left=start, color=colours)
    axis.axvline(start, color="black", linewidth=0.8)
    axis.set(yticks=range(len(rows)), xscale="log", xlabel=label)
    axis.set_yticklabels(labels, fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.25)
    for place, row in enumerate(rows):
        axis.annotate(f" {number(row.value)}", (row.value, place), va="center", fontsize=8)


def _label(row: Gathered) -> str:
    how = "\n(scaled)" if "scaled" in row.note else ""
    host = row.group.split(",")[0].replace("training with steps", "steps") if row.unit == TIMES else ""
    return f"{host}: {row.name}" if host else row.name + how


def loader(axis: Any, rows: Sequence[Gathered]) -> None:
    """Scans per second against workers, a line for each way of getting lesions."""
    axis.set_title(_title(rows) if rows else "data loader", fontsize=9)
    if not _drawn(axis, rows):
        return
    pairs = [row.name.split(", workers: ") for row in rows]
    for mode in dict.fromkeys(mode for mode, _ in pairs):
        found = [(int(workers), row.value) for (name, workers), row in zip(pairs, rows, strict=True) if name == mode]
        axis.plot(*zip(*sorted(found), strict=True), marker="o", label=mode)
    workers = sorted({int(count) for _, count in pairs})
    axis.set(xlabel="workers", ylabel="scans per second", yscale="log")
    axis.set_xticks(workers, labels=[str(count) for count in workers])
    axis.grid(visible=True, alpha=0.3)
    axis.legend(title="new lesions", fontsize=8)


def _drawn(axis: Any, rows: Sequence[Gathered]) -> bool:
    """Whether there is anything; otherwise the panel says so."""
    if not rows:
        axis.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axis.transAxes)
        axis.set_axis_off()
    return bool(rows)
