"""What is told of plans and numbers, in words."""

from __future__ import annotations

import math

from lesionaug.scan import LesionPlan


def counted(number: int, noun: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "lesion"), counted(2, "lesion")
        ('1 lesion', '2 lesions')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def span(low: float, high: float) -> str:
    """Two numbers, or one where they are written alike.

    Example:
        >>> span(4.31, 4.33), span(4.3, 5.6)
        ('4.3', '4.3 to 5.6')
    """
    ends = f"{low:.1f}", f"{high:.1f}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def described(plan: LesionPlan, spacing_mm: tuple[float, float, float]) -> str:
    """How many lesions of which sizes; foci that have grown together are one lesion.

    Args:
        plan: Of the lesions.
        spacing_mm: Voxel size.

    Example:
        >>> from lesionaug.scan import LesionSpec
        >>> lesions = [LesionSpec((0, 0, k), 8.0, 9.0, (("flair", 1.0),), seed=k) for k in (0, 3, 20)]
        >>> described(LesionPlan(tuple(lesions)), (1.0, 1.0, 2.0))
        '2 lesions, of 3 foci some of which have grown together, each 8.0 mm across'
    """
    if not plan.lesions:
        return "no lesion"
    diameters = [spec.diameter_mm for spec in plan]
    across = f"{span(min(diameters), max(diameters))} mm across"
    number = num_grown_together(plan, spacing_mm)
    if number == len(plan):
        return f"{counted(number, 'lesion')}, {across}"
    some = "that" if number == 1 else "some of which"
    return f"{counted(number, 'lesion')}, of {len(plan)} foci {some} have grown together, each {across}"


def num_grown_together(plan: LesionPlan, spacing_mm: tuple[float, float, float]) -> int:
    """How many lesions there are when those that are planned to touch count as one.

    Args:
        plan: Of the lesions.
        spacing_mm: Voxel size.
    """
    groups: list[list[tuple[tuple[float, ...], float]]] = []
    for spec in plan:
        focus = tuple(c * mm for c, mm in zip(spec.center, spacing_mm, strict=True)), spec.diameter_mm / 2
        touched = [g for g in groups if any(math.dist(focus[0], place) < focus[1] + radius for place, radius in g)]
        groups = [g for g in groups if g not in touched] + [[focus, *(one for g in touched for one in g)]]
    return len(groups)
