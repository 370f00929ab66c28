"""White matter, grey matter and fluid from intensities, with the atlas as prior: expectation maximisation.

Reference:
    Ashburner and Friston, Unified segmentation, NeuroImage 26 (2005), without its registration: one Gaussian per
    tissue, and a bias field that is added, as the scan's scale is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WHITE, GREY, FLUID, LESION = range(4)
ITERATIONS = 10
SAMPLES = 12_000
BIAS_FROM = 4  # iterations before the bias field is believed
PRIOR_FLOOR = 0.02
VARIANCE_FLOOR = 1e-3  # of the brain's variance
LESION_PRIOR = 0.15  # at the atlas' maximum
NO_FLUID = 20.0  # log likelihood
LESION_FLOOR = 0.01


@dataclass(frozen=True)
class Mixture:
    """One Gaussian per tissue: means `(tissues, channels)`, covariances `(tissues, channels, channels)`."""

    means: np.ndarray
    covariances: np.ndarray

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """Of values `(n, channels)` under each tissue, `(n, tissues)`."""
        columns = []
        for mean, covariance in zip(self.means, self.covariances, strict=True):
            whiten = np.linalg.inv(np.linalg.cholesky(covariance)).astype(values.dtype)
            distance = (((values - mean.astype(values.dtype)) @ whiten.T) ** 2).sum(axis=1)
            columns.append(-0.5 * distance + np.log(np.abs(np.diag(whiten))).sum())
        return np.stack(columns, axis=1)


def classify(
    images: np.ndarray, channels: tuple[str, ...], brain: np.ndarray, maps: dict[str, np.ndarray]
) -> np.ndarray:
    """Posterior of white matter, grey matter, fluid and lesion, shape `(4, i, j, k)`, 0 outside the brain.

    Args:
        images: Shape `(channels, i, j, k)`.
        channels: Name of each channel; lesions are bright in `flair` and `t2w`, dark in `t1w`.
        brain: Where to look.
        maps: The atlas' maps at the same voxels.
    """
    values = _standardised(images[:, brain].T)
    priors = _priors(maps, brain)
    positions = _positions(brain)
    some = slice(None, None, max(1, len(values) // SAMPLES))
    mixture, bias = _fit(values[some], priors[some], positions[some])
    posterior = _posterior(values - positions @ bias, priors, mixture, channels, maps["lesions"][brain])
    result = np.zeros((4, *brain.shape), np.float32)
    result[:, brain] = posterior.T
    return result


def _standardised(values: np.ndarray) -> np.ndarray:
    """Robust units, with extremes clipped."""
    center = np.median(values, axis=0)
    spread = np.median(np.abs(values - center), axis=0) * 1.4826
    return np.clip((values - center) / np.maximum(spread, 1e-12), -6, 8).astype(np.float32)


def _priors(maps: dict[str, np.ndarray], brain: np.ndarray) -> np.ndarray:
    grey = maps["cortex"] + maps["deep_grey"]
    stacked = np.stack([tissue[brain] + PRIOR_FLOOR for tissue in (maps["white"], grey, maps["fluid"])], axis=1)
    return stacked / stacked.sum(axis=1, keepdims=True)


def _positions(brain: np.ndarray) -> np.ndarray:
    """Polynomials of up to third degree in position, `(n, 19)`, without the constant."""
    x, y, z = (2 * np.argwhere(brain) / np.asarray(brain.shape) - 1).astype(np.float32).T
    degrees = [(a, b, c) for a in range(4) for b in range(4 - a) for c in range(4 - a - b) if a + b + c]
    return np.stack([x**a * y**b * z**c for a, b, c in degrees], axis=1)


def _fit(values: np.ndarray, priors: np.ndarray, positions: np.ndarray) -> tuple[Mixture, np.ndarray]:
    """Mixture, and coefficients of the bias field `(19, channels)`."""
    bias = np.zeros((positions.shape[1], values.shape[1]), np.float32)
    share = priors
    for iteration in range(ITERATIONS):
        flat = values - positions @ bias
        mixture = _mixture(flat, share)
        share = _share(mixture.log_likelihood(flat) + np.log(priors))
        if iteration >= BIAS_FROM:
            bias = _bias(values, share, mixture, positions)
    return mixture, bias


def _mixture(values: np.ndarray, share: np.ndarray) -> Mixture:
    weights = share / share.sum(axis=0)
    means = weights.T @ values
    floor = VARIANCE_FLOOR * np.diag(values.var(axis=0))
    covariances = [
        ((values - mean) * weight[:, None]).T @ (values - mean) + floor
        for mean, weight in zip(means, weights.T, strict=True)
    ]
    return Mixture(means, np.stack(covariances))


def _share(log_joint: np.ndarray) -> np.ndarray:
    joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return joint / joint.sum(axis=1, keepdims=True)


def _bias(values: np.ndarray, share: np.ndarray, mixture: Mixture, positions: np.ndarray) -> np.ndarray:
    """Least squares of what the tissues' means leave over; fluid says nothing, its partial volumes would."""
    weight = share[:, WHITE] + share[:, GREY]
    residual = values - share @ mixture.means.astype(np.float32)
    center = (weight[:, None] * positions).sum(axis=0) / weight.sum()
    design = (positions - center) * weight[:, None]
    # Not a matrix product: its threads cost a hundred times the sum itself where other processes hold the cores.
    normal = np.einsum("na,nb->ab", design, positions - center)
    normal += 1e-3 * len(values) * np.eye(positions.shape[1], dtype=np.float32)
    return np.linalg.solve(normal, np.einsum("na,nc->ac", design, residual)).astype(np.float32)


def _posterior(
    values: np.ndarray, priors: np.ndarray, mixture: Mixture, channels: tuple[str, ...], lesions: np.ndarray
) -> np.ndarray:
    """Posterior with a wide fourth class for lesions, where the atlas has seen some."""
    likelihood = mixture.log_likelihood(values)
    likelihood[:, FLUID] -= NO_FLUID * _unlike_fluid(values, mixture, channels)
    lesion = _lesion_likelihood(values, mixture, channels)[:, None]
    lesion_prior = ((LESION_PRIOR * lesions + LESION_FLOOR) * priors[:, WHITE])[:, None]
    joint = np.concatenate([likelihood + np.log(priors * (1 - lesion_prior)), lesion + np.log(lesion_prior)], axis=1)
    return _share(joint)


def _unlike_fluid(values: np.ndarray, mixture: Mixture, channels: tuple[str, ...]) -> np.ndarray:
    """Whether a channel is on the far side of white matter; fluid's broad Gaussian would reach there."""
    sign = np.array([-1 if channel == "t2w" else 1 for channel in channels], np.float32)
    return (sign * (values - mixture.means[WHITE]) > 0).any(axis=1)


def _lesion_likelihood(values: np.ndarray, mixture: Mixture, channels: tuple[str, ...]) -> np.ndarray:
    """High on all of the range that lesions have: from three or four deviations off the tissue on.

    It ends at fluid, and half way there where no other channel tells the two apart.
    """
    share = 0.5 if len(channels) == 1 else 1.0
    spread = np.sqrt(mixture.covariances[WHITE].diagonal())
    total = np.zeros(len(values), np.float32)
    for index, channel in enumerate(channels):
        sd = 1.5 * spread[index]
        low, high = _lesion_range(mixture.means[:, index], spread[index], channel == "t1w", share)
        outside = np.maximum(low - values[:, index], values[:, index] - high).clip(0)
        total += -0.5 * (outside / sd) ** 2 - np.log(sd)
    return total


def _lesion_range(means: np.ndarray, spread: float, dark: bool, share: float) -> tuple[float, float]:
    white, grey, fluid = means
    nearest = white - 3 * spread if dark else max(white, grey) + 4 * spread
    beyond_fluid = (fluid < white) == dark
    farthest = white + share * (fluid - white) if beyond_fluid else (-np.inf if dark else np.inf)
    low, high = (farthest, nearest) if dark else (nearest, farthest)
    return min(low, nearest), max(high, nearest)
