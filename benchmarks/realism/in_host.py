"""Features of real and synthetic lesions of the same scan: how far apart, and how far by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from benchmarks.realism.shape import ks_distance, volume_weights
from benchmarks.realism.yardsticks import Yardstick, middle_and_worst

Array = np.ndarray
SHUFFLES = 100

Pair = tuple[Float[Array, "n features"], Float[Array, "m features"]]
"""Real and synthetic lesions of a host; log volume is the last feature."""


def in_host_rows(pairs: Sequence[Pair], columns: Mapping[str, int], seed: int) -> Iterator[Yardstick]:
    """KS at equal volume within each host, mean over hosts; the floor is that of shuffled groups.

    Args:
        pairs: Of the hosts.
        columns: Name of a row, and which feature it is about.
        seed: Of the shuffling.
    """
    usable = [pair for pair in pairs if _overlap(pair)]
    if not usable:
        yield from (Yardstick(name, None, note="not enough, no volume that both groups have") for name in columns)
        return
    rng = np.random.default_rng(seed)
    found = _distances(usable, columns)
    shuffled = [_distances([_shuffled(pair, rng) for pair in usable], columns) for _ in range(SHUFFLES)]
    for name, column in columns.items():
        real = middle_and_worst([row[name] for row in shuffled])
        middle = (np.median(np.concatenate([side[:, column] for side in sides])) for sides in zip(*usable, strict=True))
        note = "in host, mean of {} hosts; medians {:.2f} real, {:.2f} synthetic".format(len(usable), *middle)
        yield Yardstick(name, found[name], round(real["worst_real"], 3), **real, note=note)


def _distances(pairs: Sequence[Pair], columns: Mapping[str, int]) -> dict[str, float]:
    """Of each feature, mean over hosts in which some volume is on both sides."""
    weighted = [(*pair, *volume_weights(*(np.exp(side[:, -1]) for side in pair))) for pair in pairs if _overlap(pair)]
    return {
        name: float(np.mean([ks_distance(a[:, k], b[:, k], u, v) for a, b, u, v in weighted]))
        for name, k in columns.items()
    }


def _overlap(pair: Pair) -> bool:
    a, b = (np.exp(side[:, -1]) for side in pair)
    return bool(len(a) and len(b) and volume_weights(a, b)[0].any())


def _shuffled(pair: Pair, rng: np.random.Generator) -> Pair:
    both = rng.permutation(np.concatenate(pair))
    return both[: len(pair[0])], both[len(pair[0]) :]
