"""`python -m benchmarks.tables`: write the tables of `benchmarks/README.md` and draw its figures, from result files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.measure import PROJECT, provenance
from benchmarks.result_files import read_result, write_result
from benchmarks.speed.__main__ import RESULT
from benchmarks.speed.gathering import gathered
from benchmarks.tables.figures import drawings
from benchmarks.tables.regions import rewritten
from benchmarks.tables.texts import MAKERS, Results
from lesionaug.errors import LesionAugError


@dataclass(frozen=True)
class Tables:
    """Write tables between `<!-- table: NAME -->` and `<!-- end -->`, and draw figures beside the results.

    The table of speed is gathered anew, as `python -m benchmarks.speed --gather` does it.

    Args:
        page: Markdown file.
        results: Folder of result files, and of the figures.
        check: Write nothing; say what is not up to date, and fail if anything is.
    """

    page: Path = PROJECT / "benchmarks" / "README.md"
    results: Path = PROJECT / "benchmarks" / "results"
    check: bool = False

    def run(self) -> list[str]:
        """Write, or with `check` find, what is not up to date; the names of these files.

        Raises:
            LesionAugError: A result or a region is missing.
        """
        stale = [self.results / RESULT] if self._speed() else []
        results = self._results()
        text = self.page.read_text()
        made = rewritten(text, {name: list(make(results)) for name, make in MAKERS.items()})
        if made != text:
            stale.append(self.page)
            if not self.check:
                self.page.write_text(made)
        for drawing in drawings(results):
            if not drawing.is_current(self.results):
                stale.append(self.results / drawing.name)
                if not self.check:
                    drawing.write(self.results)
        return [path.name for path in stale]

    def _speed(self) -> bool:
        """Gather results of speed anew, if any has changed since."""
        path, now = self.results / RESULT, gathered(self.results)
        if path.is_file() and _same(read_result(path), now):
            return False
        if not self.check:
            write_result(path, "speed", {"quick": False}, provenance(), now)
        return True

    def _results(self) -> Results:
        found = {path.name: read_result(path) for path in sorted(self.results.glob("*.json"))}
        if missing := {RESULT, "realism-held.json"} - set(found):
            raise LesionAugError(f"Expected {', '.join(sorted(missing))} in {self.results}, got none; measure it first")
        return found


def _same(written: dict[str, Any], now: dict[str, Any]) -> bool:
    return all(written[part] == now[part] for part in now)


def main() -> None:
    """Write or check, or say why not."""
    config = tyro.cli(Tables, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        changed = config.run()
    except LesionAugError as error:
        raise SystemExit(f"error: {error}") from None
    if config.check and changed:
        raise SystemExit(f"not up to date: {', '.join(changed)}; run python -m benchmarks.tables")
    print(f"written: {', '.join(changed)}" if changed else "all up to date")


if __name__ == "__main__":
    main()
