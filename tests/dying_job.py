"""A job for worker processes, one of which does not survive it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from lesionaug.dataset.manifest import Failure


@dataclass(frozen=True)
class DyingJob:
    """Leaves a file for each case; dies of one, after it has made those before in its chunk.

    Args:
        folder: For the files.
        deadly: Name of the case.
    """

    folder: Path
    deadly: str

    def __call__(self, cases) -> list[None]:
        return [self.make(case) for case in cases]

    def make(self, case) -> None:
        if case.name == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / case.name).touch()

    def fail(self, case, error: str) -> Failure | None:
        if (self.folder / case.name).exists():
            return None
        return Failure(case.name, case.source.subject, case.variant, error)
