"""Every lesion goes into one batch, with others of its shape, the oldest first, and none waits for ever."""

import threading

import pytest
import torch

from lesionaug.errors import LesionAugError
from lesionaug.rendering import LesionRequest, RenderRequest
from lesionaug.scan import LesionSpec
from lesionaug.serving.batching import Batcher, Ticket, one_request
from lesionaug.serving.recipe import Batching

LONG_MS = 60_000  # longer than any test: a batch that goes does not go for having waited


def spec(seed):
    return LesionSpec((0, 0, 0), 3, 4, (), seed)


def ticket(count, size=4, channels=("flair",)):
    mask = torch.ones(1, size, size, size, dtype=torch.bool)
    near = mask.expand(2, -1, -1, -1)
    lesions = tuple(
        LesionRequest(torch.zeros(len(channels), size, size, size), mask, mask, near, spec(seed))
        for seed in range(count)
    )
    return Ticket(RenderRequest(channels, lesions))


def batcher_of(*tickets, **batching):
    batcher = Batcher(Batching(**batching))
    for one in tickets:
        batcher.submit(one)
    return batcher


def taken(batcher):
    """All batches that go now."""
    batches = []
    while batch := batcher.take(0):
        batches.append(batch)
    return batches


def test_a_full_batch_goes_at_once_and_the_rest_waits():
    batcher = batcher_of(ticket(3), ticket(4), max_batch=3, max_wait_ms=LONG_MS)
    assert [len(batch) for batch in taken(batcher)] == [3, 3]
    assert batcher.waiting() == 1


def test_what_has_waited_long_enough_goes_alone():
    batcher = batcher_of(ticket(1), max_batch=3, max_wait_ms=1)
    assert len(batcher.take(30)) == 1


def test_nothing_comes_of_nothing():
    assert batcher_of(max_batch=3).take(0.01) == []


def test_a_batch_has_one_shape_and_one_set_of_channels():
    requests = [ticket(3, 4), ticket(3, 6), ticket(3, 4, ("t1w",)), ticket(1, 4)]
    batches = taken(batcher_of(*requests, max_batch=8, max_wait_ms=0))
    assert all(len({job.shape for job in batch}) == 1 for batch in batches)
    assert sorted(map(len, batches)) == [3, 3, 4]


def test_the_oldest_goes_first():
    old, young = ticket(2, 4), ticket(8, 6)
    assert {job.ticket for job in batcher_of(young, old, max_batch=4, max_wait_ms=0).take(0)} == {old}


def test_a_full_batch_need_not_wait_for_an_older_one_that_is_not():
    old, young = ticket(1, 4), ticket(4, 6)
    assert {job.ticket for job in batcher_of(old, young, max_batch=4, max_wait_ms=LONG_MS).take(0)} == {young}


def test_what_nobody_waits_for_is_not_rendered():
    gone, failed, there = ticket(2), ticket(2), ticket(2)
    batcher = batcher_of(gone, failed, there, max_batch=9, max_wait_ms=0)
    gone.abandon()
    failed.fail(ValueError())
    assert {job.ticket for batch in taken(batcher) for job in batch} == {there}


def test_every_lesion_of_every_thread_goes_exactly_once():
    batcher, tickets = batcher_of(max_batch=5, max_wait_ms=1), [ticket(7, 4 + n % 2) for n in range(16)]
    threads = [threading.Thread(target=batcher.submit, args=(one,)) for one in tickets]
    for thread in threads:
        thread.start()
    seen = []
    while len(seen) < 16 * 7 and (batch := batcher.take(10)):
        seen += [(job.ticket, job.index) for job in batch]
    assert len(seen) == len(set(seen)) == 16 * 7


def test_a_padded_batch_repeats_its_last_lesion():
    (batch,) = taken(batcher_of(ticket(2), max_batch=4, max_wait_ms=0))
    assert [lesion.spec.seed for lesion in one_request(batch, 4).lesions] == [0, 1, 1, 1]
    assert [lesion.spec.seed for lesion in one_request(batch).lesions] == [0, 1]


def test_a_request_is_answered_once_and_in_its_order():
    one = ticket(2)
    one.finish(1, "second")
    assert not one.over()
    one.finish(0, "first")
    assert one.outcome.result(0) == ("first", "second")
    one.fail(ValueError())
    one.abandon()
    assert one.outcome.result(0) == ("first", "second")


@pytest.mark.parametrize("batching", [{"max_batch": 0}, {"max_wait_ms": -1}, {"threads": 0}])
def test_batches_that_cannot_be_are_refused(batching):
    with pytest.raises(LesionAugError, match="Expected a max_batch"):
        Batching(**batching)
