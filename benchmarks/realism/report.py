"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.realism.appearance import feature_names
from benchmarks.realism.hosts import HostResult, pair_features
from benchmarks.realism.shape import shape_distances, shape_table
from benchmarks.realism.twosample import TwoSample, auc

Array = np.ndarray
MAX_AUC, MAX_COPIED, MAX_CLOSER = 0.75, 0.03, 0.60
"""Aims for the two-sample test in the host, shares of copies, and the share that is closer to what was seen."""
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


def shape_lines(masks: Sequence[Bool[Array, "i j k"]], reference: dict[str, Float[Array, " lesions"]]) -> list[str]:
    """KS of the masks' shape to reference lesions, at equal volume, and what as many real lesions would show.

    Args:
        masks: Single lesions.
        reference: `shape_table` of real lesions.
    """
    distances = shape_distances(shape_table(masks), reference)
    chance = by_chance(reference, len(masks))
    head = f"{'KS of ' + str(len(masks)) + ' masks':20s} {'KS':>6s} {'aim':>6s} {'chance, 95 %':>13s}"
    return [head, *(f"{name:20s} {distances[name]:6.3f} {aim:6.2f} {chance[name]:13.3f}" for name, aim in AIMS.items())]


def by_chance(reference: dict[str, Float[Array, " lesions"]], count: int, rounds: int = 100) -> dict[str, float]:
    """95th percentile of the distance of so many reference lesions, drawn at random, to all of them."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(reference["volume_mm3"]), size=count) for _ in range(rounds)]
    found = [shape_distances({k: v[index] for k, v in reference.items()}, reference) for index in drawn]
    return {name: float(np.percentile([row[name] for row in found], 95)) for name in found[0]}


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
