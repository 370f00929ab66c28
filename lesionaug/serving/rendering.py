"""The one thread of a server that renders."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import torch

from lesionaug.rendering import Renderer
from lesionaug.serving.batching import Batcher, Job, one_request
from lesionaug.serving.recipe import Batching
from lesionaug.serving.statistics import Statistics

IDLE_S = 0.5


def render_batches(
    renderer: Renderer, batcher: Batcher, batching: Batching, statistics: Statistics, stop: threading.Event
) -> None:
    """Render what comes until told to stop; an error is the answer to its request and to no other.

    Raises:
        torch.AcceleratorError: The GPU is of no more use to this process, which had better end.
    """
    size = batching.max_batch if batching.padded else None
    while not stop.is_set():
        jobs = batcher.take(IDLE_S)
        if jobs:
            now_s = time.monotonic()
            _render(renderer, jobs, size)
            statistics.batch([now_s - job.ticket.arrived_s for job in jobs])


def _render(renderer: Renderer, jobs: Sequence[Job], size: int | None) -> None:
    try:
        lesions = renderer(one_request(jobs, size))
    except torch.AcceleratorError as error:
        for job in jobs:
            job.ticket.fail(error)
        raise
    except Exception as error:
        _blame(renderer, jobs, size, error)
        return
    for job, lesion in zip(jobs, lesions[: len(jobs)], strict=True):
        job.ticket.finish(job.index, lesion)


def _blame(renderer: Renderer, jobs: Sequence[Job], size: int | None, error: Exception) -> None:
    """Find whose lesion it was, or whether all of them were too much at once."""
    if len(jobs) == 1:
        jobs[0].ticket.fail(error)
        return
    for job in jobs:
        if not job.ticket.over():
            _render(renderer, [job], size)
