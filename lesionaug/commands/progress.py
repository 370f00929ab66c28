"""A bar where a person waits; nothing where output goes to a file."""

from __future__ import annotations

import sys
import time
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


@contextmanager
def progress_lines(total: int, unit: str, every_s: float = 60.0) -> Iterator[Callable[[int], None]]:
    """As `progress_bar`, for work of hours: where output goes to a file, a line now and then."""
    start = told = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal told, done
        done, now = done + count, time.monotonic()
        if now - told >= every_s:
            told, each_s = now, (now - start) / done
            left = f"{each_s:.1f} s each, {each_s * (total - done) / 60:.0f} min left"
            print(f"{done} of {total} {unit}, {left}", file=sys.stderr, flush=True)

    if sys.stderr.isatty():
        with progress_bar(total, "generating", unit) as bar:
            yield bar
    else:
        yield advance
