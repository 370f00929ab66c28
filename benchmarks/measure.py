"""How long, how much memory, and on what: the part that every speed benchmark shares. Imports nothing heavy.

A run is warmed up, the device is waited for, and the median and 90th percentile of what follows are kept. Memory is
that of a fresh process, because a peak never goes down again.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

PACKAGES = ("lesionaug", "torch", "torchio", "numpy", "scipy")
PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing, done again and again.

    Args:
        first_s: The first time, with all that it had to load; not part of the rest.
        median_s: Of the other times.
        p90_s: 90th percentile of the other times.
        cpu_s: Median processor time of all threads, from which other programs on a busy machine take less.
        repeats: How many the other times were.
    """

    first_s: float
    median_s: float
    p90_s: float
    cpu_s: float
    repeats: int


def timed(run: Callable[[int], Any], repeats: int, device: str = "cpu") -> Timing:
    """Time `run(0)` to warm up, then `run(0)` to `run(repeats - 1)`."""
    first, *others = [_seconds(lambda index=index: run(index), device) for index in (0, *range(repeats))]
    wall, cpu = np.transpose(others)
    return Timing(first[0], float(np.median(wall)), float(np.percentile(wall, 90)), float(np.median(cpu)), repeats)


@contextmanager
def stopwatch(record: Callable[[float], None]) -> Iterator[None]:
    """Give the seconds its block took to a function."""
    start = time.perf_counter()
    yield
    record(time.perf_counter() - start)


def _seconds(run: Callable[[], Any], device: str) -> tuple[float, float]:
    """On the wall's clock, and of the processor."""
    synchronise(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    run()
    synchronise(device)
    return time.perf_counter() - start, time.process_time() - cpu_start


def synchronise(device: str) -> None:
    """Wait until a GPU has done what it was told; a CPU has."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far, in 1e9 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux hands `ru_maxrss` down from the process that started this one; this count begins with this program.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def peak_device_memory_gb(device: str) -> float | None:
    """Largest memory torch had on a GPU so far, in 1e9 bytes; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e9


def in_fresh_process(function: Callable[..., T], *args: Any, deadline_s: float) -> T:
    """What a function of an importable module returns in a process of its own.

    Raises:
        RuntimeError: It failed (its traceback is shown), died, or took longer than the deadline.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, function, args))
    process.start()
    sender.close()
    try:
        return _outcome(receiver, function.__name__, deadline_s)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _outcome(receiver: Connection, name: str, deadline_s: float) -> Any:
    if not receiver.poll(deadline_s):
        raise RuntimeError(
            f"Expected {name} to be done in {deadline_s:.0f} s, got no answer; give it longer or less to do"
        )
    try:
        succeeded, outcome = receiver.recv()
    except EOFError:
        raise RuntimeError(f"Expected an answer of {name}, got a dead process; it may have run out of memory") from None
    if not succeeded:
        raise RuntimeError(f"Expected an answer of {name}, got an error in its process:\n{outcome}")
    return outcome


def _report(sender: Connection, function: Callable, args: tuple) -> None:
    try:
        sender.send((True, function(*args)))
    except Exception:
        sender.send((False, traceback.format_exc()))


def provenance() -> dict[str, Any]:
    """Hardware, versions and commit; numbers mean nothing without."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "commit": commit(),
    }


def hardware() -> dict[str, Any]:
    """Processor, cores, how busy they are, memory, GPUs."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "gpus": gpus,
    }


def commit() -> str | None:
    """Hash of the checked-out commit, `-dirty` where tracked files differ from it; None outside git."""
    try:
        asked = ("git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
        return subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
