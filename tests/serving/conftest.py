"""One server for all tests, in a runtime folder of its own in which nothing may remain."""

import pytest
from renderers import small_request
from runtimes import living_in, new_runtime

from lesionaug.loaded import SERVER, ModelChoice, loaded_here
from lesionaug.serving import pool
from lesionaug.serving.recipe import Batching, Recipe
from lesionaug.serving.starting import RenderServer

FAULTY = Recipe("faulty_renderers:faulty_models", {"model": "parametric"})


@pytest.fixture(scope="session")
def home():
    """Where the servers of these tests live."""
    with new_runtime() as folder:
        yield folder


@pytest.fixture(autouse=True)
def runtime(home):
    """Where they live, and for the length of a test everybody knows it: tests elsewhere leave nothing here."""
    with living_in(home):
        yield home


@pytest.fixture(scope="session")
def server(home):
    """Serves the parametric pair in batches of four, and misbehaves when asked to."""
    server = RenderServer(FAULTY, Batching(max_batch=4, max_wait_ms=20))
    with living_in(home):
        server.__enter__()
    yield server
    pool.close_all()
    server.stop()


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
