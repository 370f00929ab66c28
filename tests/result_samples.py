"""Results of benchmarks, made up."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from benchmarks.result_files import write_result

ORIGIN = {
    "time": "2026-11-22T10:00:00Z",
    "hardware": {
        "cpu": "made up",
        "cores": 2,
        "cores_usable": 2,
        "load_average": [0.5, 0.5, 0.5],
        "memory_gb": 16.0,
        "system": "Linux x86_64",
        "gpus": [],
    },
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "commit": "a" * 40,
}


def timing(median_s: float, p90_s: float | None = None) -> dict[str, float]:
    return {
        "first_s": median_s,
        "median_s": median_s,
        "p90_s": p90_s or 1.05 * median_s,
        "cpu_s": median_s,
        "repeats": 5,
    }


def cache(total_s: float = 0.01, p90_s: float | None = None) -> dict[str, Any]:
    stages = {"total": timing(total_s, p90_s), "render": timing(3.0)}
    return {"stages": stages, "size": {"variant_bytes": 5000.0, "scan_bytes": 6e7}}


def baselines(default_s: float = 3.0) -> dict[str, Any]:
    seconds = {"CarveMix": default_s / 3, "lesionaug default": default_s}
    rows = [
        {
            "method": method,
            "scan_s": scan_s,
            "p90_s": 1.1 * scan_s,
            "cpu_s": scan_s,
            "lesions": None if method == "CarveMix" else 10,
            "how": "measured",
            "times_ours": scan_s / default_s,
        }
        for method, scan_s in seconds.items()
    ]
    return {"rows": rows}


CONFIGS = {
    "cache": {"lesions": 10, "model": "default", "variants": 2},
    "baselines": {"lesions": 10, "threads": 1},
    "realism held": {"lefusion": None, "held": ["a"]},
}


def write_sample(
    path: Path,
    benchmark: str,
    found: dict[str, Any],
    config: dict[str, Any] | None = None,
    hardware: dict[str, Any] | None = None,
    **origin: Any,
) -> Path:
    """A result file; what is given differs from the others'."""
    come_from = {**deepcopy(ORIGIN), **origin}
    come_from["hardware"] |= hardware or {}
    write_result(path, benchmark, CONFIGS[benchmark] | (config or {}), come_from, found)
    return path
