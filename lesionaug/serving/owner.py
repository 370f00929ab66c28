"""The process that a server works for; the server does not outlive it."""

from __future__ import annotations

import multiprocessing
import os
import select


def owner_of_this_process() -> int:
    """The trainer: this process, or the one that started this loader worker."""
    parent = multiprocessing.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


class Owner:
    """Watches a process.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = _open(pid)

    def alive(self) -> bool:
        """Whether it still runs."""
        if self._descriptor is not None:
            # The descriptor is of this very process, not of a later one with its number.
            return not select.select([self._descriptor], [], [], 0)[0]
        return exists(self.pid)


def exists(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _open(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):  # Linux alone has it
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
