"""Is it better, the same or worse than before?

`python -m benchmarks.compare BEFORE.json AFTER.json` judges two result files of one benchmark, number by number. It
ends with 1 if anything got worse, with 2 if the files cannot be compared, else with 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.quantities import Quantity, number, quantities
from benchmarks.result_files import read_result
from lesionaug.errors import LesionAugError

Verdict = Literal["better", "same", "worse", "not judged"]
COLOURS = {"better": "green", "same": "", "worse": "red", "not judged": "yellow"}
COMPARED = ("lefusion", "diffmask", "prior", "models")
"""Settings that may differ: which models were judged is what such a comparison is about."""


@dataclass(frozen=True)
class Compare:
    """Judge two result files of one benchmark.

    A difference is one if it is larger than the tolerance and than what chance explains.

    Args:
        before: Result file.
        after: Another of the same benchmark.
        tolerance: Share of the number before by which it may change.
        blind: Likewise, for numbers of which the files do not say how far chance may move them.
        other_hardware: Whether the files may be from different machines.
        other_settings: Whether the benchmark may have been asked for different things.
    """

    before: tyro.conf.Positional[Path]
    after: tyro.conf.Positional[Path]
    tolerance: float = 0.1
    blind: float = 0.25
    other_hardware: bool = False
    other_settings: bool = False

    def run(self) -> int:
        """Print a table; the program's exit code.

        Raises:
            LesionAugError: The files cannot be compared.
        """
        before, after = read_result(self.before), read_result(self.after)
        self.check(before, after)
        rows = list(judged(quantities(before), quantities(after), self.tolerance, self.blind))
        if all(row.verdict == "not judged" for row in rows):
            raise LesionAugError(
                f"Expected numbers that {self.before} and {self.after} both have, got none; name others"
            )
        console = Console()
        console.print(table(rows))
        console.print(_summary(before, after, rows), soft_wrap=True)
        return int(any(row.verdict == "worse" for row in rows))

    def check(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Only what was measured in the same way is compared.

        Raises:
            LesionAugError: Other benchmarks, settings or machines.
        """
        if before["benchmark"] != after["benchmark"]:
            raise LesionAugError(
                f"Expected two results of one benchmark, got {before['benchmark']} in {self.before} and "
                f"{after['benchmark']} in {self.after}; name two of the same"
            )
        if (different := _different(machines(before), machines(after))) and not self.other_hardware:
            raise LesionAugError(f"Expected results of one machine, got {different}; allow it by --other-hardware")
        if (different := _different(settings(before), settings(after))) and not self.other_settings:
            raise LesionAugError(f"Expected the same settings, got {different}; allow it by --other-settings")


@dataclass(frozen=True)
class Judged:
    """A number in two files.

    Args:
        before: In the first; none where only the second has it.
        after: In the second; likewise.
        verdict: On the change.
    """

    before: Quantity | None
    after: Quantity | None
    verdict: Verdict

    @property
    def ratio(self) -> float | None:
        """After over before."""
        values = [quantity.value if quantity else None for quantity in (self.before, self.after)]
        return values[1] / values[0] if values[0] and values[1] is not None else None


def judged(before: Sequence[Quantity], after: Sequence[Quantity], tolerance: float, blind: float) -> Iterator[Judged]:
    """Every number of either file."""
    first, second = ({quantity.key: quantity for quantity in found} for found in (before, after))
    for key in dict.fromkeys((*first, *second)):
        pair = first.get(key), second.get(key)
        yield Judged(*pair, verdict_of(*pair, tolerance, blind))


def verdict_of(before: Quantity | None, after: Quantity | None, tolerance: float, blind: float) -> Verdict:
    """On one number.

    Example:
        >>> verdict_of(Quantity("", "render", 1.0, "s", 0.1), Quantity("", "render", 1.1, "s", 0.1), 0.05, 0.25)
        'same'
        >>> verdict_of(Quantity("", "render", 1.0, "s", 0.1), Quantity("", "render", 1.3, "s", 0.1), 0.05, 0.25)
        'worse'
    """
    if before is None or after is None or before.value is None or after.value is None:
        return "not judged"
    change = after.value - before.value
    if abs(change) <= _allowed(before, after, tolerance, blind):
        return "same"
    return "better" if (change > 0) is after.more_is_better else "worse"


def _allowed(before: Quantity, after: Quantity, tolerance: float, blind: float) -> float:
    """Largest change that is none; a difference of two numbers is as unsure as both together."""
    known = before.spread is not None and after.spread is not None
    chance = math.hypot(before.spread or 0.0, after.spread or 0.0) if known else 0.0
    return max((tolerance if known else max(tolerance, blind)) * abs(before.value or 0.0), chance)


def machines(result: Mapping[str, Any]) -> dict[str, Any]:
    """Everything about the hardware but how busy it was, for each file that went into a result."""
    return _by_source(result, lambda found: {**found["hardware"], "load_average": None})


def settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, but for the models that were judged."""

    def asked(found: Mapping[str, Any]) -> dict[str, Any]:
        config = found["about"] if found["benchmark"] == "downstream" else found["config"]
        return {name: value for name, value in _flat(config) if not set(name.split(".")) & set(COMPARED)}

    return _by_source(result, asked)


def _by_source(result: Mapping[str, Any], of: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Of all files that a result was gathered from, by benchmark: they may have other names in the other result."""
    if "sources" not in result:
        return of(result)
    found: dict[str, Any] = {}
    times = Counter[str]()
    for source in result["sources"].values():
        benchmark = source["benchmark"]
        times[benchmark] += 1
        found |= {f"{benchmark} {times[benchmark]}: {key}": value for key, value in of(source).items()}
    return found


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _different(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """What both have and have differently; a number that only one has is not judged anyway."""
    names = [name for name in first if name in second and first[name] != second[name]]
    return "; ".join(f"{name} {first[name]} and {second[name]}" for name in names)


def table(rows: Sequence[Judged]) -> Table:
    """One line for each number, a heading for each group."""
    shown = Table("", caption="ratio: after / before")
    for name in ("before", "after", "ratio"):
        shown.add_column(name, justify="right")
    shown.add_column("verdict")
    group = None
    for row in rows:
        quantity = row.after or row.before
        assert quantity
        if quantity.group != group:
            shown.add_section()
            shown.add_row(f"[bold]{quantity.group}")
            group = quantity.group
        values = [_value(side) for side in (row.before, row.after)]
        colour = COLOURS[row.verdict]
        verdict = f"[{colour}]{row.verdict}" if colour else row.verdict
        shown.add_row(f"  {quantity.name}", *values, number(row.ratio), verdict)
    return shown


def _value(quantity: Quantity | None) -> str:
    return "-" if quantity is None or quantity.value is None else f"{number(quantity.value)} {quantity.unit}".rstrip()


def _summary(before: Mapping[str, Any], after: Mapping[str, Any], rows: Sequence[Judged]) -> str:
    counts = ", ".join(f"{sum(row.verdict == verdict for row in rows)} {verdict}" for verdict in COLOURS)
    told = (f"{str(found['commit'])[:10]} at load {found['hardware']['load_average'][0]}" for found in (before, after))
    return f"{before['benchmark']}, {' to '.join(told)}: {counts}"


def main() -> None:
    """Compare, or say why not."""
    try:
        raise SystemExit(tyro.cli(Compare, config=(tyro.conf.FlagCreatePairsOff,)).run())
    except LesionAugError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
