"""What a worker does: make the cases that it is given, one after another, whatever happens to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionaug.dataset.cases import Case
from lesionaug.dataset.layouts_out import layout_named
from lesionaug.dataset.manifest import Failure, forget_failure, record_failure
from lesionaug.dataset.pairs import produce_pair
from lesionaug.dataset.produce import produce
from lesionaug.dataset.reasons import reason
from lesionaug.dataset.settings import Settings
from lesionaug.dataset.writing import commit, is_complete
from lesionaug.threads import torch_threads


@dataclass(frozen=True)
class Job:
    """Makes cases of a data set; plain data that can be sent to another process or machine.

    Args:
        out: The data set; on another machine, at the same place of a shared file system.
        settings: Of the data set.
    """

    out: Path
    settings: Settings

    def __call__(self, cases: Sequence[Case]) -> list[Failure | None]:
        """Make cases; what went wrong with each, in order."""
        return [self.make(case) for case in cases]

    def make(self, case: Case) -> Failure | None:
        """Make one case, unless it is there, and write down why where it cannot be made."""
        layout, make = layout_named(self.settings.layout), produce_pair if self.settings.changes else produce
        try:
            if not self.has(case):
                with torch_threads(1):  # cores are for other workers
                    product = make(case, self.settings, binary_label=layout.binary_label)
                commit(self.out, layout, case, product, self.settings)
            forget_failure(self.out, case.name)
        except Exception as error:  # one case of thousands must not take the others with it
            return self.fail(case, *reason(error))
        return None

    def has(self, case: Case) -> bool:
        """Whether a case is there."""
        return is_complete(self.out, layout_named(self.settings.layout), case)

    def fail(self, case: Case, error: str, trace: str = "") -> Failure | None:
        """Write down that a case could not be made, unless it is there: somebody else was at it, and faster."""
        if self.has(case):
            return None
        failure = Failure(case.name, case.source.subject, case.variant, error, trace)
        record_failure(self.out, failure)
        return failure
