"""Lesions drawn several times each, and how far one sampler's are from another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import wasserstein_distance
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.realism.twosample import FOLDS, auc

Array = np.ndarray
BOOTSTRAPS = 200
REPEATS = 2
MAX_VALUES = 400  # per lesion and channel; more only cost time


@dataclass(frozen=True)
class Lesion:
    """Measures of one lesion, drawn once per seed.

    Args:
        features: What the classifier sees.
        values: What the network made of each voxel.
        errors: How far each draw is from what was asked for, by what it was.
        profiles: From inside to outside over the border, by channel.
    """

    features: Float[Array, "seeds features"]
    values: Float[Array, "seeds channels voxels"]
    errors: Mapping[str, Float[Array, " seeds"]] = field(default_factory=dict)
    profiles: Mapping[str, Float[Array, "seeds distances"]] = field(default_factory=dict)

    def only(self, seeds: slice) -> Lesion:
        """With some of the draws."""
        return Lesion(
            self.features[seeds],
            self.values[seeds],
            {name: values[seeds] for name, values in self.errors.items()},
            {name: values[seeds] for name, values in self.profiles.items()},
        )

    @property
    def variance(self) -> float:
        """Of a voxel across seeds, mean over voxels and channels."""
        return float(self.values.var(axis=0, ddof=1).mean()) if len(self.values) > 1 else np.nan


@dataclass(frozen=True)
class Draws:
    """The same lesions in the same order, from one sampler."""

    lesions: tuple[Lesion, ...]

    def only(self, seeds: slice) -> Draws:
        """With some of the draws of each."""
        return Draws(tuple(lesion.only(seeds) for lesion in self.lesions))

    @property
    def features(self) -> Float[Array, "draws features"]:
        """Of all draws of all lesions."""
        return np.concatenate([lesion.features for lesion in self.lesions])

    @property
    def groups(self) -> Int[Array, " draws"]:
        """Which lesion each draw is of."""
        return np.repeat(np.arange(len(self.lesions)), [len(lesion.features) for lesion in self.lesions])


@dataclass(frozen=True)
class Distance:
    """How far draws are from a reference's draws of the same lesions.

    Args:
        errors: Mean distance from what was asked for; needs no reference.
        histogram: Wasserstein-1 distance of the values of a draw and of a reference draw of the same lesion, mean over
            pairs and lesions; two draws of the reference are apart, too (`floor`).
        edge: Root mean square over the border's distances of the mean difference, by channel.
        variance_ratio: Variance across seeds over that of the reference; none where lesions were drawn once.
        variance_se: Its standard error over lesions.
        logreg: Area under the curve of a logistic regression that tells draws from reference draws, out of folds; no
            lesion is on both sides.
        logreg_se: Its standard error over lesions.
        forest: Likewise of a random forest.
        forest_se: Likewise.
    """

    errors: dict[str, float]
    histogram: float
    edge: dict[str, float]
    variance_ratio: float | None
    variance_se: float | None
    logreg: float
    logreg_se: float
    forest: float
    forest_se: float

    @property
    def worst_auc(self) -> tuple[float, float]:
        """Of the better classifier, with its standard error; below one half counts as one half."""
        value, error = max((self.logreg, self.logreg_se), (self.forest, self.forest_se))
        return max(value, 0.5), error


def distance(draws: Draws, reference: Draws, seed: int = 0) -> Distance:
    """Compare two sets of draws of the same lesions."""
    ratio, ratio_se = variance_ratio(draws, reference, seed)
    return Distance(
        errors=mean_errors(draws),
        histogram=histogram_distance(draws, reference),
        edge=_edges(draws, reference),
        variance_ratio=ratio,
        variance_se=ratio_se,
        **paired_auc(draws, reference, seed),
    )


def mean_errors(draws: Draws) -> dict[str, float]:
    """Over seeds and lesions."""
    names = draws.lesions[0].errors
    return {name: float(np.mean([lesion.errors[name].mean() for lesion in draws.lesions])) for name in names}


def histogram_distance(draws: Draws, reference: Draws) -> float:
    """See `Distance`."""
    return float(np.mean([_wasserstein(a, b) for a, b in zip(draws.lesions, reference.lesions, strict=True)]))


def _wasserstein(a: Lesion, b: Lesion) -> float:
    pairs = product(_thinned(a.values), _thinned(b.values))
    return float(np.mean([wasserstein_distance(x, y) for one, other in pairs for x, y in zip(one, other, strict=True)]))


def _thinned(values: Array) -> Array:
    return values[..., :: -(-values.shape[-1] // MAX_VALUES)]


def _edges(draws: Draws, reference: Draws) -> dict[str, float]:
    found = {}
    for name in draws.lesions[0].profiles:
        a, b = (
            np.mean([lesion.profiles[name].mean(axis=0) for lesion in side.lesions], axis=0)
            for side in (
                draws,
                reference,
            )
        )
        found[name] = float(np.sqrt(((a - b) ** 2).mean()))
    return found


def variance_ratio(draws: Draws, reference: Draws, seed: int = 0) -> tuple[float | None, float | None]:
    """Variance across seeds over that of the reference, and its bootstrap standard error over lesions."""
    ours, theirs = (np.array([lesion.variance for lesion in side.lesions]) for side in (draws, reference))
    if np.isnan(ours).any() or np.isnan(theirs).any():
        return None, None
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(ours), size=(BOOTSTRAPS, len(ours)))
    return float(ours.sum() / theirs.sum()), float(np.std(ours[drawn].sum(axis=1) / theirs[drawn].sum(axis=1)))


def paired_auc(draws: Draws, reference: Draws, seed: int = 0) -> dict[str, float]:
    """Can classifiers tell draws from the reference's, on lesions that they did not see?

    Raises:
        ValueError: Fewer lesions than folds.
    """
    if len(draws.lesions) < FOLDS:
        raise ValueError(f"Expected {FOLDS} lesions or more, got {len(draws.lesions)}; ask for more")
    features = np.concatenate([reference.features, draws.features])
    positive = np.arange(len(features)) >= len(reference.features)
    groups = np.concatenate([reference.groups, draws.groups])
    models = {
        "logreg": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
        "forest": RandomForestClassifier(60, min_samples_leaf=2, random_state=seed, n_jobs=1),
    }
    found = {}
    for name, model in models.items():
        scores = [_out_of_fold(model, features, positive, groups, seed + repeat) for repeat in range(REPEATS)]
        found[name] = float(np.mean([auc(score, positive) for score in scores]))
        found[f"{name}_se"] = _standard_error(np.mean(scores, axis=0), positive, groups, seed)
    return found


def _out_of_fold(model, features: Array, positive: Bool[Array, " n"], groups: Int[Array, " n"], seed: int) -> Array:
    folds = np.random.default_rng(seed).permutation(groups.max() + 1) % FOLDS
    scores = np.zeros(len(features))
    for fold in range(FOLDS):
        test = folds[groups] == fold
        scores[test] = model.fit(features[~test], positive[~test]).predict_proba(features[test])[:, 1]
    return scores


def _standard_error(scores: Array, positive: Array, groups: Array, seed: int) -> float:
    """Over lesions: the draws of one are no independent evidence."""
    rng, count = np.random.default_rng(seed), groups.max() + 1
    members = [np.flatnonzero(groups == group) for group in range(count)]
    drawn = (np.concatenate([members[g] for g in rng.integers(count, size=count)]) for _ in range(BOOTSTRAPS))
    return float(np.std([auc(scores[index], positive[index]) for index in drawn]))
