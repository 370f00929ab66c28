"""Runtime folders for render servers, in which nothing may remain."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parent


@contextmanager
def new_runtime() -> Iterator[Path]:
    """A folder for the servers of this block: a short path, for a socket's may not be long."""
    folder = Path(tempfile.mkdtemp(prefix="rt-"))
    yield folder
    left = [str(path) for path in folder.rglob("*") if path.parent.parent == folder]
    shutil.rmtree(folder)
    assert not left, f"servers and what they leave behind: {left}"


@contextmanager
def living_in(runtime: Path) -> Iterator[None]:
    """Servers that are looked for or started in this block live there."""
    changed = {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(TESTS)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
