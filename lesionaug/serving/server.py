"""The server's process: `python -m lesionaug.serving.server FOLDER`, started afresh and never forked."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from lesionaug.serving.attending import Service, attend
from lesionaug.serving.batching import Batcher
from lesionaug.serving.channel import connection_of, listen
from lesionaug.serving.owner import Owner
from lesionaug.serving.place import Place
from lesionaug.serving.recipe import Start
from lesionaug.serving.rendering import render_batches
from lesionaug.serving.statistics import Statistics

TICK_S = 0.5
"""How often the server looks whether it is still wanted."""

FINISH_S = 5.0
"""How long the batch that is being rendered may take when the server is told to stop."""


def serve(place: Place, start: Start, owner: Owner | None = None, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until told to stop by a signal, or until the owner has gone. The caller holds the place's lock.

    Args:
        place: Prepared.
        start: Which models, which batches.
        owner: Whose server it is; runs on its own if not given.
        ready: Called once it listens.
    """
    torch.set_num_threads(start.batching.threads)
    if start.batching.padded:
        torch.backends.cudnn.deterministic = True  # or the same batch twice may differ in its last bits
    renderer, identity = start.recipe.build()
    statistics = Statistics(start.recipe.arguments.get("device"))
    service = Service(renderer, identity, Batcher(start.batching), statistics, place.key.read_bytes())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop.set())
    model = threading.Thread(
        target=render_batches,
        args=(renderer, service.batcher, start.batching, statistics, service.stop),
        daemon=True,  # a call of the networks that hangs must not keep the process
    )
    model.start()
    with listen(place) as listener:
        ready()
        _accept(listener, service, model, owner)
    place.socket.unlink(missing_ok=True)
    service.stop.set()
    model.join(FINISH_S)


def _accept(listener: socket.socket, service: Service, model: threading.Thread, owner: Owner | None) -> None:
    listener.settimeout(TICK_S)
    while not service.stop.is_set() and model.is_alive() and (owner is None or owner.alive()):
        with suppress(TimeoutError, ConnectionAbortedError):
            stranger, _ = listener.accept()
            threading.Thread(target=attend, args=(connection_of(stranger), service), daemon=True).start()


def main() -> None:
    """Serve what the folder's `start.json` says; whoever started this process handed the folder's lock down."""
    place = Place(Path(sys.argv[1]))
    start = Start.from_json(place.start.read_text())
    owner = None if start.owner is None else Owner(start.owner)
    serve(place, start, owner)
    if owner is not None and not owner.alive():
        place.remove()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that answer requesters, or a network that hangs, must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
