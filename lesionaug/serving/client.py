"""A renderer that asks a server: the same request gives the same result, and this process needs no models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from lesionaug.errors import LesionAugError
from lesionaug.rendering import Progress, RenderedLesion, RenderRequest
from lesionaug.serving import parcels, pool, wire
from lesionaug.serving.deadline import Deadline
from lesionaug.serving.errors import LateRenderError, RemoteRenderError
from lesionaug.serving.late import COUNT, OnLate, Patience
from lesionaug.serving.place import Place
from lesionaug.serving.pool import Link
from lesionaug.serving.starting import START_S, connected
from lesionaug.types import triple

T = TypeVar("T")

TRIES = 2
"""A connection may break once; a second time is no accident."""


@dataclass(frozen=True)
class ServedRenderer:
    """Renders in a server. Plain data: every process that gets a copy opens its own connection when it needs one.

    Args:
        address: Folder of the server.
        on_late: See `lesionaug.serving.late.Patience`.
        deadline_s: Likewise.
        identity: What the server's models must be, as sorted pairs; any if not given.

    Raises:
        LesionAugError: `on_late` or `deadline_s` cannot be. When used: the server has other models, or it says that
            the request cannot be rendered.
        LateRenderError: When used: no answer in time, or no server.
        RemoteRenderError: When used: the models raised.
    """

    address: str
    on_late: OnLate = "wait"
    deadline_s: float = 60.0
    identity: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        Patience(self.on_late, self.deadline_s)

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return float(self._facts()["spacing_mm"])

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts that can be painted."""
        return tuple(self._facts()["channels"])

    def patch_shape(self, extent_mm: float) -> tuple[int, int, int]:
        """See `Renderer`."""

        def find(link: Link, deadline: Deadline) -> tuple[int, int, int]:
            known = link.shapes.find(extent_mm)
            if known is None:
                reply = _answer(link, wire.encode("patch_shape", {"extent_mm": extent_mm}), deadline)
                known = triple(int(n) for n in reply.fields["shape"])
                link.shapes.add(extent_mm, known)
            return known

        return self._over_link(find)

    def __call__(self, request: RenderRequest, progress: Progress | None = None) -> tuple[RenderedLesion, ...]:
        """See `Renderer`."""
        content, report = parcels.request_to_bytes(request), _Reporter(progress)
        if len(content) > wire.MAX_BYTES:
            raise LesionAugError(f"Expected a request below 1 GiB, got {len(content) / 2**30:.1f}; plan fewer lesions")
        reply = self._over_link(lambda link, deadline: _answer(link, content, deadline, report))
        lesions = parcels.rendered_from(reply)
        report(len(lesions))
        COUNT.answered += 1
        return lesions

    def status(self) -> Mapping[str, Any]:
        """What the server has done so far."""
        return self._over_link(lambda link, deadline: _answer(link, wire.encode("status"), deadline)).fields

    def _facts(self) -> Mapping[str, Any]:
        return self._over_link(lambda link, deadline: link.facts)

    def _over_link(self, use: Callable[[Link, Deadline], T]) -> T:
        """Ask something; once more over a new connection if the first one breaks."""
        deadline = Deadline(self.deadline_s, extends=self.on_late == "wait")
        try:
            return self._tried(use, deadline)
        except LateRenderError:
            COUNT.add_late(Patience(self.on_late, self.deadline_s))
            raise

    def _tried(self, use: Callable[[Link, Deadline], T], deadline: Deadline) -> T:
        broken: Exception | None = None
        for _ in range(TRIES):
            try:
                with self._link(deadline) as link:
                    return use(link, deadline)
            except BlockingIOError as error:
                raise LateRenderError(f"Expected a render server that reads, got one that stalls: {error}") from error
            except (EOFError, OSError) as error:
                broken = error
                pool.close(self.address)  # they lead to the same server
        raise LateRenderError(
            f"Expected an answer of the render server at {self.address}, got a connection that broke {TRIES} times "
            f"({type(broken).__name__}); see the log there"
        ) from broken

    @contextmanager
    def _link(self, deadline: Deadline) -> Iterator[Link]:
        """A connection for one question; kept for the next one unless an answer may still come out of it."""
        link = pool.take(self.address) or self._introduced(deadline)
        try:
            self._check(link.facts)
            yield link
        except BaseException:
            link.connection.close()
            raise
        pool.give_back(self.address, link)

    def _introduced(self, deadline: Deadline) -> Link:
        waits = Deadline(max(START_S, self.deadline_s)) if self.on_late == "wait" else deadline
        link = Link(connected(Place(self.address), waits), {})
        deadline.sign_of_life()
        try:
            return Link(link.connection, _answer(link, wire.encode("hello"), deadline).fields)
        except BaseException:
            link.connection.close()
            raise

    def _check(self, facts: Mapping[str, Any]) -> None:
        if facts["version"] != parcels.VERSION:
            raise LesionAugError(
                f"Expected a render server of lesionaug {parcels.VERSION}, got one of {facts['version']} at "
                f"{self.address}; start it again"
            )
        if self.identity and dict(self.identity) != facts["identity"]:
            raise LesionAugError(
                f"Expected a render server with the models {dict(self.identity)}, got {facts['identity']} at "
                f"{self.address}; give server and transform the same model and num_steps"
            )


class _Reporter:
    """Turns how many lesions are done into how many more were done.

    Args:
        progress: To be told; nobody if not given.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done = progress, 0

    def __call__(self, done: int) -> None:
        if self._progress and done > self._done:
            self._progress(done - self._done)
            self._done = done


def _answer(
    link: Link, question: bytes, deadline: Deadline, working: Callable[[int], None] = lambda done: None
) -> wire.Message:
    """What the server says to a question, signs of life apart.

    Raises:
        LateRenderError: Nothing, in time.
        LesionAugError: That the user must change something.
        RemoteRenderError: That something went wrong there.
    """
    link.connection.send_bytes(question)
    while link.connection.poll(deadline.left_s()):
        reply = wire.decode(link.connection.recv_bytes(wire.MAX_BYTES))
        if reply.kind != "working":
            return _checked(reply)
        deadline.sign_of_life()
        working(int(reply.fields["done"]))
    raise LateRenderError(
        f"Expected an answer of the render server within {deadline.seconds:g} s, got none; "
        "wait longer (deadline_s), ask for fewer lesions, or look at lesionaug serve --status"
    )


def _checked(reply: wire.Message) -> wire.Message:
    """The reply, unless it says what went wrong."""
    if reply.kind != "failed":
        return reply
    if reply.fields["ours"]:
        raise LesionAugError(reply.fields["message"])
    raise RemoteRenderError(f"Expected rendered lesions, got an error in the server:\n{reply.fields['traceback']}")
