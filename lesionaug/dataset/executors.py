"""Who makes the cases: this process, several, or a Dask cluster. All yield what became of each case as it gets done."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Protocol

from lesionaug.dataset.cases import Case, chunks_of
from lesionaug.dataset.manifest import Failure
from lesionaug.errors import LesionAugError
from lesionaug.stopping import TERMINATED, raise_at_sigterm

if TYPE_CHECKING:
    from distributed import Client

Results = Iterator[Failure | None]


class Job(Protocol):
    """Makes cases; plain data that can be sent to another process or machine."""

    def __call__(self, cases: Sequence[Case]) -> list[Failure | None]:
        """Make cases; what went wrong with each, in order."""
        ...

    def make(self, case: Case) -> Failure | None:
        """Make one case, unless it is there."""
        ...

    def fail(self, case: Case, error: str) -> Failure | None:
        """Write down that a case could not be made, unless it is there."""
        ...


Executor = Callable[[Job, Sequence[Case]], Results]

DIED = "Expected its worker to live, got a process that was killed; most often memory ran out: use fewer --workers"


def executor_for(workers: int, dask: str | None) -> Executor:
    """Who is asked for.

    Args:
        workers: Processes of this machine.
        dask: Address of a Dask scheduler, or `local` for a cluster of that many workers on this machine.

    Raises:
        LesionAugError: Fewer than one worker.
    """
    if workers < 1:
        raise LesionAugError(f"Expected one worker or more, got {workers}; correct --workers")
    if dask:
        return on_dask(dask, workers)
    return here if workers == 1 else in_processes(workers)


def here(job: Job, cases: Sequence[Case]) -> Results:
    """In this process."""
    return map(job.make, cases)


def in_processes(workers: int) -> Executor:
    """In several processes of this machine, started anew: forked ones could not use a GPU."""

    def execute(job: Job, cases: Sequence[Case]) -> Results:
        chunks = iter(chunks_of(cases, workers))
        alive = True
        while alive:
            # A killed worker breaks its pool; the next one goes on with the chunks that are left.
            alive = yield from _until_broken(job, chunks, workers)

    return execute


def _until_broken(job: Job, chunks: Iterator[tuple[Case, ...]], workers: int) -> Iterator[Any]:
    """Results of a pool of processes; its value says whether there may be chunks left."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_ready)
    running: dict[Future, tuple[Case, ...]] = {}
    broken = False
    try:
        while not broken:
            while len(running) < workers and (chunk := next(chunks, None)):
                running[pool.submit(_made, job, chunk)] = chunk
            if not running:
                return False
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                chunk = running.pop(future)
                broken = broken or isinstance(future.exception(), BrokenProcessPool)
                yield from _lost(job, chunk) if future.exception() else future.result()
    except BrokenProcessPool:  # when something was handed to it
        yield from _lost(job, chunk or ())
    except BaseException:  # whoever waits for the cases was interrupted
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    for chunk in running.values():
        yield from _lost(job, chunk)
    return True


def _ready() -> None:
    """A worker ends when it is told to by who started it, and cleans up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at the terminal, which sends it to all
    raise_at_sigterm(SystemExit(TERMINATED))


def _made(job: Job, cases: Sequence[Case]) -> list[Failure | None]:
    try:
        return job(cases)
    except SystemExit:  # the pool would take it for a result, and go on
        os._exit(TERMINATED)


def _lost(job: Job, chunk: Sequence[Case]) -> Results:
    """Cases whose worker died: those already made count as made, the others have failed until the next run."""
    return (job.fail(case, DIED) for case in chunk)


def on_dask(address: str, workers: int) -> Executor:
    """On a Dask cluster.

    Args:
        address: Of the scheduler, or `local`.
        workers: Of a local cluster.

    Raises:
        LesionAugError: Dask is not installed.
    """
    try:
        from distributed import as_completed
    except ImportError as error:
        raise LesionAugError("Expected Dask distributed, got none; pip install 'lesionaug[dask]'") from error

    def execute(job: Job, cases: Sequence[Case]) -> Results:
        chunks = chunks_of(cases, 4 * workers)
        with _client(address, workers) as client:
            futures = {client.submit(job, chunk, pure=False): chunk for chunk in chunks}
            for future in as_completed(futures):
                # Where its workers died again and again, the cluster gives a chunk up.
                yield from _lost(job, futures[future]) if future.status == "error" else future.result()

    return execute


def _client(address: str, workers: int) -> Client:
    from distributed import Client

    if address == "local":
        return Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    try:
        return Client(address, timeout="30s")
    except (OSError, TimeoutError, ValueError) as error:
        raise LesionAugError(
            f"Expected a Dask scheduler at {address}, got none ({error}); start one, or use --dask local"
        ) from error
