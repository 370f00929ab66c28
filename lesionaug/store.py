"""Bytes under keys, on disk: any number of processes read, write, evict and die at the same time, and none waits.

put: unique temporary file ──os.replace──► ab/ab34….lesions        get: read ──checksum──► bytes, or None and it is gone

There are no locks to be left behind. A file that is torn, cut or exchanged does not fit its checksum, which also
covers its key; it counts as missing and is removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from lesionaug.errors import LesionAugError

MAGIC = b"LESIONS\x01"  # the last byte is the version of this layout
SUFFIX, PARTIAL = ".lesions", ".partial"
KEY = re.compile("[0-9a-f]{16,128}")
CHECKSUM_BYTES = 32

YOUNG_S = 60.0
"""Entries used so lately are not evicted: whoever wrote one may be about to read it."""

ABANDONED_S = 600.0
"""A temporary file this old has lost its writer, who needs milliseconds."""

KEEP = 0.9  # of the limit, after an eviction, so that the next one is not due at once
LOOK_AGAIN = 1 / 32  # of the limit: written here since the folder was last measured, while others wrote too


@runtime_checkable
class Store(Protocol):
    """Keeps bytes, or may have lost them."""

    def get(self, key: str) -> bytes | None:
        """What was put under a key, whole, or None."""
        ...

    def put(self, key: str, payload: bytes) -> None:
        """Keep bytes under a key, instead of those there."""
        ...

    def __contains__(self, key: str) -> bool:
        """Whether `get` is likely to find something."""
        ...


@dataclass(frozen=True)
class Entry:
    """A file of a store.

    Args:
        path: Where it is.
        size: In bytes.
        used_s: When it was last written or read, as seconds since 1970.
    """

    path: Path
    size: int
    used_s: float

    @property
    def key(self) -> str:
        """What it is kept under."""
        return self.path.stem


@dataclass(frozen=True)
class Pruned:
    """What `FolderStore.prune` removed."""

    entries: int = 0
    size: int = 0
    abandoned: int = 0


@dataclass
class _Meter:
    """What this process believes the folder to hold; others write too, so it looks again now and then."""

    total: int = 0
    since_look: int | None = None


@dataclass(frozen=True)
class FolderStore:
    """A store in a folder that processes share.

    Args:
        path: The folder; made when something is put.
        limit_bytes: Beyond it, entries are evicted, the longest unused first. Processes that write at once exceed it
            by at most a thirty-second part each, and by what is younger than a minute.
    """

    path: Path
    limit_bytes: int | None = None
    _meter: _Meter = field(default_factory=_Meter, repr=False, compare=False)

    def get(self, key: str) -> bytes | None:
        """See `Store`. Marks the entry as used; removes it if it is damaged."""
        path = self._file(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        payload = _opened(key, content)
        # A folder may be shared for reading only: then nothing is marked, and nothing removed.
        with suppress(OSError):
            os.utime(path) if payload is not None else path.unlink()
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """See `Store`.

        Raises:
            OSError: The folder cannot be written, or is full.
        """
        path = self._file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{key}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            # Not synced to the disk: after a power cut the checksum tells, and rendering again is all it costs.
            partial.write_bytes(_sealed(key, payload))
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        if self.limit_bytes is not None:
            self._keep_to(self.limit_bytes, written=len(payload))

    def __contains__(self, key: str) -> bool:
        return self._file(key).is_file()

    def entries(self) -> Iterator[Entry]:
        """What is there now; others may remove it in the meantime."""
        return self._files(SUFFIX)

    def abandoned(self, now_s: float | None = None) -> Iterator[Entry]:
        """Temporary files of writers that were killed."""
        oldest_s = (time.time() if now_s is None else now_s) - ABANDONED_S
        return (entry for entry in self._files(PARTIAL) if entry.used_s < oldest_s)

    def verify(self) -> Iterator[tuple[Entry, bool]]:
        """Every entry, and whether it is whole; those that are not are removed."""
        for entry in self.entries():
            with suppress(FileNotFoundError):
                content = entry.path.read_bytes()
                whole = _opened(entry.key, content) is not None
                if not whole:
                    entry.path.unlink()
                yield entry, whole

    def prune(self, limit_bytes: int | None = None, unused_s: float | None = None) -> Pruned:
        """Remove what killed writers left, and entries.

        Args:
            limit_bytes: Remove the longest unused until this is left; entries younger than a minute stay.
            unused_s: Remove those not used for so long.
        """
        now_s = time.time()
        left = sum(_removed(entry) for entry in list(self.abandoned(now_s)))
        oldest_first = sorted(self.entries(), key=lambda entry: entry.used_s)
        over = sum(entry.size for entry in oldest_first) - (float("inf") if limit_bytes is None else limit_bytes)
        count = size = 0
        for entry in oldest_first:
            age_s = now_s - entry.used_s
            if age_s > (unused_s if unused_s is not None else float("inf")) or (size < over and age_s > YOUNG_S):
                count, size = count + _removed(entry), size + entry.size
        return Pruned(count, size, left)

    def _file(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise LesionAugError(f"Expected a key of 16 or more hexadecimal digits, got {key!r}; hash it first")
        return self.path / key[:2] / f"{key}{SUFFIX}"

    def _files(self, suffix: str) -> Iterator[Entry]:
        for path in self.path.glob(f"[0-9a-f][0-9a-f]/*{suffix}"):
            with suppress(FileNotFoundError):
                about = path.stat()
                yield Entry(path, about.st_size, about.st_mtime)

    def _keep_to(self, limit: int, written: int) -> None:
        meter = self._meter
        meter.total += written
        if meter.since_look is not None:
            meter.since_look += written
            if meter.total <= limit and meter.since_look <= limit * LOOK_AGAIN:
                return
        meter.total, meter.since_look = sum(entry.size for entry in self.entries()), 0
        if meter.total > limit:
            meter.total -= self.prune(int(limit * KEEP)).size


def _sealed(key: str, payload: bytes) -> bytes:
    return MAGIC + _checksum(key, payload) + payload


def _opened(key: str, content: bytes) -> bytes | None:
    """The payload, or None where the file is not what was written under this key."""
    start = len(MAGIC) + CHECKSUM_BYTES
    payload = content[start:]
    whole = content[:start] == MAGIC + _checksum(key, payload)
    return payload if whole else None


def _checksum(key: str, payload: bytes) -> bytes:
    checksum = hashlib.blake2b(key.encode(), digest_size=CHECKSUM_BYTES)
    checksum.update(payload)
    return checksum.digest()


def _removed(entry: Entry) -> bool:
    try:
        entry.path.unlink()
    except FileNotFoundError:  # another process was first
        return False
    return True
