"""Can a classifier tell synthetic lesions from real ones of the same scan? 0.5: no; 1: always.

Across scanners even two real patients are told apart, so both groups come from one host; several hosts are pooled with
the same ratio of real to synthetic lesions in each. `patient_wise_auc` asks more of the classifier and less of the
data: it is tested on patients whom it has not seen, which may have synthetic lesions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = np.ndarray
FOLDS = 5
BOOTSTRAPS = 200


@dataclass(frozen=True)
class TwoSample:
    """Area under the ROC curve out of folds, with its bootstrap standard error over lesions.

    Args:
        logreg: Logistic regression.
        forest: Random forest.
        logreg_se: Standard error of the first.
        forest_se: And of the second.
        real: Number of real lesions.
        synthetic: Number of synthetic ones.
    """

    logreg: float
    forest: float
    logreg_se: float
    forest_se: float
    real: int
    synthetic: int

    def __str__(self) -> str:
        return (
            f"logreg {self.logreg:.2f} ({self.logreg_se:.2f})  forest {self.forest:.2f} ({self.forest_se:.2f})  "
            f"n {self.real} + {self.synthetic}"
        )


def in_host_auc(
    real: Float[Array, "n features"],
    synthetic: Float[Array, "m features"],
    real_hosts: Shaped[Array, " n"],
    synthetic_hosts: Shaped[Array, " m"],
    repeats: int = 5,
    trees: int = 200,
    seed: int = 0,
) -> TwoSample:
    """Classifier two-sample test of lesion features.

    Five-fold cross-validation, stratified by host and group, repeated; the AUC is computed over the out-of-fold
    scores of each repeat and averaged.

    Args:
        real: Features of real lesions (`appearance.scan_features`).
        synthetic: Features of synthetic lesions.
        real_hosts: Host of each real lesion.
        synthetic_hosts: Host of each synthetic lesion.
        repeats: Of the cross-validation.
        trees: Of the forest.
        seed: Of folds, forest and bootstrap.

    Raises:
        ValueError: Fewer than five lesions in a group.
    """
    if min(len(real), len(synthetic)) < FOLDS:
        raise ValueError(f"Expected {FOLDS} lesions or more in each group, got {len(real)} real and {len(synthetic)}")
    features = np.concatenate([real, synthetic])
    hosts = np.concatenate([real_hosts, synthetic_hosts]).astype(str)
    is_synthetic = np.arange(len(features)) >= len(real)
    found = {"real": len(real), "synthetic": len(synthetic)}
    for name, model in _classifiers(trees, seed).items():
        scores = [_out_of_fold(model, features, is_synthetic, hosts, seed + repeat) for repeat in range(repeats)]
        found[name] = float(np.mean([auc(score, is_synthetic) for score in scores]))
        found[f"{name}_se"] = _bootstrap_se(scores, is_synthetic, seed)
    return TwoSample(**found)


def patient_wise_auc(
    real: Float[Array, "n features"],
    synthetic: Float[Array, "m features"],
    real_patients: Shaped[Array, " n"],
    synthetic_patients: Shaped[Array, " m"],
    repeats: int = 3,
    trees: int = 100,
    seed: int = 0,
) -> TwoSample:
    """Classifier two-sample test in which no patient is both learnt from and tested.

    A patient's real and synthetic lesions are in the same fold. Only lesions of one fold are compared with each other,
    because scores of two classifiers have no common scale; the standard error is over lesions, within folds.

    Args:
        real: Features of real lesions.
        synthetic: Features of synthetic lesions.
        real_patients: Whose each is.
        synthetic_patients: Whose scan each was put into.
        repeats: Of the division into folds.
        trees: Of the forest.
        seed: Of folds, forest and bootstrap.

    Raises:
        ValueError: Fewer than two patients in a group.
    """
    features, patients = np.concatenate([real, synthetic]), np.concatenate([real_patients, synthetic_patients])
    is_synthetic = np.arange(len(features)) >= len(real)
    rng = np.random.default_rng(seed)
    divisions = [patient_folds(real_patients, synthetic_patients, rng) for _ in range(repeats)]
    folds = [np.array([division[patient] for patient in patients]) for division in divisions]
    found = {"real": len(real), "synthetic": len(synthetic)}
    for name, model in _classifiers(trees, seed).items():
        scores = [_scores_by_fold(model, features, is_synthetic, fold) for fold in folds]
        areas = [auc_within(score, is_synthetic, fold) for score, fold in zip(scores, folds, strict=True)]
        found[name] = float(np.mean(areas))
        found[f"{name}_se"] = _se_within(scores[0], is_synthetic, folds[0], rng)
    return TwoSample(**found)


def patient_folds(
    real_patients: Shaped[Array, " n"], synthetic_patients: Shaped[Array, " m"], rng: np.random.Generator
) -> dict[str, int]:
    """Fold of each patient, at random, so that every fold has real and synthetic lesions.

    Raises:
        ValueError: Fewer than two patients in a group.
    """
    real, synthetic = set(map(str, real_patients)), set(map(str, synthetic_patients))
    count = min(FOLDS, len(real), len(synthetic))
    if count < 2:
        raise ValueError(
            f"Expected lesions of two patients or more in each group, got {len(real)} and {len(synthetic)}; add others"
        )
    both = real & synthetic
    folds = {}
    for group, first in ((both, 0), (real - both, len(both)), (synthetic - both, len(both))):
        folds |= {name: (first + place) % count for place, name in enumerate(rng.permutation(sorted(group)).tolist())}
    return folds


def auc_within(scores: Float[Array, " n"], positive: Bool[Array, " n"], folds: Shaped[Array, " n"]) -> float:
    """`auc` over the pairs of a positive and a negative of one fold."""
    found, pairs = [], []
    for fold in np.unique(folds):
        inside = folds == fold
        count = int(positive[inside].sum()) * int((~positive[inside]).sum())
        if count:
            found.append(auc(scores[inside], positive[inside]))
            pairs.append(count)
    return float(np.average(found, weights=pairs))


def auc(scores: Float[Array, " n"], positive: Bool[Array, " n"]) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    difference = scores[positive][:, None] - scores[~positive][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _classifiers(trees: int, seed: int) -> dict:
    return {
        "logreg": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
        "forest": RandomForestClassifier(trees, min_samples_leaf=2, random_state=seed, n_jobs=1),
    }


def _scores_by_fold(model, features: Array, is_synthetic: Array, folds: Array) -> Array:
    scores = np.zeros(len(features))
    for fold in np.unique(folds):
        test = folds == fold
        scores[test] = model.fit(features[~test], is_synthetic[~test]).predict_proba(features[test])[:, 1]
    return scores


def _out_of_fold(model, features: Array, is_synthetic: Array, hosts: Array, seed: int) -> Array:
    scores = np.zeros(len(features))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features, _strata(hosts, is_synthetic)):
        scores[test] = model.fit(features[train], is_synthetic[train]).predict_proba(features[test])[:, 1]
    return scores


def _strata(hosts: Array, is_synthetic: Array) -> Array:
    """Host and group; lesions of hosts with fewer than one per fold join the largest stratum of their group."""
    names = np.array([f"{host}/{group}" for host, group in zip(hosts, is_synthetic, strict=True)])
    for group in (False, True):
        values, counts = np.unique(names[is_synthetic == group], return_counts=True)
        names[np.isin(names, values[counts < FOLDS])] = values[counts.argmax()]
    return names


def _bootstrap_se(scores: list[Array], is_synthetic: Array, seed: int) -> float:
    rng = np.random.default_rng(seed)
    groups = np.flatnonzero(~is_synthetic), np.flatnonzero(is_synthetic)
    found = []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        found.append(np.mean([auc(score[drawn], is_synthetic[drawn]) for score in scores]))
    return float(np.std(found))


def _se_within(scores: Array, is_synthetic: Array, folds: Array, rng: np.random.Generator) -> float:
    """Standard error of `auc_within` over lesions, drawn anew within fold and group."""
    groups = [np.flatnonzero((folds == fold) & (is_synthetic == side)) for fold in np.unique(folds) for side in (0, 1)]
    found = []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups if len(group)])
        found.append(auc_within(scores[drawn], is_synthetic[drawn], folds[drawn]))
    return float(np.std(found))
