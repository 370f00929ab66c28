"""Can a classifier tell them: in the host where scans were made from real ones at hand, and across patients.

In the host everything but the lesion is the same. One classifier for all hosts misses what is too smooth in one and
too rough in another, as lesions pasted from scanner to scanner are; one for each host (`each host`) does not.

Across patients who have either real or synthetic lesions the hosts differ too, and scanners and brains are told apart
as well as lesions are; what real patients show of that is the floor. A method that pastes the lesions of one patient
into another one's scan falls below 0.5 there: the classifier has met the tested patient's real lesions as synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from benchmarks.realism.appearance import feature_names
from benchmarks.realism.halving import Scans, halves_of
from benchmarks.realism.report import MAX_AUC
from benchmarks.realism.shape import volume_bins
from benchmarks.realism.twosample import TwoSample, in_host_auc, patient_wise_auc
from benchmarks.realism.yardsticks import Yardstick, middle_and_worst

Array = np.ndarray
MIN_LESIONS = 10  # on each side, of equal volumes
NULLS = 10  # divisions of real lesions, to say what real against real looks like
MOST_HOSTS = 6  # looked at one by one, those with most lesions
HOSTS_DIFFER = "WARNING: hosts differ, and are told apart as well as lesions are"
REVERSED = "below chance: lesions of some patients are in the scans of others, as if pasted"
CLASSIFIERS = (("logreg", "logistic"), ("forest", "forest"))


@dataclass(frozen=True)
class Group:
    """Lesions on one side of a test.

    Args:
        features: A row for each lesion, log volume last.
        hosts: Scan that each lies in.
        patients: Whose that is.
    """

    features: Float[Array, "n features"]
    hosts: Shaped[Array, " n"]
    patients: Shaped[Array, " n"]

    @classmethod
    def of(cls, scans: Scans) -> Group:
        """All lesions of scans that have features."""
        return cls(
            np.concatenate([scan.features for scan in scans]),
            np.concatenate([np.full(len(scan.features), scan.host) for scan in scans]),
            np.concatenate([np.full(len(scan.features), scan.patient) for scan in scans]),
        )

    def __len__(self) -> int:
        return len(self.features)

    def where(self, chosen: Shaped[Array, " m"]) -> Group:
        """Some of them, by mask or index."""
        return Group(self.features[chosen], self.hosts[chosen], self.patients[chosen])

    def columns(self, chosen: Sequence[int]) -> Group:
        """With some of their features."""
        return Group(self.features[:, chosen], self.hosts, self.patients)


Sides = tuple[Group, Group]
Each = Callable[[Callable, Sequence], Iterable]


@dataclass(frozen=True)
class Test:
    """A classifier two-sample test.

    Args:
        name: In the names of its rows.
        run: On features and places of both sides, given a seed, repeats and trees.
        aim: For its AUC.
    """

    name: str
    run: Callable[[Group, Group, int, int, int], TwoSample]
    aim: float | None


def _in_host(real: Group, other: Group, seed: int, repeats: int, trees: int) -> TwoSample:
    return in_host_auc(real.features, other.features, real.hosts, other.hosts, repeats, trees, seed)


def _patient_wise(real: Group, other: Group, seed: int, repeats: int, trees: int) -> TwoSample:
    return patient_wise_auc(real.features, other.features, real.patients, other.patients, repeats, trees, seed)


def _each_host(real: Group, other: Group, seed: int, repeats: int, trees: int) -> TwoSample:
    """Mean over hosts: a classifier of its own for each, which need not be right in the others."""
    found = [
        _in_host(real.where(real.hosts == host), other.where(other.hosts == host), seed, 1, trees)
        for host in hosts_with_enough(real, other)
    ]
    values = {name: float(np.mean([getattr(one, name) for one in found])) for name in ("logreg", "forest")}
    errors = {
        f"{name}_se": float(np.sqrt(np.sum([getattr(one, f"{name}_se") ** 2 for one in found])) / len(found))
        for name in values
    }
    return TwoSample(**values, **errors, real=sum(o.real for o in found), synthetic=sum(o.synthetic for o in found))


def hosts_with_enough(real: Group, other: Group) -> list[str]:
    """Hosts with enough lesions on both sides, those with most of them."""
    counts = {host: min((side.hosts == host).sum() for side in (real, other)) for host in np.unique(real.hosts)}
    enough = [str(host) for host, count in counts.items() if count >= MIN_LESIONS]
    return sorted(enough, key=lambda host: -counts[host])[:MOST_HOSTS]


IN_HOST = Test("in host", _in_host, MAX_AUC)
EACH_HOST = Test("each host", _each_host, None)
PATIENT_WISE = Test("patient-wise", _patient_wise, None)


def classifier_rows(
    real: Scans, generated: Scans, channels: Sequence[str], *, paired: bool, seed: int, each: Each = map
) -> list[Yardstick]:
    """AUC by the first channel, and by all.

    Args:
        real: Scans that the generated ones were made from; where that is not known, of others.
        generated: Of one method.
        channels: Measured.
        paired: Whether each generated scan was made from one of the real ones.
        seed: Of all that is drawn.
        each: Maps a function over jobs, perhaps in other processes.
    """
    rng = np.random.default_rng(seed)
    sides = matched(Group.of(real), Group.of(generated), rng, by_host=paired)
    nulls = [_halved(real, rng, paired) for _ in range(NULLS)]
    jobs = []
    for test in tests_of(paired=paired):
        for some in channel_sets(channels):
            columns = [feature_names(channels).index(name) for name in feature_names(some)]
            cut = [tuple(side.columns(columns) for side in pair) for pair in (sides, *nulls)]
            jobs.append(Job(test, "+".join(some), cut[0], cut[1:], "" if paired else HOSTS_DIFFER, seed))
    return [row for rows in each(rows_of, jobs) for row in rows]


def tests_of(*, paired: bool) -> tuple[Test, ...]:
    """Those that can be made: in the host only where the real lesions of the same scan are at hand."""
    return (IN_HOST, EACH_HOST, PATIENT_WISE) if paired else (PATIENT_WISE,)


def channel_sets(channels: Sequence[str]) -> list[tuple[str, ...]]:
    """The first channel by itself, and all."""
    return list(dict.fromkeys([tuple(channels[:1]), tuple(channels)]))


def auc_names(channels: Sequence[str], *, paired: bool) -> list[str]:
    """Names of the rows."""
    pairs = [(test, some) for test in tests_of(paired=paired) for some in channel_sets(channels)]
    return [_name(test, "+".join(some), label) for test, some in pairs for _, label in CLASSIFIERS]


def matched(real: Group, other: Group, rng: np.random.Generator, *, by_host: bool) -> Sides:
    """As many lesions of each volume on either side; those that are too many are left out at random.

    Args:
        real: One side.
        other: The other.
        rng: Draws who stays.
        by_host: Whether numbers are to be equal within each scan.
    """
    strata = [_strata(side, by_host) for side in (real, other)]
    kept: tuple[list[Array], list[Array]] = ([], [])
    for stratum in np.intersect1d(*strata):
        inside = [np.flatnonzero(names == stratum) for names in strata]
        count = min(map(len, inside))
        for side, members in zip(kept, inside, strict=True):
            side.append(rng.permutation(members)[:count])
    chosen = [np.concatenate(side) if side else np.zeros(0, int) for side in kept]
    return real.where(chosen[0]), other.where(chosen[1])


def _strata(group: Group, by_host: bool) -> Array:
    bins = volume_bins(np.exp(group.features[:, -1]))
    return np.array([f"{host if by_host else ''}/{level}" for host, level in zip(group.hosts, bins, strict=True)], str)


def _halved(real: Scans, rng: np.random.Generator, paired: bool) -> Sides:
    """Real lesions against real ones: of the same scans, or of other patients."""
    if paired:
        everyone = Group.of(real)
        order = rng.permutation(len(everyone))
        return everyone.where(order[: len(order) // 2]), everyone.where(order[len(order) // 2 :])
    ((one, other),) = halves_of(real, 1, int(rng.integers(2**31)))
    return matched(Group.of(one), Group.of(other), rng, by_host=False)


@dataclass(frozen=True)
class Job:
    """A test to be made, and what real lesions show of it.

    Args:
        test: Which.
        channels: In the names of its rows.
        sides: Real and generated lesions of equal volumes.
        nulls: Real and real ones, again and again.
        note: Said of the rows.
        seed: Of the classifiers.
    """

    test: Test
    channels: str
    sides: Sides
    nulls: Sequence[Sides]
    note: str
    seed: int


def rows_of(job: Job) -> list[Yardstick]:
    """A row for each classifier."""
    test = job.test
    names = [_name(test, job.channels, label) for _, label in CLASSIFIERS]
    if reason := _too_few(test, job.sides):
        return [Yardstick(name, None, test.aim, note=reason) for name in names]
    found = test.run(*job.sides, job.seed, 3, 100)
    nulls = [test.run(*pair, job.seed, 1, 30) for pair in job.nulls if not _too_few(test, pair)]
    return [_row(job, kind, name, found, nulls) for (kind, _), name in zip(CLASSIFIERS, names, strict=True)]


def _row(job: Job, kind: str, name: str, found: TwoSample, nulls: Sequence[TwoSample]) -> Yardstick:
    value, error = getattr(found, kind), getattr(found, f"{kind}_se")
    real = middle_and_worst([getattr(null, kind) for null in nulls]) if nulls else {}
    counts = f"{found.real} real + {found.synthetic} synthetic of equal volumes; real: {len(nulls)} divisions"
    hosts = f"mean of {', '.join(hosts_with_enough(*job.sides))}" if job.test == EACH_HOST else ""
    note = "; ".join(filter(None, (job.note, counts, hosts, REVERSED if value + 3 * error < 0.5 else "")))
    return Yardstick(name, value, job.test.aim, **real, error=error, note=note)


def _too_few(test: Test, sides: Sides) -> str:
    lesions, patients = [len(side) for side in sides], [len(set(side.patients)) for side in sides]
    if min(lesions) < MIN_LESIONS:
        return f"not enough, {lesions[0]} real and {lesions[1]} other lesions of equal volumes"
    if test == EACH_HOST and not hosts_with_enough(*sides):
        return f"not enough, no host with {MIN_LESIONS} lesions on each side"
    if test == PATIENT_WISE and min(patients) < 2:
        return f"not enough, {patients[0]} patients with real and {patients[1]} with other lesions"
    return ""


def _name(test: Test, channels: str, label: str) -> str:
    return f"AUC {channels}, {label}, {test.name}"
