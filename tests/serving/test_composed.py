"""Renderers compose: a cache in front of a server is still a renderer, with the bits of this process."""

from renderers import assert_same_lesions, check_renderer
from stores import MemoryStore

from lesionaug.cache import CachedRenderer
from lesionaug.serving.client import ServedRenderer
from lesionaug.store import FolderStore


def test_a_cache_in_front_of_a_server(server, here, tmp_path):
    check_renderer(lambda: CachedRenderer(ServedRenderer(server.address), MemoryStore(), "parametric"), here)
    shared = FolderStore(tmp_path)
    check_renderer(lambda: CachedRenderer(ServedRenderer(server.address), shared, "parametric"), here)


def test_what_one_process_rendered_need_not_be_served(server, here, request_of_four):
    store = MemoryStore()
    expected = CachedRenderer(here, store, "parametric")(request_of_four)
    served = ServedRenderer(server.address)
    before = served.status()["answered"]
    assert_same_lesions(CachedRenderer(served, store, "parametric")(request_of_four), expected)
    assert served.status()["answered"] == before
