"""One server for all tests, in a runtime folder of its own in which nothing may remain."""

import pytest
from renderers import small_request
from runtimes import own_runtime

from lesionaug.loaded import SERVER, ModelChoice, loaded_here
from lesionaug.serving import pool
from lesionaug.serving.recipe import Batching, Recipe
from lesionaug.serving.starting import RenderServer

FAULTY = Recipe("faulty_renderers:faulty_models", {"model": "parametric"})


@pytest.fixture(scope="session")
def runtime():
    """Where servers live."""
    with own_runtime() as folder:
        yield folder


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
