"""Starting a server, once, whoever wants one, and starting it again when it has been killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Self

from lesionaug.errors import LesionAugError
from lesionaug.serving.channel import connect
from lesionaug.serving.deadline import Deadline
from lesionaug.serving.errors import LateRenderError
from lesionaug.serving.owner import exists, owner_of_this_process
from lesionaug.serving.place import Place, place_of, runtime_folder
from lesionaug.serving.recipe import Batching, HasRecipe, Recipe, Start

START_S = 120.0
"""How long a server may take to load its models."""

STOP_S = 10.0
"""How long it may take to end before it is killed."""

PAUSE_S = 0.05


class RenderServer:
    """A server that lives as long as its block, and not longer than this process.

    Args:
        models: What to serve, such as a `lesionaug.loaded.ModelChoice`.
        batching: How lesions share a call of the networks; the recipe's own way if not given.
        start_s: How long loading the models may take.

    Raises:
        LesionAugError: On entering: its models cannot be loaded, or this process has such a server already.

    Example:
        >>> from lesionaug.loaded import ModelChoice
        >>> server = RenderServer(ModelChoice(device="cuda:0"))  # with server: loaders find it at server.address
    """

    def __init__(self, models: HasRecipe | Recipe, batching: Batching | None = None, start_s: float = START_S) -> None:
        recipe = models if isinstance(models, Recipe) else models.recipe()
        self.start = Start(recipe, batching or recipe.batching(), os.getpid())
        self.start_s = start_s
        self._place: Place | None = None

    @property
    def address(self) -> str:
        """For `ServedRenderer` and `LESIONAUG_SERVER`."""
        return str(self._running().folder)

    @property
    def pid(self) -> int:
        """Of the server's process, which may change: requesters start a server again that was killed."""
        return int(self._running().pid.read_text())

    def __enter__(self) -> Self:
        place = prepared(self.start)
        if place.occupied():
            raise LesionAugError(f"Expected no server of these models in this process, got one at {place.folder}")
        self._place = place
        try:
            connected(place, Deadline(self.start_s)).close()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server, and leave nothing of it."""
        if self._place is not None:
            place, self._place = self._place, None
            place.start.unlink(missing_ok=True)  # from here on nobody starts it again
            _end(place)
            place.remove()

    def _running(self) -> Place:
        if self._place is None:
            raise LesionAugError("Expected a server that runs, got one before or after its block; use it inside")
        return self._place


def find_or_start(models: HasRecipe | Recipe, batching: Batching | None = None) -> str:
    """Address of the one server that the trainer and all its loader workers share; requesters start it when it is due.

    Args:
        models: What to serve.
        batching: How lesions share a call of the networks.
    """
    recipe = models if isinstance(models, Recipe) else models.recipe()
    return str(prepared(Start(recipe, batching or recipe.batching(), owner_of_this_process())).folder)


def prepared(start: Start) -> Place:
    """The place of a server, which may not run yet; places whose owners have gone are tidied away."""
    place = place_of(start)
    if not place.start.exists():
        _tidy()
        place.prepare(start)
    return place


def connected(place: Place, deadline: Deadline) -> Connection:
    """A connection to the server of a place, which is started if it does not run and may be started.

    Raises:
        LateRenderError: There is none in time.
        LesionAugError: It cannot be started, and its log says why.
    """
    started: subprocess.Popen[bytes] | None = None
    while True:
        try:
            return connect(place, max(deadline.left_s(), PAUSE_S))
        except (OSError, EOFError) as error:
            nobody = error
        started = _unless_it_failed(started, place) or start_if_none(place)
        if deadline.passed():
            raise LateRenderError(_late(place, deadline)) from nobody
        time.sleep(min(PAUSE_S, deadline.left_s()))


def _unless_it_failed(started: subprocess.Popen[bytes] | None, place: Place) -> subprocess.Popen[bytes] | None:
    """A server that comes up, or None where there is none or somebody killed it."""
    status = None if started is None else started.poll()
    if status is not None and status >= 0:
        raise LesionAugError(f"Expected a render server to start, got exit code {status}:\n{place.last_words()}")
    return started if status is None else None


def start_if_none(place: Place) -> subprocess.Popen[bytes] | None:
    """Start the server of a place, unless one lives or comes up there.

    The child inherits the lock, so that there is no moment in which nobody holds it, and no way to leave it behind.

    Raises:
        LateRenderError: Nobody may start it: it has no `start.json`, or its owner has gone.
    """
    place.check_private()
    with place.locked() as lock:
        if lock is None:
            return None
        _check_startable(place)
        with place.log.open("wb") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "lesionaug.serving.server", str(place.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C is for the trainer, which then ends its server
            )
        place.record(server.pid)
        return server


def _check_startable(place: Place) -> None:
    if not place.start.exists():
        raise LateRenderError(f"Expected a render server at {place.folder}, got none; start one with lesionaug serve")
    owner = Start.from_json(place.start.read_text()).owner
    if owner is not None and not exists(owner):
        raise LateRenderError(f"Expected a trainer that needs a render server, got none: process {owner} has ended")


def _late(place: Place, deadline: Deadline) -> str:
    return (
        f"Expected an answer of the render server at {place.folder} within {deadline.seconds:g} s, got none; "
        "wait longer (deadline_s) or look at lesionaug serve --status"
    )


def _end(place: Place) -> None:
    """By asking, then by killing."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError, ValueError):
            if place.occupied():
                os.kill(int(place.pid.read_text()), number)
        if _within(STOP_S, lambda: not place.occupied()):
            break
    with suppress(OSError, ValueError):
        os.waitpid(int(place.pid.read_text()), os.WNOHANG)  # no zombie, if this process started it


def _within(seconds: float, happens: Callable[[], bool]) -> bool:
    deadline = Deadline(seconds)
    while not happens():
        if deadline.passed():
            return False
        time.sleep(PAUSE_S)
    return True


def _tidy() -> None:
    """Remove what servers left that were killed together with their owners."""
    with suppress(OSError):
        for folder in runtime_folder().iterdir():
            owner = folder.name.partition("-")[0]
            if owner.isdigit() and not exists(int(owner)) and not Place(folder).occupied():
                Place(folder).remove()
