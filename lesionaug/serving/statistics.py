"""What a server has done, in numbers."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import torch

REMEMBERED = 2000
"""Requests whose times count for percentiles: the last ones."""


class Statistics:
    """Counted by many threads.

    Args:
        device: Of the models, for the memory they take; None where it is not known.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._started_s = time.monotonic()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._batch_sizes: Counter[int] = Counter()
        self._queue_s: deque[float] = deque(maxlen=REMEMBERED)
        self._latency_s: deque[float] = deque(maxlen=REMEMBERED)

    def count(self, what: str, number: int = 1) -> None:
        """`requests`, `answered`, `failed`, `abandoned`, `lesions`, `connections` or `refused`."""
        with self._lock:
            self._counts[what] += number

    def batch(self, queue_s: Sequence[float]) -> None:
        """A batch goes, and its lesions have waited for these times."""
        with self._lock:
            self._batch_sizes[len(queue_s)] += 1
            self._counts["lesions"] += len(queue_s)
            self._queue_s.extend(queue_s)

    def latency(self, seconds: float) -> None:
        """A request was answered after this time."""
        with self._lock:
            self._counts["answered"] += 1
            self._latency_s.append(seconds)

    def batches(self) -> int:
        """How many went."""
        with self._lock:
            return self._batch_sizes.total()

    def snapshot(self) -> dict[str, Any]:
        """All of it, as plain data."""
        with self._lock:
            return {
                "pid": os.getpid(),
                "up_s": time.monotonic() - self._started_s,
                **{
                    name: self._counts[name]
                    for name in ("requests", "answered", "failed", "abandoned", "refused", "lesions", "connections")
                },
                "batch_sizes": {str(size): number for size, number in sorted(self._batch_sizes.items())},
                "queue_s": percentiles(self._queue_s),
                "latency_s": percentiles(self._latency_s),
                "gpu_memory_gb": _gpu_memory_gb(self._device),
            }


def percentiles(values: Sequence[float] | deque[float]) -> dict[str, float]:
    """Median, 90th and 99th percentile and maximum; empty where there are no values.

    Example:
        >>> percentiles([3.0, 1.0, 2.0])
        {'p50': 2.0, 'p90': 3.0, 'p99': 3.0, 'max': 3.0}
    """
    ranked = sorted(values)
    if not ranked:
        return {}
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: ranked[math.ceil(share * len(ranked)) - 1] for name, share in shares.items()}


def _gpu_memory_gb(device: str | None) -> float | None:
    """Memory that torch holds on a GPU, in 1e9 bytes."""
    if device is None or torch.device(device).type != "cuda":
        return None
    return torch.cuda.memory_reserved(device) / 1e9
