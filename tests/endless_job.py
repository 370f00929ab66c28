"""A job for worker processes that never ends by itself, and a program that waits for it: `endless_job.py FOLDER`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lesionaug.dataset.cases import cases_of
from lesionaug.dataset.executors import in_processes
from lesionaug.dataset.manifest import Failure
from lesionaug.layouts.core import SourceScan
from lesionaug.stopping import Terminated, ended_cleanly, exit_code


@dataclass(frozen=True)
class EndlessJob:
    """Leaves a file `NAME.half` for each case while it is at it, as anybody who cleans up behind himself.

    Args:
        folder: For the files.
    """

    folder: Path

    def __call__(self, cases) -> list[Failure | None]:
        return [self.make(case) for case in cases]

    def make(self, case) -> None:
        half = self.folder / f"{case.name}.half"
        half.touch()
        try:
            while True:
                time.sleep(0.05)
        finally:
            half.unlink()

    def fail(self, case, error: str) -> None:
        (self.folder / f"{case.name}.failed").write_text(error)


def main(folder: Path) -> int:
    cases = cases_of([SourceScan("a", "a"), SourceScan("b", "b")], variants=3, seed=0)
    try:
        with ended_cleanly():
            list(in_processes(2)(EndlessJob(folder), cases))
    except Terminated as error:
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
