"""What a benchmark found, as a file: which benchmark, which version of its numbers, how it was called, and on what.

Imports nothing heavy: the time that imports take is one of the things that are measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import PROJECT
from lesionaug.dataset.atomic import write_atomically
from lesionaug.errors import LesionAugError

VERSIONS = {
    "baselines": 1,
    "cache": 1,
    "downstream": 2,
    "filling": 1,
    "loading": 1,
    "nnunet": 1,
    "nnunet-overlays": 1,
    "placement": 2,
    "realism appearing": 1,
    "realism held": 1,
    "realism judge": 1,
    "seen": 1,
    "soak": 1,
    "speed": 1,
    "steps": 1,
    "synthesis": 1,
}
"""Raise a benchmark's when its numbers come to mean something else."""

OUTPUT = "output"


def write_result(
    path: Path, benchmark: str, config: Mapping[str, Any], origin: Mapping[str, Any], found: Mapping[str, Any]
) -> None:
    """Replace a result file, all of it or nothing.

    Args:
        path: Of the file.
        benchmark: From `VERSIONS`.
        config: What was asked for; where the result goes is left out.
        origin: Of `measure.provenance`, taken before the work began.
        found: The numbers.
    """
    content = {
        "benchmark": benchmark,
        "version": VERSIONS[benchmark],
        "command": command(),
        "config": without_places({name: value for name, value in config.items() if name != OUTPUT}),
        **origin,
        **found,
    }
    write_atomically(path, json.dumps(content, indent=1, default=str).encode() + b"\n")


def read_result(path: Path) -> dict[str, Any]:
    """A result file whose numbers mean what this program thinks they mean.

    Raises:
        LesionAugError: It cannot be read, is no benchmark's, or one of another version.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LesionAugError(f"Expected a result of a benchmark as JSON, got {path} ({error}); name another") from None
    benchmark = found.get("benchmark") if isinstance(found, dict) else None
    if benchmark not in VERSIONS:
        known = ", ".join(VERSIONS)
        raise LesionAugError(f"Expected a result of one of {known}, got {benchmark!r} in {path}; name another file")
    if found.get("version") != VERSIONS[benchmark]:
        raise LesionAugError(
            f"Expected results of {benchmark} in version {VERSIONS[benchmark]}, got {found.get('version')} in {path}; "
            "run the benchmark again, or read them with the program that wrote them"
        )
    return found


def command() -> list[str]:
    """How this program was called: its module and what it was told, but for where to write."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem
    return [name, *without_places(_without_output(sys.argv[1:]))]


def _without_output(arguments: list[str]) -> list[str]:
    option = f"--{OUTPUT}"
    pairs = zip(arguments, ["", *arguments], strict=False)
    return [word for word, before in pairs if option not in (word, before) and not word.startswith(f"{option}=")]


def without_places(value: Any) -> Any:
    """The same with absolute paths, in `NAME=PATH` too, cut to what they are in the project, or to their last part."""
    if isinstance(value, Mapping):
        return {key: without_places(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(item) for item in value]
    if isinstance(value, str | Path) and Path(value).is_absolute():
        path = Path(value)
        return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else path.name
    if isinstance(value, str) and Path(value.partition("=")[2]).is_absolute():
        name, _, place = value.partition("=")
        return f"{name}={without_places(place)}"
    return str(value) if isinstance(value, Path) else value
