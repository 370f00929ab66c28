"""What is said of one set of generated scans: all rows of its column, each beside what real patients show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from benchmarks.realism import halving, plans, report, shape
from benchmarks.realism.appearance import feature_names
from benchmarks.realism.classifying import Each, auc_names, classifier_rows
from benchmarks.realism.halving import Aim, Comparison, Scans
from benchmarks.realism.in_host import Pair, in_host_rows
from benchmarks.realism.yardsticks import Yardstick

Array = np.ndarray
MIN_LESIONS = 10  # a distribution of fewer says nothing
MIN_SCANS = 2
GROUPS = {
    "contrast": ("contrast", "cnr"),
    "texture": ("sd", "highpass", "highpass_ratio", "autocorrelation", "gradient_energy"),
    "edge": ("edge_gradient", "profile_-1", "profile_+0", "profile_+1"),
}
SIZE_NAMES = ("volume KS", "count KS", "load KS", "share under 50 mm3, difference")
SIZE_AIMS = {name: Aim(plans.AIMS.get(name)) for name in SIZE_NAMES}
PLACE_AIMS = {
    "location Jensen-Shannon": Aim(plans.AIMS["location Jensen-Shannon"]),
    "location r": Aim(plans.AIMS["location r"], at_least=True),
}
SHAPE_AIMS = {f"{name} KS": Aim(aim) for name, aim in report.AIMS.items()}


def distribution_rows(real: Scans, generated: Scans, splits: int, seed: int) -> list[Yardstick]:
    """Size, number, shape and place.

    Args:
        real: Scans of two patients or more.
        generated: Of one method.
        splits: Halvings of the patients, at most.
        seed: Of the halvings.
    """
    halves = halving.halves_of(real, splits, seed)
    comparisons = (
        Comparison(SIZE_AIMS, size_distances, lacks_scans),
        Comparison(SHAPE_AIMS, shape_distances, lacks_shapes),
        Comparison(PLACE_AIMS, place_distances, lacks_places),
    )
    return [row for comparison in comparisons for row in comparison.rows(generated, halves)]


def size_distances(a: Scans, b: Scans) -> dict[str, float]:
    """See `plans.size_distances`."""
    return plans.size_distances(_lesions(a), _lesions(b))


def place_distances(a: Scans, b: Scans) -> dict[str, float]:
    """See `plans.place_distances`."""
    return plans.place_distances(_lesions(a), _lesions(b))


def shape_distances(a: Scans, b: Scans) -> dict[str, float]:
    """KS at equal volume."""
    found = shape.shape_distances(pooled_shapes(a), pooled_shapes(b))
    return {f"{name} KS": found[name] for name in report.AIMS}


def pooled_shapes(scans: Scans) -> dict[str, Array]:
    """Shapes of the lesions of all scans."""
    return {name: np.concatenate([scan.shapes[name] for scan in scans]) for name in shape.SHAPE_FEATURES}


def appearance_distances(columns: Mapping[str, int], a: Scans, b: Scans) -> dict[str, float]:
    """KS of features at equal volume."""
    one, other = (np.concatenate([scan.features for scan in side]) for side in (a, b))
    weights = shape.volume_weights(np.exp(one[:, -1]), np.exp(other[:, -1]))
    return {name: shape.ks_distance(one[:, k], other[:, k], *weights) for name, k in columns.items()}


def lacks_scans(scans: Scans) -> str:
    """See `halving.Lack`."""
    lesions = sum(len(scan.volumes_mm3) for scan in scans)
    if len(scans) < MIN_SCANS or lesions < MIN_LESIONS:
        return f"not enough, {len(scans)} scans with {lesions} lesions"
    return ""


def lacks_shapes(scans: Scans) -> str:
    """See `halving.Lack`."""
    return _too_few(sum(len(scan.shapes["volume_mm3"]) for scan in scans), "with a shape")


def lacks_places(scans: Scans) -> str:
    """See `halving.Lack`."""
    lost = [scan.subject for scan in scans if scan.points_mm is None]
    if lost:
        return f"no brain, or no orientation in the header, of {', '.join(lost[:3])}"
    return _too_few(sum(len(scan.volumes_mm3) for scan in scans), "with a place")


def lacks_features(scans: Scans) -> str:
    """See `halving.Lack`."""
    bare = [scan.subject for scan in scans if scan.features is None]
    if bare:
        return f"no images, or no brain, of {', '.join(bare[:3])}"
    return _too_few(sum(len(scan.features) for scan in scans), "of 10 voxels to 1500 mm3")


def _too_few(count: int, which: str) -> str:
    return f"not enough, {count} lesions {which}" if count < MIN_LESIONS else ""


def tissue_rows(
    real: Scans,
    generated: Scans,
    channels: Sequence[str],
    *,
    paired: bool,
    splits: int,
    seed: int,
    each: Each = map,
) -> list[Yardstick]:
    """Contrast, texture, edge, and what classifiers make of all features together.

    Args:
        real: Scans of two patients or more.
        generated: Of one method.
        channels: Measured; none where not all scans have one.
        paired: Whether each generated scan was made from one of the real ones.
        splits: Halvings of the patients, at most.
        seed: Of all that is drawn.
        each: Maps a function over jobs, perhaps in other processes.
    """
    if not channels:
        return [Yardstick("appearance", None, note="no channel that all scans have")]
    if lacking := lacks_features(real) or lacks_features(generated):
        names = [*auc_names(channels, paired=paired), *appearance_columns(channels)]
        return [Yardstick(name, None, note=lacking) for name in names]
    if not paired:
        rows = classifier_rows(real, generated, channels, paired=False, seed=seed, each=each)
        return [*rows, *appearance_rows(real, generated, channels, splits, seed)]
    hosts = {scan.host for scan in generated}
    theirs = [scan for scan in real if scan.subject in hosts]
    rows = classifier_rows(theirs, generated, channels, paired=True, seed=seed, each=each)
    return [*rows, *in_host_rows(host_pairs(theirs, generated), appearance_columns(channels), seed)]


def host_pairs(hosts: Scans, generated: Scans) -> list[Pair]:
    """Features of a host's real lesions, and of those that were put into it, in all its variants."""
    found = []
    for host in hosts:
        made = [scan.features for scan in generated if scan.host == host.subject]
        found.append((host.features, np.concatenate(made)))
    return found


def appearance_rows(real: Scans, generated: Scans, channels: Sequence[str], splits: int, seed: int) -> list[Yardstick]:
    """Contrast, texture and edge where hosts differ, which bad lesions pass too; the aim is what real ones show."""
    columns = appearance_columns(channels)
    aims = {name: Aim(0.0) for name in columns}
    comparison = Comparison(aims, partial(appearance_distances, columns), lacks_features)
    return comparison.rows(generated, halving.halves_of(real, splits, seed))


def appearance_columns(channels: Sequence[str]) -> dict[str, int]:
    """Name of a row, its group first, and the column of `scan_features` that it is about.

    Example:
        >>> list(appearance_columns(("flair",)))[:2]
        ['contrast: flair_contrast KS', 'contrast: flair_cnr KS']
    """
    return {
        f"{group}: {channel}_{name} KS": feature_names(channels).index(f"{channel}_{name}")
        for group, names in GROUPS.items()
        for channel in channels
        for name in names
    }


def _lesions(scans: Scans) -> plans.Lesions:
    points = tuple(np.zeros((0, 3)) if scan.points_mm is None else scan.points_mm for scan in scans)
    return plans.Lesions(tuple(scan.volumes_mm3 for scan in scans), points)
