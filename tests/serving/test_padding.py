"""Where networks render whole batches, filling them up keeps a lesion's bits, whatever shares its batch."""

import threading

import pytest
from renderers import assert_same_lesions, small_request
from scans import random_diffmask, random_lefusion

from lesionaug.loaded import ModelChoice, loaded_here
from lesionaug.rendering import DiffusionRenderer, RenderRequest
from lesionaug.serving.batching import Batcher, Ticket
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.recipe import Batching
from lesionaug.serving.rendering import render_batches
from lesionaug.serving.starting import RenderServer
from lesionaug.serving.statistics import Statistics
from lesionaug.threads import torch_threads


def answers(renderer, batching, requests):
    """Of a server's rendering thread that gets all requests at once."""
    batcher, statistics, stop = Batcher(batching), Statistics(), threading.Event()
    tickets = [Ticket(request) for request in requests]
    for ticket in tickets:
        batcher.submit(ticket)
    thread = threading.Thread(target=render_batches, args=(renderer, batcher, batching, statistics, stop))
    thread.start()
    try:
        found = [ticket.outcome.result(120) for ticket in tickets]
    finally:
        stop.set()
        thread.join()
    return found, statistics.snapshot()["batch_sizes"]


@pytest.mark.parametrize("others", [[0], [0, 1], [2, 3, 0, 1, 2]])
def test_a_lesion_in_a_padded_batch_does_not_depend_on_its_company(others):
    renderer = DiffusionRenderer(random_diffmask(), random_lefusion(), max_batch=64)
    lesions = small_request(renderer).lesions
    mine = RenderRequest(("flair", "t1w"), lesions[1:2])
    company = [RenderRequest(("flair", "t1w"), (lesions[index],)) for index in others]
    padded = Batching(max_batch=3, max_wait_ms=10_000, padded=True)
    ((alone,), _) = answers(renderer, Batching(max_batch=3, max_wait_ms=0, padded=True), [mine])
    (first, *_), sizes = answers(renderer, padded, [mine, *company, *[mine] * (-(1 + len(company)) % 3)])
    assert max(map(int, sizes)) > 1
    assert_same_lesions(first, alone)


@pytest.mark.slow
def test_the_packaged_models_are_served_with_the_bits_of_a_loader_worker(runtime):
    here = loaded_here(ModelChoice())
    request = small_request(here)
    with torch_threads(1):
        expected = here(request)
    with RenderServer(ModelChoice()) as server:
        assert_same_lesions(ServedRenderer(server.address)(request), expected)
