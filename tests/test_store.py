"""Stores keep bytes or lose them, but never change them, whoever writes, reads and dies meanwhile."""

import multiprocessing
import os
import pickle
import signal
import time

import pytest
from stores import A, B, MemoryStore, check_store

from lesionaug.store import ABANDONED_S, MAGIC, YOUNG_S, Entry, FolderStore


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "cache")


def key(number: int) -> str:
    return f"{number:064x}"[::-1]


def file_of(store: FolderStore, wanted: str):
    return store.path / wanted[:2] / f"{wanted}.lesions"


def entries(store: FolderStore) -> dict[str, Entry]:
    return {entry.key: entry for entry in store.entries()}


def age(entry: Entry, seconds: float) -> None:
    os.utime(entry.path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize("make", [lambda folder: MemoryStore(), FolderStore, lambda folder: FolderStore(folder, 10**9)])
def test_stores_keep_what_they_get(make, tmp_path):
    check_store(make(tmp_path / "cache"))


def test_nothing_is_made_before_something_is_put(store):
    assert store.get(A) is None
    assert list(store.entries()) == []
    assert store.prune().entries == 0
    assert not store.path.exists()


def test_other_processes_find_it(store):
    store.put(A, b"payload")
    assert pickle.loads(pickle.dumps(store)).get(A) == b"payload"
    assert FolderStore(store.path).get(A) == b"payload"


DAMAGE = {
    "empty": lambda content: b"",
    "torn in the header": lambda content: content[:20],
    "torn in the payload": lambda content: content[:-1],
    "more at the end": lambda content: content + b"x",
    "one bit of the payload": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "one bit of the checksum": lambda content: content[:10] + bytes([content[10] ^ 1]) + content[11:],
    "another version": lambda content: MAGIC[:-1] + b"\x63" + content[len(MAGIC) :],
    "zeros after a power cut": lambda content: bytes(len(content)),
    "something else": lambda content: b"not an entry at all" * 9,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_missing_and_gone(store, damage):
    store.put(A, b"payload" * 100)
    path = file_of(store, A)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert store.get(A) is None
    assert not path.exists()
    store.put(A, b"again")
    assert store.get(A) == b"again"


def test_an_entry_under_another_name_is_damaged(store):
    store.put(A, b"payload")
    path = file_of(store, B)
    path.parent.mkdir()
    file_of(store, A).rename(path)
    assert store.get(B) is None


def test_verify_finds_and_removes_what_is_damaged(store):
    for number in range(5):
        store.put(key(number), b"payload")
    broken = file_of(store, key(3))
    broken.write_bytes(broken.read_bytes()[:-2])
    assert {entry.key: whole for entry, whole in store.verify()} == {key(n): n != 3 for n in range(5)}
    assert set(entries(store)) == {key(n) for n in range(5) if n != 3}


def test_reading_marks_as_used(store):
    store.put(A, b"payload")
    age(entries(store)[A], 1000)
    store.get(A)
    assert time.time() - entries(store)[A].used_s < 100


def test_beyond_the_limit_the_longest_unused_go(store):
    for number in range(10):
        store.put(key(number), bytes(1000))
        age(entries(store)[key(number)], 10_000 - number)
    store.get(key(0))  # used now, so not the first to go
    size = entries(store)[key(0)].size
    limited = FolderStore(store.path, limit_bytes=6 * size)
    limited.put(key(10), bytes(1000))
    left = set(entries(store))
    assert {key(0), key(10)} <= left
    assert sum(entry.size for entry in store.entries()) <= 6 * size
    gone = sorted(set(range(11)) - {n for n in range(11) if key(n) in left})
    assert gone == list(range(1, 1 + len(gone)))


def test_the_limit_holds_over_many_writes(store):
    limited = FolderStore(store.path, limit_bytes=20_000)
    for number in range(100):
        limited.put(key(number), bytes(1000))
        age(entries(store)[key(number)], 10_000 - number)
        # One entry more than the limit, because what was just written stays.
        assert sum(entry.size for entry in store.entries()) <= 20_000 + 1100
    assert limited.get(key(99)) is not None


def test_young_entries_stay_whatever_the_limit(store):
    limited = FolderStore(store.path, limit_bytes=1)
    for number in range(3):
        limited.put(key(number), bytes(1000))
    assert all(limited.get(key(number)) is not None for number in range(3))
    for entry in list(store.entries()):
        age(entry, 2 * YOUNG_S)
    limited.put(key(3), b"")
    assert set(entries(store)) == {key(3)}


def test_what_others_wrote_counts_too(store):
    limited = FolderStore(store.path, limit_bytes=50_000)
    limited.put(key(0), bytes(1000))
    for number in range(1, 200):  # by another process, say
        store.put(key(number), bytes(1000))
    for entry in list(store.entries()):
        age(entry, 1000)
    for number in range(200, 204):
        limited.put(key(number), bytes(1000))
    assert sum(entry.size for entry in store.entries()) <= 50_000


def test_prune_by_age_and_by_size(store):
    for number in range(6):
        store.put(key(number), bytes(1000))
        age(entries(store)[key(number)], 10_000 * (6 - number))
    assert store.prune(unused_s=45_000).entries == 2
    size = entries(store)[key(5)].size
    pruned = store.prune(limit_bytes=3 * size)
    assert (pruned.entries, pruned.size) == (1, size)
    assert set(entries(store)) == {key(3), key(4), key(5)}
    assert store.prune(limit_bytes=10**9).entries == 0
    assert store.prune().entries == 0


def test_what_killed_writers_left_is_removed_once_it_is_old(store):
    store.put(A, b"payload")
    old, new = (store.path / A[:2] / f"{A}.{name}.partial" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * ABANDONED_S,) * 2)
    assert store.prune().abandoned == 1
    assert not old.exists()
    assert new.exists()
    assert store.get(A) == b"payload"


def test_a_failed_write_leaves_nothing(store):
    store.put(A, b"payload")
    with pytest.raises(TypeError):
        store.put(A, "text")  # type: ignore[arg-type]
    assert [path.name for path in store.path.rglob("*") if path.is_file()] == [f"{A}.lesions"]
    assert store.get(A) == b"payload"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_for_reading_only_can_be_read(store):
    store.put(A, b"payload")
    folder = file_of(store, A).parent
    folder.chmod(0o500)
    try:
        assert FolderStore(store.path).get(A) == b"payload"
        with pytest.raises(OSError, match="denied"):
            store.put(A, b"other")
    finally:
        folder.chmod(0o700)


KEYS = [key(number) for number in range(8)]


def payload_of(wanted: str) -> bytes:
    return wanted.encode() * 2000


def write_and_read(path, limit, rounds, started):
    """Write keys that all write and keys of one's own, and read everything; exit with the number of wrong answers."""
    store, wrong = FolderStore(path, limit), 0
    started.set()
    for number in range(rounds):
        own = key(1000 + os.getpid() * 1000 + number % 50)
        for wanted in (KEYS[number % len(KEYS)], own):
            store.put(wanted, payload_of(wanted))
            wrong += store.get(wanted) not in (payload_of(wanted), None)
        wrong += sum(store.get(wanted) not in (payload_of(wanted), None) for wanted in KEYS)
    os._exit(min(wrong, 100))


@pytest.mark.parametrize("limit", [None, 400_000])
def test_many_processes_write_while_one_is_killed(tmp_path, limit):
    """Nobody ever reads anything but what was written, and nobody waits for the dead."""
    context = multiprocessing.get_context("fork")
    started = context.Event()
    victim = context.Process(target=write_and_read, args=(tmp_path, limit, 10**9, started))
    others = [context.Process(target=write_and_read, args=(tmp_path, limit, 150, context.Event())) for _ in range(3)]
    for process in (victim, *others):
        process.start()
    assert started.wait(60)
    time.sleep(0.2)
    os.kill(victim.pid, signal.SIGKILL)
    for process in (victim, *others):
        process.join(120)
    assert victim.exitcode == -signal.SIGKILL
    assert [process.exitcode for process in others] == [0, 0, 0]
    store = FolderStore(tmp_path)
    assert all(whole for _, whole in store.verify())
    left = list(tmp_path.rglob("*.partial"))
    assert len(left) <= 1  # the victim's last
    for path in left:
        os.utime(path, (time.time() - 2 * ABANDONED_S,) * 2)
    store.prune()
    assert not list(tmp_path.rglob("*.partial"))
