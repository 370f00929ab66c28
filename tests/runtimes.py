"""A runtime folder for render servers, in which nothing may remain."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parent


@contextmanager
def own_runtime() -> Iterator[Path]:
    """Where servers of this block live: a short path, for a socket's may not be long."""
    folder = tempfile.mkdtemp(prefix="rt-")
    changed = {"XDG_RUNTIME_DIR": folder, "PYTHONPATH": str(TESTS)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    yield Path(folder)
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    left = [str(path) for path in Path(folder).rglob("*") if path.parent.parent == Path(folder)]
    shutil.rmtree(folder)
    assert not left, f"servers and what they leave behind: {left}"
