"""Lesions of several requests in one call of the networks: who goes with whom, and when.

A batch holds lesions of one patch shape and the same channels, the oldest first. It goes when it is full, or when its
oldest lesion has waited for long enough.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from lesionaug.rendering import LesionRequest, RenderedLesion, RenderRequest
from lesionaug.serving.recipe import Batching

Shape = tuple[tuple[str, ...], tuple[int, ...]]


@dataclass(eq=False)
class Ticket:
    """One request on its way through the server.

    Args:
        request: With at least one lesion.
        arrived_s: On the monotonic clock.
        outcome: Gets all rendered lesions, or the error that one of them made.
        rendered: Those that are ready, by index.
    """

    request: RenderRequest
    arrived_s: float = field(default_factory=time.monotonic)
    outcome: Future[tuple[RenderedLesion, ...]] = field(default_factory=Future)
    rendered: dict[int, RenderedLesion] = field(default_factory=dict)

    def over(self) -> bool:
        """Nobody waits for it any more."""
        return self.outcome.done()

    def finish(self, index: int, lesion: RenderedLesion) -> None:
        """Keep one lesion; with the last of them the request is answered."""
        self.rendered[index] = lesion
        if len(self.rendered) == len(self.request.lesions):
            with suppress(InvalidStateError):  # its requester has just gone
                self.outcome.set_result(tuple(self.rendered[n] for n in range(len(self.rendered))))

    def fail(self, error: BaseException) -> None:
        """Answer the request with an error."""
        with suppress(InvalidStateError):
            self.outcome.set_exception(error)

    def abandon(self) -> None:
        """Whoever asked has gone."""
        self.outcome.cancel()


@dataclass(frozen=True, eq=False)
class Job:
    """One lesion of a request."""

    ticket: Ticket
    index: int

    @property
    def lesion(self) -> LesionRequest:
        """What to render."""
        return self.ticket.request.lesions[self.index]

    @property
    def shape(self) -> Shape:
        """What jobs of one batch have in common."""
        return self.ticket.request.channels, tuple(self.lesion.background.shape)


class Batcher:
    """A queue that gives out batches.

    Args:
        batching: Their size, and how long to wait for it.
    """

    def __init__(self, batching: Batching) -> None:
        self._batching = batching
        self._groups: dict[Shape, deque[Job]] = {}
        self._changed = threading.Condition()

    def submit(self, ticket: Ticket) -> None:
        """Line up the lesions of a request."""
        with self._changed:
            for index in range(len(ticket.request.lesions)):
                job = Job(ticket, index)
                self._groups.setdefault(job.shape, deque()).append(job)
            self._changed.notify()

    def take(self, timeout_s: float) -> list[Job]:
        """The next batch, empty if there is none within the time."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._forget_those_that_are_over()
                now_s = time.monotonic()
                group, ready_s = self._next(now_s)
                if group and ready_s <= now_s:
                    return self._cut(group)
                if now_s >= end_s:
                    return []
                self._changed.wait(min(ready_s, end_s) - now_s)

    def waiting(self) -> int:
        """Lesions that wait."""
        with self._changed:
            return sum(len(group) for group in self._groups.values())

    def _next(self, now_s: float) -> tuple[deque[Job] | None, float]:
        """The group to take from, and when."""
        groups = sorted(self._groups.values(), key=lambda group: group[0].ticket.arrived_s)
        if not groups:
            return None, float("inf")
        oldest = groups[0]
        due_s = oldest[0].ticket.arrived_s + self._batching.max_wait_ms / 1000
        if due_s <= now_s:
            return oldest, due_s
        full = next((group for group in groups if len(group) >= self._batching.max_batch), None)
        return (full, now_s) if full else (oldest, due_s)

    def _cut(self, group: deque[Job]) -> list[Job]:
        return [group.popleft() for _ in range(min(len(group), self._batching.max_batch))]

    def _forget_those_that_are_over(self) -> None:
        left = {shape: deque(job for job in group if not job.ticket.over()) for shape, group in self._groups.items()}
        self._groups = {shape: group for shape, group in left.items() if group}


def one_request(jobs: Sequence[Job], size: int | None = None) -> RenderRequest:
    """The lesions of a batch as one request, with the last of them repeated until there are `size`."""
    lesions = [job.lesion for job in jobs]
    lesions += lesions[-1:] * ((size or len(lesions)) - len(lesions))
    return RenderRequest(jobs[0].ticket.request.channels, tuple(lesions))
