"""What a server has done, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(status: Mapping[str, Any]) -> str:
    """A few lines out of `ServedRenderer.status`.

    Args:
        status: As a server sent it.
    """
    sizes = {int(size): number for size, number in status["batch_sizes"].items()}
    batches = sum(sizes.values())
    mean = sum(size * number for size, number in sizes.items()) / max(batches, 1)
    memory = status["gpu_memory_gb"]
    lines = {
        "process": f"{status['pid']}, up {status['up_s']:.0f} s, {status['connections']} connections",
        "requests": ", ".join(f"{status[name]} {name}" for name in ("requests", "answered", "failed", "abandoned")),
        "lesions": f"{status['lesions']} in {batches} batches of {mean:.1f} on average, {status['waiting']} waiting",
        "batch sizes": ", ".join(f"{number} x {size}" for size, number in sorted(sizes.items())) or "none yet",
        "queue": _milliseconds(status["queue_s"]),
        "latency": _milliseconds(status["latency_s"]),
        "GPU memory": "no GPU" if memory is None else f"{memory:.2f} GB",
    }
    return "\n".join(f"{name:<12}{text}" for name, text in lines.items())


def _milliseconds(percentiles: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in percentiles.items()) or "none yet"
