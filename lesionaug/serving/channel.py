"""Connections between processes of one machine: both sides prove to know the key, and no call waits for ever."""

from __future__ import annotations

import socket
import struct
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

from lesionaug.errors import LesionAugError
from lesionaug.serving.place import Place

STALL_S = 30.0
"""How long a call waits for the other side to take or send the next bytes of a message that has begun."""


def listen(place: Place) -> socket.socket:
    """A socket that waits for others; the one left by a server that was killed goes."""
    place.socket.unlink(missing_ok=True)
    listener = _unix_socket()
    listener.bind(str(place.socket))
    listener.listen(128)
    return listener


def connect(place: Place, wait_s: float) -> Connection:
    """To the server of this place.

    Raises:
        LesionAugError: Others may enter the place, or the key is not the server's.
        OSError: Nobody is there, or nobody answers in time.
        EOFError: Whoever was there went away.
    """
    place.check_private()
    key = place.key.read_bytes()
    stranger = _unix_socket()
    try:
        stranger.settimeout(wait_s)
        stranger.connect(str(place.socket))
        connection = connection_of(stranger, wait_s)
    except BaseException:
        stranger.close()
        raise
    try:
        answer_challenge(connection, key)
        deliver_challenge(connection, key)
    except AuthenticationError as error:
        connection.close()
        raise LesionAugError(
            f"Expected the key of the render server in {place.key}, got another; start the server again"
        ) from error
    except BaseException:
        connection.close()
        raise
    set_stall(connection, STALL_S)
    return connection


def welcome(connection: Connection, key: bytes) -> None:
    """The server's side of what `connect` does.

    Raises:
        multiprocessing.AuthenticationError: The other side does not know the key.
    """
    deliver_challenge(connection, key)
    answer_challenge(connection, key)


def connection_of(stranger: socket.socket, stall_s: float = STALL_S) -> Connection:
    """Whole messages instead of bytes; the socket is used up."""
    stranger.settimeout(None)
    connection = Connection(stranger.detach())
    set_stall(connection, stall_s)
    return connection


def set_stall(connection: Connection, seconds: float) -> None:
    """Let reads and writes fail with `BlockingIOError` where the other side stalls for longer."""
    interval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6) or 1)
    with socket.socket(fileno=connection.fileno()) as raw:
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)
        finally:
            raw.detach()


def _unix_socket() -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise LesionAugError("Expected a system with Unix sockets, got one without; render in the process itself")
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
