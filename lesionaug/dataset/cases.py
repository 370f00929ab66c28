"""What there is to do: a case for every source and variant, each with a seed of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan


@dataclass(frozen=True)
class Case:
    """One scan to be.

    Args:
        source: The scan that gets lesions.
        variant: Which of its variants, from 0.
        seed: What its plan is drawn from.
    """

    source: SourceScan
    variant: int
    seed: int

    @property
    def name(self) -> str:
        """Unique in the data set."""
        return f"{self.source.subject}_v{self.variant:03d}"


def seed_of(seed: int, source: str, variant: int) -> int:
    """The seed of a case, which depends on nothing but these three.

    Args:
        seed: Of the data set.
        source: Name of the source.
        variant: From 0.

    Example:
        >>> seed_of(0, "P14_T1", 0)
        8574162428278353797
        >>> seed_of(0, "P14_T1", 1) == seed_of(1, "P14_T1", 0)
        False
    """
    digest = hashlib.sha256(f"{seed}/{source}/{variant}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def cases_of(sources: Sequence[SourceScan], variants: int, seed: int) -> list[Case]:
    """All cases, those of a source next to each other."""
    return [
        Case(source, variant, seed_of(seed, source.subject, variant))
        for source in sorted(sources, key=lambda source: source.subject)
        for variant in range(variants)
    ]


def part_of(cases: Sequence[Case], num_parts: int, part_id: int) -> list[Case]:
    """One of several parts: consecutive cases, so that few parts share a source, and as many as in any other but one.

    Raises:
        LesionAugError: There is no such part.
    """
    if not 0 <= part_id < num_parts:
        raise LesionAugError(
            f"Expected a part from 0 to {num_parts - 1} of {num_parts}, got {part_id}; "
            "with SLURM: --array=0-$((N - 1)), --num-parts $N, --part-id $SLURM_ARRAY_TASK_ID"
        )
    first, last = (len(cases) * part // num_parts for part in (part_id, part_id + 1))
    return list(cases[first:last])


def chunks_of(cases: Sequence[Case], workers: int) -> list[tuple[Case, ...]]:
    """Cases to be made one after another: of one source, whose anatomy is then looked at once.

    Args:
        cases: Those of a source next to each other.
        workers: Who are all to have something to do until the end.
    """
    size = max(1, len(cases) // (4 * workers))
    chunks: list[list[Case]] = []
    for case in cases:
        if not chunks or len(chunks[-1]) >= size or chunks[-1][0].source != case.source:
            chunks.append([])
        chunks[-1].append(case)
    return [tuple(chunk) for chunk in chunks]
