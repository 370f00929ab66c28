"""One connection of a server, in a thread of its own: requests in, replies and signs of life out."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection
from typing import Any

from lesionaug.errors import LesionAugError
from lesionaug.rendering import Renderer
from lesionaug.serving import parcels, wire
from lesionaug.serving.batching import Batcher, Ticket
from lesionaug.serving.channel import welcome
from lesionaug.serving.errors import WireError
from lesionaug.serving.statistics import Statistics

BEAT_S = 0.5
"""How often a requester hears that the server works, and the server looks whether the requester is still there."""


@dataclass(frozen=True)
class Service:
    """What the threads of a server share.

    Args:
        renderer: Its facts are asked for here; it renders elsewhere.
        identity: What identifies its models.
        batcher: Takes requests.
        statistics: Counts them.
        key: That connections must know.
        stop: Set when the server ends.
    """

    renderer: Renderer
    identity: Mapping[str, Any]
    batcher: Batcher
    statistics: Statistics
    key: bytes
    stop: threading.Event = field(default_factory=threading.Event)


def attend(connection: Connection, service: Service) -> None:
    """Answer one requester until it goes."""
    service.statistics.count("connections")
    try:
        with connection:
            welcome(connection, service.key)
            while _wait(connection, service.stop):
                _answer(connection, connection.recv_bytes(wire.MAX_BYTES), service)
    except AuthenticationError:
        service.statistics.count("refused")
    except (EOFError, OSError):
        pass  # it went, or stalls: the connection is closed either way
    finally:
        service.statistics.count("connections", -1)


def _wait(connection: Connection, stop: threading.Event) -> bool:
    while not stop.is_set():
        if connection.poll(BEAT_S):
            return True
    return False


def _answer(connection: Connection, content: bytes, service: Service) -> None:
    try:
        message = wire.decode(content)
        if message.kind == parcels.RENDER:
            reply = _rendered(connection, message, service)
        else:
            reply = wire.encode(message.kind, _facts(message, service))
    except Exception as error:
        service.statistics.count("failed")
        reply = wire.encode("failed", _failure(error))
    if reply is not None:
        connection.send_bytes(reply)


def _facts(message: wire.Message, service: Service) -> Mapping[str, Any]:
    renderer = service.renderer
    if message.kind == "hello":
        return {
            "version": parcels.VERSION,
            "identity": dict(service.identity),
            "spacing_mm": renderer.spacing_mm,
            "channels": renderer.channels,
        }
    if message.kind == "patch_shape":
        return {"shape": renderer.patch_shape(float(message.fields["extent_mm"]))}
    if message.kind == "status":
        return {**service.statistics.snapshot(), "waiting": service.batcher.waiting()}
    raise WireError(f"Expected hello, patch_shape, status or render, got {message.kind!r}")


def _rendered(connection: Connection, message: wire.Message, service: Service) -> bytes | None:
    """The reply to a request, or None when its requester has gone."""
    request = parcels.request_from(message)
    service.statistics.count("requests")
    if not request.lesions:
        return parcels.rendered_to_bytes(())
    ticket = Ticket(request)
    service.batcher.submit(ticket)
    try:
        _accompany(connection, ticket, service)
        reply = parcels.rendered_to_bytes(ticket.outcome.result(0))
    except CancelledError:
        return None
    service.statistics.latency(time.monotonic() - ticket.arrived_s)
    return reply


def _accompany(connection: Connection, ticket: Ticket, service: Service) -> None:
    """Wait for the outcome; tell the requester whenever a batch got done, whoever's it was."""
    batches = service.statistics.batches()
    try:
        while not ticket.over():
            try:
                ticket.outcome.exception(BEAT_S)
            except TimeoutError:
                if service.stop.is_set() or connection.poll(0):  # it asks for nothing more now: it has gone
                    raise EOFError from None
                if batches != (batches := service.statistics.batches()):
                    connection.send_bytes(wire.encode("working", {"done": len(ticket.rendered)}))
    except (EOFError, OSError):
        ticket.abandon()
        service.statistics.count("abandoned")


def _failure(error: Exception) -> dict[str, Any]:
    return {
        "ours": isinstance(error, LesionAugError | WireError),
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
