"""What SIGTERM does: as Ctrl-C it ends the program by an exception, so that nothing half-written stays."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED, TERMINATED = 130, 143  # as shells count: 128 + number of the signal


class Terminated(KeyboardInterrupt):
    """Somebody else ended the program: `timeout`, a scheduler, a container that is stopped."""


@contextmanager
def ended_cleanly() -> Iterator[None]:
    """Raises `Terminated` in the block at SIGTERM, unless something else happens then already."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not ours:
        yield
        return
    raise_at_sigterm(Terminated())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def raise_at_sigterm(error: BaseException) -> None:
    """Raise this in the main thread of this process at the first SIGTERM, and let no other one interrupt cleaning up.

    Processes that are forked later die at once, as they did.
    """
    owner = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        signal.signal(number, signal.SIG_IGN)  # `timeout` sends it twice
        raise error

    signal.signal(signal.SIGTERM, end)


def exit_code(error: KeyboardInterrupt) -> int:
    """Of a program that was ended by it."""
    return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
