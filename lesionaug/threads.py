"""Threads that do not wait for each other.

torch shares one sum among threads, which wait for the slowest by spinning: beside another busy process two of them take
many times as long as one, and the last bits of a sum depend on how many there are. So the work of this package is done
on one thread, and where torch may have more, several lesions are worked on at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads for each of torch's sums within the block, or the function; as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], at_once: int | None = None
) -> Generator[Result, None, None]:
    """Results in order, of items that are worked on at the same time, each by one thread; to be closed.

    Args:
        work: On one item; in another thread where several are worked on.
        items: Independent of each other.
        at_once: How many; as many as torch has threads here if not given.
    """
    at_once = min(at_once or torch.get_num_threads(), len(items))
    with torch_threads(1):  # which threads that start within it have, too
        if at_once < 2:
            yield from map(work, items)
        else:
            with ThreadPoolExecutor(at_once) as pool:
                yield from pool.map(work, items)
