"""Lesions at two visits: one plan, of which each visit shows a part.

LesionPlan ──► evolve ──► Evolution ──► at(BASELINE), at(FOLLOWUP): two plans ──► render each
full-grown                shares at
lesions                   both visits
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lesionaug.checks import check_known
from lesionaug.distributions import uniform, uniform_between
from lesionaug.errors import LesionAugError
from lesionaug.scan import LesionPlan, LesionSpec

if TYPE_CHECKING:
    import torch

BASELINE, FOLLOWUP = "baseline", "followup"
VISITS = (BASELINE, FOLLOWUP)

CHANGES = ("stable", "new", "enlarging", "shrinking", "vanishing")
"""What can become of a lesion from baseline to follow-up; in a label, index plus one."""

PART = (0.2, 0.6)
"""Share of its larger volume that a lesion has when it is smaller: a diameter of 0.58 to 0.84 times the larger."""

LEAST_VOXELS = 10
"""A lesion of fewer does not grow or shrink: hardly a voxel would change."""


@dataclass(frozen=True)
class EvolvingLesion:
    """A lesion at two visits.

    Args:
        spec: When it is full-grown, which it is at one visit at least.
        baseline: Share of its volume that is there at the first visit.
        followup: At the second.
    """

    spec: LesionSpec
    baseline: float
    followup: float

    @property
    def change(self) -> str:
        """From `CHANGES`."""
        if self.baseline == self.followup:
            return "stable"
        if self.baseline < self.followup:
            return "enlarging" if self.baseline else "new"
        return "shrinking" if self.followup else "vanishing"


@dataclass(frozen=True)
class Evolution:
    """The lesions of two scans of one patient, numbered from 1.

    Args:
        lesions: What is to be.
        overlap: As in `LesionPlan`.
    """

    lesions: tuple[EvolvingLesion, ...]
    overlap: bool = False

    def at(self, visit: str) -> LesionPlan:
        """The plan of a visit."""
        there = (replace(self.lesions[n - 1].spec, grown=self._share(n, visit)) for n in self.numbers(visit))
        return LesionPlan(tuple(there), self.overlap)

    def numbers(self, visit: str) -> tuple[int, ...]:
        """Which lesions a visit's plan has, in its order."""
        return tuple(n for n in range(1, len(self.lesions) + 1) if self._share(n, visit) > 0)

    def _share(self, number: int, visit: str) -> float:
        check_known("visit", [visit], VISITS)
        lesion = self.lesions[number - 1]
        return lesion.baseline if visit == BASELINE else lesion.followup


def evolve(
    plan: LesionPlan, generator: torch.Generator, voxel_mm3: float, changes: Sequence[str] = CHANGES
) -> Evolution:
    """Draw what becomes of each lesion of a plan; all that may become of it are equally likely.

    Args:
        plan: Of full-grown lesions.
        generator: On the CPU; all that is random comes from it.
        voxel_mm3: Volume of a voxel of the scan. A lesion of fewer than `LEAST_VOXELS` neither enlarges nor shrinks,
            and stays stable where nothing else is asked for.
        changes: From `CHANGES`.

    Raises:
        LesionAugError: No or unknown changes.
    """
    check_changes(changes)
    lesions = (_evolving(lesion, generator, LEAST_VOXELS * voxel_mm3, changes) for lesion in plan)
    return Evolution(tuple(lesions), plan.overlap)


def check_changes(changes: Sequence[str]) -> None:
    """There are some, and all are known.

    Raises:
        LesionAugError: Otherwise.
    """
    check_known("change", changes, CHANGES)
    if not changes:
        raise LesionAugError(f"Expected changes among {', '.join(CHANGES)}, got none; name some, or leave them out")


def _evolving(spec: LesionSpec, generator: torch.Generator, least_mm3: float, changes: Sequence[str]) -> EvolvingLesion:
    if spec.volume_mm3 < least_mm3:
        changes = [change for change in changes if change not in ("enlarging", "shrinking")] or ["stable"]
    # Both are drawn for every lesion, so that one's choices do not move those of the next.
    change, part = changes[int(uniform(generator) * len(changes))], round(uniform_between(PART, generator), 3)
    baseline, followup = {
        "stable": (1.0, 1.0),
        "new": (0.0, 1.0),
        "enlarging": (part, 1.0),
        "shrinking": (1.0, part),
        "vanishing": (1.0, 0.0),
    }[change]
    return EvolvingLesion(spec, baseline, followup)
