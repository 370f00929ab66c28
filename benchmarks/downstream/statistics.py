"""Is an arm better than another, and how sure is that?

Always paired: the same patients trained on, the same tested, the same seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from lesionaug.errors import LesionAugError

Array = np.ndarray
RESAMPLES = 4000
GAIN = 0.02
"""Two points of Dice: what a study should be able to see."""
FEW = 3
"""Draws; with fewer, nothing is known of how much trainings vary, and no interval is given."""
POWER, ALPHA = 0.8, 0.05


@dataclass(frozen=True)
class Differences:
    """One arm minus another.

    Args:
        values: For each draw of training patients, seed by test patient.
        patients: Tested, by name.
        folds: In which they are tested, each by networks of its own.
    """

    values: tuple[Float[Array, "seeds patients"], ...]
    patients: tuple[str, ...]
    folds: int = 1

    @property
    def by_patient(self) -> Float[Array, " patients"]:
        """Mean over draws and seeds."""
        return np.mean([draw.mean(axis=0) for draw in self.values], axis=0)

    @property
    def runs(self) -> int:
        """Pairs of networks per fold."""
        return sum(len(draw) for draw in self.values)

    @property
    def independent(self) -> int:
        """How many times something was drawn anew: training patients, or test patients if these are fewer.

        Other seeds of one draw repeat its training patients, so they do not count.
        """
        return min(len(self.values) * self.folds, len(self.patients))


@dataclass(frozen=True)
class Certainty:
    """How well a mean is known, and what a study like this could see.

    Args:
        low: Lower end of the interval, 95 %.
        high: Upper end.
        freedom: Degrees of freedom of its Student's t.
        detectable: Difference that is found with a probability of 80 %.
        power: Probability that a difference of `GAIN` is found.
    """

    low: float
    high: float
    freedom: float
    detectable: float
    power: float

    @classmethod
    def of(cls, mean: float, error: float, freedom: float) -> Certainty:
        """From the standard error of a mean."""
        half = error * float(stats.t.ppf(1 - ALPHA / 2, freedom))
        return cls(mean - half, mean + half, freedom, detectable(error, freedom), power(GAIN, error, freedom))


@dataclass(frozen=True)
class Comparison:
    """What can be said of a difference.

    Args:
        mean: Over patients, draws and seeds.
        p: Of Wilcoxon's signed-rank test over patients, not yet corrected.
        wins: Patients for whom the difference is above 0.
        patients: Tested.
        runs: Pairs of networks per fold.
        independent: Draws of training patients, see `Differences`.
        any_draws: For training patients as these, drawn anew; none where fewer than `FEW` draws say nothing of how much
            trainings vary.
        draws_needed: Draws that would find a difference of `GAIN` with a probability of 80 %, if they and as many more
            test patients vary as these do.
        these_draws: For these very training patients, trained on with other seeds; none where no draw has two seeds.
    """

    mean: float
    p: float
    wins: int
    patients: int
    runs: int
    independent: int
    any_draws: Certainty | None
    draws_needed: int | None
    these_draws: Certainty | None


def differences(records: Sequence[dict[str, Any]], arm: str, against: str, patients: int, metric: str) -> Differences:
    """Pairs of runs that both arms have, complete over all folds.

    Args:
        records: Of `runs.read_results`.
        arm: Whose gain.
        against: Over whom.
        patients: Trained on.
        metric: From `scores.METRICS`.

    Raises:
        LesionAugError: No pair is complete.
    """
    ours, theirs = (tables(records, name, patients, metric) for name in (arm, against))
    tested = sorted(set().union(*(row for row in (*ours.values(), *theirs.values()))))
    both = [key for key in sorted(ours) if key in theirs and len(ours[key]) == len(theirs[key]) == len(tested)]
    folds = {record["run"]["fold"] for record in records if record["run"]["patients"] == patients}
    if not both:
        raise LesionAugError(
            f"Expected runs of {arm} and {against} with {patients} patients and the same draw and seed, got none; "
            "run more of the study"
        )
    rows = {key: np.array([ours[key][name] - theirs[key][name] for name in tested]) for key in both}
    draws = sorted({draw for draw, _ in both})
    values = tuple(np.stack([row for key, row in rows.items() if key[0] == draw]) for draw in draws)
    return Differences(values, tuple(tested), len(folds))


def tables(
    records: Sequence[dict[str, Any]], arm: str, patients: int, metric: str
) -> dict[tuple[int, int], dict[str, float]]:
    """For each draw and seed, the mean of a metric over the scans of each test patient."""
    found: dict[tuple[int, int], dict[str, list[float]]] = {}
    for record in records:
        run = record["run"]
        if run["arm"] == arm and run["patients"] == patients:
            row = found.setdefault((run["draw"], run["seed"]), {})
            for case in record["cases"].values():
                row.setdefault(case["patient"], []).append(case[metric])
    return {key: {name: float(np.mean(x)) for name, x in row.items()} for key, row in found.items()}


def compare(found: Differences, seed: int = 0) -> Comparison:
    """Mean, intervals, test and power."""
    by_patient = found.by_patient
    mean = float(by_patient.mean())
    error = standard_error(found, seed) if found.independent >= FEW else None
    return Comparison(
        mean=mean,
        p=signed_rank(by_patient),
        wins=int((by_patient > 0).sum()),
        patients=len(by_patient),
        runs=found.runs,
        independent=found.independent,
        any_draws=None if error is None else Certainty.of(mean, error, found.independent - 1),
        draws_needed=None if error is None else draws_needed(error, found.independent),
        these_draws=_for_these_draws(found, mean),
    )


def _for_these_draws(found: Differences, mean: float) -> Certainty | None:
    """Draws stay; test patients and seeds vary, whose variances add up.

    Reference:
        Satterthwaite 1946, Biometrics Bulletin 2 (degrees of freedom of a sum of variances).
    """
    runs = [draw.mean(axis=1) for draw in found.values]
    seeds = sum(len(run) - 1 for run in runs)
    if not seeds or len(found.patients) < FEW:
        return None
    between_seeds = sum(((run - run.mean()) ** 2).sum() for run in runs) / seeds
    of_seeds = between_seeds * sum(1 / len(run) for run in runs) / len(runs) ** 2
    of_patients = found.by_patient.var(ddof=1) / len(found.patients)
    variance = of_seeds + of_patients
    spread = of_seeds**2 / seeds + of_patients**2 / (len(found.patients) - 1)
    return Certainty.of(mean, float(np.sqrt(variance)), float(variance**2 / spread) if spread else float(seeds))


def standard_error(found: Differences, seed: int = 0) -> float:
    """Of the mean, from the bootstrap, which of k draws shows the spread of k - 1."""
    return float(bootstrap_means(found, seed).std()) * float(np.sqrt(found.independent / (found.independent - 1)))


def bootstrap_means(found: Differences, seed: int = 0, resamples: int = RESAMPLES) -> Float[Array, " resamples"]:
    """Means of the differences with other patients, other draws, and within draws other seeds.

    Reference:
        Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1 (patients and runs are crossed).
    """
    rng = np.random.default_rng(seed)
    draws, patients = len(found.values), len(found.patients)
    times = rng.multinomial(draws, np.full(draws, 1 / draws), resamples).T
    rows = np.zeros((resamples, patients))
    for chosen, values in zip(times, found.values, strict=True):
        seeds = len(values)
        # A draw that is chosen m times has its seeds drawn anew m times.
        rows += rng.multinomial(chosen * seeds, np.full(seeds, 1 / seeds)) @ values / seeds
    weights = rng.multinomial(patients, np.full(patients, 1 / patients), resamples)
    return (weights * rows).sum(axis=1) / (draws * patients)


def signed_rank(values: Float[Array, " patients"]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 where nothing differs."""
    return float(stats.wilcoxon(values).pvalue) if np.any(values) else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any false finding among these tests stays below the level.

    Reference:
        Holm 1979, Scandinavian Journal of Statistics 6.

    Example:
        >>> [round(x, 3) for x in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    scaled = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted[np.argsort(order)].tolist()


def detectable(error: float, freedom: float) -> float:
    """Difference that is found with probability `POWER` at level `ALPHA`.

    Args:
        error: Standard error of the difference.
        freedom: Degrees of freedom of that.
    """
    t = stats.t(freedom)
    return float(t.ppf(1 - ALPHA / 2) + t.ppf(POWER)) * error


def power(difference: float, error: float, freedom: float) -> float:
    """Probability that a difference is found at level `ALPHA`; arguments as those of `detectable`."""
    t = stats.t(freedom)
    return float(t.sf(t.ppf(1 - ALPHA / 2) - difference / error)) if error else 1.0


def draws_needed(error: float, independent: int) -> int:
    """Draws with which a difference of `GAIN` is `detectable`.

    Args:
        error: Standard error of the difference from fewer, or more, of them.
        independent: How many these were.
    """
    # Student's t asks for a little more than the normal distribution, which has no loop.
    normal = error / GAIN * (stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER))
    count = max(FEW, int(independent * normal**2))
    while detectable(error * float(np.sqrt(independent / count)), count - 1) > GAIN:
        count += 1
    return count
