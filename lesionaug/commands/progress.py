"""A bar where a person waits; nothing where output goes to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int, what: str, unit: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of things that got done."""
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit=unit, disable=None, file=sys.stderr, leave=False) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """A sign of life while something takes seconds and cannot say how far it is."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
