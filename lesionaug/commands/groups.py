"""What the commands that have programs of their own share: `lesionaug cache ...`, `lesionaug pretrain ...`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lesionaug.errors import LesionAugError


def chosen(group: str, programs: Mapping[str, str], arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Name of the program that was asked for, and its own arguments.

    Args:
        group: What the user typed before it.
        programs: What there is.
        arguments: What the user typed.

    Raises:
        LesionAugError: There is no such program.
    """
    name, *rest = arguments
    if name not in programs:
        raise LesionAugError(
            f"Expected a program among {', '.join(programs)}, got {name!r}; see lesionaug {group} --help"
        )
    return name, rest


def listing(programs: Mapping[str, str]) -> str:
    """Programs with what they do, one a line."""
    return "\n".join(f"  {name:<12}{what}" for name, what in programs.items())
