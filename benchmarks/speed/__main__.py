"""`python -m benchmarks.speed`: run the benchmarks of speed that have not been run, and show all in one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from benchmarks.command_line import resumable
from benchmarks.measure import provenance
from benchmarks.result_files import write_result
from benchmarks.speed.benches import Name, NnunetData, benches
from benchmarks.speed.gathering import gathered
from benchmarks.speed.page import draw, table
from benchmarks.speed.runs import run_all

RESULT = "speed-cpu.json"


@dataclass(frozen=True)
class Speed:
    """Run all benchmarks of speed, each in a process of its own, and gather their results in one table and one figure.

    A benchmark whose result of the same settings and commit is there is not run again: to go on after an interruption,
    call it again.

    Examples:
      python -m benchmarks.speed --folder speed --nnunet.dataset 501
      python -m benchmarks.speed --quick
      python -m benchmarks.speed --gather benchmarks/results

    Args:
        folder: Of the results; their logs and the table's file go there, too.
        gather: Run nothing, and gather the results in this folder.
        only: Benchmarks to run, instead of all.
        quick: Small phantoms and few repeats: shows that all of it runs, in a few minutes, and measures nothing.
        threads: Of the processor.
        nnunet: What nnU-Net is measured on.
        deadline_s: Longest time for one benchmark.
    """

    folder: Path = Path("speed")
    gather: Path | None = None
    only: tuple[Name, ...] = ()
    quick: bool = False
    threads: int = 1
    nnunet: NnunetData = field(default_factory=NnunetData)
    deadline_s: float = 4 * 3600.0

    def run(self) -> int:
        """Run, gather, print, write, draw; the program's exit code: 1 if a benchmark failed.

        Raises:
            LesionAugError: There is nothing to gather.
        """
        console, folder = Console(width=max(Console().width, 120)), self.gather or self.folder
        missing: dict[str, str] = {}
        failed: set[str] = set()
        if not self.gather:
            todo = [bench for bench in benches(self.threads, self.nnunet, quick=self.quick) if self._wants(bench.name)]
            missing, failed = run_all(todo, folder, self.deadline_s, console.print)
        result = gathered(folder, missing)
        console.print(table(result))
        path = folder / RESULT
        write_result(path, "speed", {"quick": self.quick}, provenance(), result)
        draw(result, path.with_suffix(".png"))
        console.print(f"wrote {path} and its figure")
        return int(bool(failed))

    def _wants(self, name: str) -> bool:
        return not self.only or name in self.only


def main() -> None:
    """Measure, or say why not."""
    with resumable():
        raise SystemExit(tyro.cli(Speed, config=(tyro.conf.FlagCreatePairsOff,)).run())


if __name__ == "__main__":
    main()
