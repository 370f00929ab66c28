"""What to do when the server is late, and how often it was."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError, LesionAugWarning

OnLate = Literal["wait", "cache", "skip", "error"]
ON_LATE: tuple[str, ...] = get_args(OnLate)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and what then.

    Args:
        on_late: `wait` as long as the server gets something done, whoever's lesions they are. With the others the
            deadline is one for the whole request, and whoever asked then takes a variant out of its `cache`, does
            without lesions (`skip`), or stops (`error`).
        deadline_s: Seconds until the server counts as late.

    Raises:
        LesionAugError: An unknown policy, or no time at all.
    """

    on_late: OnLate = "wait"
    deadline_s: float = 60.0

    def __post_init__(self) -> None:
        check_known("on_late", [self.on_late], ON_LATE)
        if not self.deadline_s > 0:
            raise LesionAugError(f"Expected a deadline_s above 0, got {self.deadline_s:g}; give the server some time")


@dataclass
class LateCount:
    """Requests of this process that were answered, and those for which the server was late."""

    answered: int = 0
    late: int = 0
    warned: bool = False

    def add_late(self, patience: Patience) -> None:
        """Count one, and say so the first time if whoever asked goes on."""
        self.late += 1
        if patience.on_late in ("cache", "skip") and not self.warned:
            self.warned = True
            instead = {"cache": "a cached variant was taken", "skip": "no lesions were added"}[patience.on_late]
            warnings.warn(
                f"{self.late} of {self.answered + self.late} requests of this process got no answer of the render "
                f"server within {patience.deadline_s:g} s and {instead}; lesionaug.serving.late.COUNT goes on counting",
                LesionAugWarning,
                stacklevel=2,
            )


COUNT = LateCount()
"""Of this process."""
