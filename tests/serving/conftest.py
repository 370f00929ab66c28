"""One server for all tests, in a runtime folder of its own in which nothing may remain."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from renderers import small_request

from lesionaug.loaded import SERVER, ModelChoice, loaded_here
from lesionaug.serving import pool
from lesionaug.serving.recipe import Batching, Recipe
from lesionaug.serving.starting import RenderServer

TESTS = Path(__file__).parents[1]
FAULTY = Recipe("faulty_renderers:faulty_models", {"model": "parametric"})


@pytest.fixture(scope="session")
def runtime():
    """Where servers live: a short path, for a socket's may not be long."""
    folder = tempfile.mkdtemp(prefix="rt-")
    changed = {"XDG_RUNTIME_DIR": folder, "PYTHONPATH": str(TESTS)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    yield Path(folder)
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    left = [str(path) for path in Path(folder).rglob("*") if path.parent.parent == Path(folder)]
    shutil.rmtree(folder)
    assert not left, "servers and what they leave behind"


@pytest.fixture(scope="session")
def server(runtime):
    """Serves the parametric pair in batches of four, and misbehaves when asked to."""
    with RenderServer(FAULTY, Batching(max_batch=4, max_wait_ms=20)) as server:
        yield server
        pool.close_all()


@pytest.fixture(scope="session")
def here():
    """The same models in this process."""
    return loaded_here(ModelChoice(model="parametric"))


@pytest.fixture(scope="session")
def request_of_four(here):
    return small_request(here)


@pytest.fixture
def shared_server(server, monkeypatch):
    """The server as every program finds it."""
    monkeypatch.setenv(SERVER, server.address)
    return server
