"""Connections that are open and not in use, of this process: never those of the process it was forked from."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from lesionaug.serving.shapes import KnownShapes


@dataclass(frozen=True, eq=False)
class Link:
    """A connection, and what the server at its end said of itself.

    Args:
        connection: Open.
        facts: Its answer to `hello`.
        shapes: What it has said of patch shapes.
    """

    connection: Connection
    facts: Mapping[str, Any]
    shapes: KnownShapes = field(default_factory=KnownShapes)


_FREE: dict[str, list[Link]] = defaultdict(list)


def take(address: str) -> Link | None:
    """A link that nobody uses, if there is one."""
    with suppress(IndexError):
        return _FREE[address].pop()
    return None


def give_back(address: str, link: Link) -> None:
    """Nobody uses it any more."""
    _FREE[address].append(link)


def close(address: str) -> None:
    """Close what nobody uses; its server has gone."""
    while link := take(address):
        link.connection.close()


def close_all() -> None:
    """Likewise, of all servers."""
    for address in list(_FREE):
        close(address)


# Two processes that read from one connection would get each other's answers.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=close_all)
