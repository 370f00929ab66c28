"""Results of many benchmarks in one, each number with the file, commit and machine that it is from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from benchmarks.quantities import Gathered, quantities
from benchmarks.result_files import read_result
from benchmarks.speed.benches import Name
from lesionaug.errors import LesionAugError

NAMES: tuple[str, ...] = get_args(Name)
NOT_MEASURED = "not measured"
OTHER_COMMIT, OTHER_MACHINE, ONLY_QUICK = "other commit", "other machine", "quick: shows that it runs, measures nothing"


def gathered(folder: Path, missing: Mapping[str, str] | None = None) -> dict[str, Any]:
    """All results of speed in a folder: `sources` by file name, and `rows`.

    Args:
        folder: Of the files; those of other benchmarks are left alone.
        missing: Why there is no result, by benchmark, where that is known.

    Raises:
        LesionAugError: There is none, or a file that cannot be read.
    """
    results = {path.name: read_result(path) for path in sorted(folder.glob("*.json"))}
    chosen = {name: found for name, found in results.items() if found["benchmark"] in NAMES}
    if not chosen and not missing:
        known = ", ".join(NAMES)
        raise LesionAugError(f"Expected results of {known} in {folder}, got none; run python -m benchmarks.speed first")
    ordered = sorted(chosen, key=lambda name: (NAMES.index(chosen[name]["benchmark"]), name))
    rows = [row for name in ordered for row in _rows(name, chosen[name])]
    rows += list(_absent(chosen, missing or {}))
    return {"sources": sources({name: chosen[name] for name in ordered}), "rows": [asdict(row) for row in rows]}


def _rows(name: str, found: Mapping[str, Any]) -> Iterator[Gathered]:
    return (Gathered.of(quantity, name) for quantity in quantities(found))


def _absent(chosen: Mapping[str, Mapping[str, Any]], missing: Mapping[str, str]) -> Iterator[Gathered]:
    """A row that says so for everything that was not measured."""
    there = {found["benchmark"] for found in chosen.values()}
    for name in NAMES:
        reason = missing.get(name, "" if name in there else f"no result; python -m benchmarks.speed --only {name}")
        if reason:
            yield Gathered(NOT_MEASURED, name, None, note=reason)
    if not any(found["hardware"]["gpus"] for found in chosen.values()):
        yield Gathered(NOT_MEASURED, "everything on a GPU", None, note="no result is from a machine with one")


def sources(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Where the numbers are from, and how each file differs from the newest."""
    newest = max(found.values(), key=lambda result: result["time"], default={})
    kept = ("benchmark", "version", "config", "time", "commit", "hardware", "versions")
    return {
        name: {**{key: result[key] for key in kept}, "differs": differences(result, newest)}
        for name, result in found.items()
    }


def differences(result: Mapping[str, Any], newest: Mapping[str, Any]) -> list[str]:
    """What keeps a result from being compared with the newest."""
    told = []
    if result["commit"] != newest["commit"]:
        told.append(OTHER_COMMIT)
    if machine(result) != machine(newest):
        told.append(OTHER_MACHINE)
    if result["config"].get("quick"):
        told.append(ONLY_QUICK)
    return told


def machine(result: Mapping[str, Any]) -> dict[str, Any]:
    """Its hardware, without how busy it was."""
    return {name: value for name, value in result["hardware"].items() if name != "load_average"}


def of_benchmark(result: Mapping[str, Any], benchmark: str) -> list[Gathered]:
    """Rows of a gathered result that one benchmark has measured."""
    named = [name for name, source in result["sources"].items() if source["benchmark"] == benchmark]
    return [row for row in rows_of(result) if row.source in named]


def rows_of(result: Mapping[str, Any]) -> Sequence[Gathered]:
    """As objects."""
    return [Gathered(**row) for row in result["rows"]]


def mark(result: Mapping[str, Any], row: Gathered, files: Sequence[str]) -> str:
    """Number of a row's file, and a sign if that must not be compared with the newest without a thought."""
    if not row.source:
        return ""
    return f"[{files.index(row.source) + 1}]" + ("≠" if result["sources"][row.source]["differs"] else "")


def where_from(name: str, source: Mapping[str, Any]) -> str:
    """A line about a file; what makes it differ from the newest, and rows with `≠`, in capitals."""
    commit = str(source["commit"])
    short = commit[:7] + (" with changes" if commit.endswith("-dirty") else "")
    load = source["hardware"]["load_average"][0]
    told = [f"commit {short}", source["time"].replace("T", " ").removesuffix("Z"), f"load {load:g}"]
    return f"{name}: " + ", ".join([*told, *(text.upper() for text in source["differs"])])
