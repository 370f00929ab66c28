"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from benchmarks.realism.appearance import feature_names
from benchmarks.realism.hosts import HostResult, pair_features
from benchmarks.realism.shape import lesions_of, shape_distances, shape_table
from benchmarks.realism.twosample import TwoSample, auc

Array = np.ndarray
AIMS = {"sphericity": 0.11, "elongation": 0.12, "surface_to_volume": 0.13}


def telltales(
    results: Sequence[HostResult], channels: Sequence[str], count: int = 8
) -> list[tuple[str, float, float, float]]:
    """Features that alone tell synthetic from real best: name, AUC, real median, synthetic median."""
    real, synthetic = (
        np.concatenate(rows) for rows in zip(*(pair_features(r, channels) for r in results), strict=True)
    )
    is_synthetic = np.arange(len(real) + len(synthetic)) >= len(real)
    rows = [
        (name, auc(np.concatenate([a, b]), is_synthetic), float(np.median(a)), float(np.median(b)))
        for name, a, b in zip(feature_names(channels), real.T, synthetic.T, strict=True)
    ]
    return sorted(rows, key=lambda row: -abs(row[1] - 0.5))[:count]


def telltale_table(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """One line per feature."""
    head = f"{'feature':24s} {'AUC':>5s} {'real':>8s} {'synthetic':>10s}"
    return "\n".join([head, *(f"{name:24s} {a:5.2f} {r:8.2f} {s:10.2f}" for name, a, r, s in rows)])


def shape_table_lines(results: Sequence[HostResult], reference: dict[str, Float[Array, " lesions"]]) -> list[str]:
    """KS of the synthetic masks' shape to reference lesions, at equal volume.

    Args:
        results: Hosts with synthetic lesions.
        reference: `shape_table` of real lesions.
    """
    crops = [crop for result in results for crop in lesions_of(result.new_lesions)]
    distances = shape_distances(shape_table(crops), reference)
    return [f"KS {name:20s} {distances[name]:.3f} (aim {aim})" for name, aim in AIMS.items()]


def auc_lines(found: Mapping[str, Sequence[TwoSample]]) -> list[str]:
    """One line per maker: mean over seeds, standard error of one seed."""
    head = f"{'':34s} {'logreg':>12s} {'forest':>12s}   lesions"
    return [head, *(_auc_line(name, tests) for name, tests in found.items())]


def _auc_line(name: str, tests: Sequence[TwoSample]) -> str:
    values = {
        key: float(np.mean([getattr(test, key) for test in tests]))
        for key in ("logreg", "logreg_se", "forest", "forest_se")
    }
    return (
        f"{name:34s} {values['logreg']:.2f} ({values['logreg_se']:.2f}) "
        f"{values['forest']:6.2f} ({values['forest_se']:.2f})   {tests[0].real} + {tests[0].synthetic}"
    )
