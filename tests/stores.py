"""The laws of a store, for every kind of it, and a store in memory."""

from __future__ import annotations

import pytest

from lesionaug.errors import LesionAugError
from lesionaug.store import KEY, Store

A, B = "a" * 64, "0123456789abcdef" * 4


class MemoryStore(dict):
    """A dictionary is one, but for the keys it takes."""

    def put(self, key: str, payload: bytes) -> None:
        self[self._checked(key)] = payload

    def get(self, key: str) -> bytes | None:
        return super().get(self._checked(key))

    @staticmethod
    def _checked(key: str) -> str:
        if not KEY.fullmatch(key):
            raise LesionAugError(f"Expected a key, got {key!r}; hash it first")
        return key


def check_store(store: Store) -> None:
    """What goes in comes out, once under each key, whatever the bytes."""
    assert isinstance(store, Store)
    assert store.get(A) is None
    assert A not in store
    for payload in (b"", b"x", bytes(range(256)) * 1000, b"second"):
        store.put(A, payload)
        assert A in store
        assert store.get(A) == payload
        assert store.get(A) == payload
    assert store.get(B) is None
    store.put(B, b"other")
    assert (store.get(A), store.get(B)) == (b"second", b"other")
    for key in ("", "short", "../" + A, A.upper(), A + "\n", "g" * 64):
        with pytest.raises(LesionAugError, match="Expected a key"):
            store.put(key, b"")
        with pytest.raises(LesionAugError, match="Expected a key"):
            store.get(key)
