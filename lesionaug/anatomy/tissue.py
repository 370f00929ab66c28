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
        """Of values `(channels, n)` under each tissue, `(tissues, n)`."""
        rows = []
        for mean, covariance in zip(self.means, self.covariances, strict=True):
            whiten = np.linalg.inv(np.linalg.cholesky(covariance)).astype(values.dtype)
            distance = ((whiten @ (values - mean[:, None].astype(values.dtype))) ** 2).sum(axis=0)
            rows.append(-0.5 * distance + np.log(np.abs(np.diag(whiten))).sum())
        return np.stack(rows)


@dataclass(frozen=True)
class TissueModel:
    """What tissues of a scan look like: fitted to its reduced voxels, asked at any.

    Args:
        channels: Name of each; lesions are bright in `flair` and `t2w`, dark in `t1w`.
        center: Of each channel, `(channels, 1)`.
        scale: Likewise.
        mixture: In standardised units.
        bias: Coefficients of the bias field, `(channels, 19)`.
        shape: Of the reduced grid, over which the bias field is defined.
    """

    channels: tuple[str, ...]
    center: np.ndarray
    scale: np.ndarray
    mixture: Mixture
    bias: np.ndarray
    shape: tuple[int, ...]

    def bias_field(self) -> np.ndarray:
        """What is to be taken from standardised intensities, at the reduced voxels, `(channels, i, j, k)`."""
        return _bias_field(self.bias, self.shape)

    def posterior(self, values: np.ndarray, bias: np.ndarray, priors: np.ndarray, lesions: np.ndarray) -> np.ndarray:
        """Probability of white matter, grey matter, fluid and lesion, `(4, n)`.

        Args:
            values: Intensities, `(channels, n)`.
            bias: The bias field at the same places.
            priors: Of white matter, grey matter and fluid, `(3, n)`, summing to one.
            lesions: Relative density of lesions, `(n,)`.
        """
        flat = _limited((values - self.center) / self.scale) - bias
        return _posterior(flat, priors, self.mixture, self.channels, lesions)


def fit_tissues(
    images: np.ndarray, channels: tuple[str, ...], brain: np.ndarray, maps: dict[str, np.ndarray]
) -> TissueModel:
    """Learn from some of the voxels what tissues look like.

    Args:
        images: Shape `(channels, i, j, k)`.
        channels: Name of each channel.
        brain: Where to look.
        maps: The atlas' maps at the same voxels.
    """
    inside = np.flatnonzero(brain)
    some = inside[:: max(1, len(inside) // SAMPLES)]
    values = images.reshape(len(images), -1)[:, some]
    center = np.median(values, axis=1, keepdims=True)
    scale = np.maximum(np.median(np.abs(values - center), axis=1, keepdims=True) * 1.4826, 1e-12)
    where = np.stack(np.unravel_index(some, brain.shape))
    mixture, bias = _fit(_limited((values - center) / scale), tissue_priors(maps, some), _positions(where, brain.shape))
    return TissueModel(channels, center, scale, mixture, bias, brain.shape)


def classify(model: TissueModel, images: np.ndarray, brain: np.ndarray, maps: dict[str, np.ndarray]) -> np.ndarray:
    """Posterior of white matter, grey matter, fluid and lesion, shape `(4, i, j, k)`, 0 outside the brain.

    Args:
        model: Of the scan.
        images: Shape `(channels, i, j, k)`, those that the model was fitted to.
        brain: Where to look.
        maps: The atlas' maps at the same voxels.
    """
    inside = np.flatnonzero(brain)
    values, bias = (field.reshape(len(images), -1)[:, inside] for field in (images, model.bias_field()))
    priors, lesions = tissue_priors(maps, inside), maps["lesions"].ravel()[inside]
    result = np.zeros((4, *brain.shape), np.float32)
    result.reshape(4, -1)[:, inside] = model.posterior(values, bias, priors, lesions)
    return result


def _limited(values: np.ndarray) -> np.ndarray:
    """Extremes say no more than that they are extreme."""
    return np.clip(values, -6, 8).astype(np.float32)


def tissue_priors(maps: dict[str, np.ndarray], inside: np.ndarray) -> np.ndarray:
    """Of white matter, grey matter and fluid at voxels by flat index, `(3, n)`."""
    grey = maps["cortex"] + maps["deep_grey"]
    stacked = np.stack([tissue.ravel()[inside] for tissue in (maps["white"], grey, maps["fluid"])]) + PRIOR_FLOOR
    return stacked / stacked.sum(axis=0)


DEGREES = [(a, b, c) for a in range(4) for b in range(4 - a) for c in range(4 - a - b) if a + b + c]
"""Of the bias field's 19 polynomials in position; the constant is the mixture's."""


def _powers(index: np.ndarray, size: int) -> np.ndarray:
    """Zeroth to third power of the position of voxels along an axis, from -1 to 1, `(4, n)`."""
    return ((2 * index / size - 1) ** np.arange(4)[:, None]).astype(np.float32)


def _positions(where: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The polynomials at positions in voxels `(3, n)`, as `(19, n)`."""
    x, y, z = (_powers(index, size) for index, size in zip(where, shape, strict=True))
    return np.stack([x[a] * y[b] * z[c] for a, b, c in DEGREES])


def _bias_field(bias: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum of the polynomials at all voxels, one axis after the other, `(channels, i, j, k)`."""
    coefficients = np.zeros((len(bias), 4, 4, 4), np.float32)
    coefficients[(slice(None), *np.transpose(DEGREES))] = bias
    x, y, z = (_powers(np.arange(size), size) for size in shape)
    over_z = np.einsum("nabc,cz->nabz", coefficients, z)
    over_y = np.einsum("nabz,by->nayz", over_z, y)
    return np.einsum("nayz,ax->nxyz", over_y, x)


def _fit(values: np.ndarray, priors: np.ndarray, positions: np.ndarray) -> tuple[Mixture, np.ndarray]:
    """Mixture, and coefficients of the bias field `(channels, 19)`."""
    bias = np.zeros((len(values), len(positions)), np.float32)
    share = priors
    for iteration in range(ITERATIONS):
        flat = values - bias @ positions
        mixture = _mixture(flat, share)
        share = _share(mixture.log_likelihood(flat) + np.log(priors))
        if iteration >= BIAS_FROM:
            bias = _bias(values, share, mixture, positions)
    return mixture, bias


def _mixture(values: np.ndarray, share: np.ndarray) -> Mixture:
    weights = share / share.sum(axis=1, keepdims=True)
    means = weights @ values.T
    floor = VARIANCE_FLOOR * np.diag(values.var(axis=1))
    covariances = [
        ((values - mean[:, None]) * weight) @ (values - mean[:, None]).T + floor
        for mean, weight in zip(means, weights, strict=True)
    ]
    return Mixture(means, np.stack(covariances))


def _share(log_joint: np.ndarray) -> np.ndarray:
    joint = np.exp(log_joint - log_joint.max(axis=0))
    return joint / joint.sum(axis=0)


def _bias(values: np.ndarray, share: np.ndarray, mixture: Mixture, positions: np.ndarray) -> np.ndarray:
    """Least squares of what the tissues' means leave over; fluid says nothing, its partial volumes would."""
    weight = share[WHITE] + share[GREY]
    residual = values - mixture.means.T.astype(np.float32) @ share
    center = (weight * positions).sum(axis=1, keepdims=True) / weight.sum()
    design = (positions - center) * weight
    # Not a matrix product: its threads cost a hundred times the sum itself where other processes hold the cores.
    normal = np.einsum("an,bn->ab", design, positions - center)
    normal += 1e-3 * values.shape[1] * np.eye(len(positions), dtype=np.float32)
    return np.linalg.solve(normal, np.einsum("an,cn->ac", design, residual)).T.astype(np.float32)


def _posterior(
    values: np.ndarray, priors: np.ndarray, mixture: Mixture, channels: tuple[str, ...], lesions: np.ndarray
) -> np.ndarray:
    """Posterior `(4, n)` with a wide fourth class for lesions, where the atlas has seen some."""
    likelihood = mixture.log_likelihood(values)
    likelihood[FLUID] -= NO_FLUID * _unlike_fluid(values, mixture, channels)
    lesion = _lesion_likelihood(values, mixture, channels)
    lesion_prior = (LESION_PRIOR * lesions + LESION_FLOOR) * priors[WHITE]
    tissues = likelihood + np.log(priors * (1 - lesion_prior))
    return _share(np.concatenate([tissues, (lesion + np.log(lesion_prior))[None]]))


def _unlike_fluid(values: np.ndarray, mixture: Mixture, channels: tuple[str, ...]) -> np.ndarray:
    """Whether a channel is on the far side of white matter; fluid's broad Gaussian would reach there."""
    sign = np.array([[-1 if channel == "t2w" else 1] for channel in channels], np.float32)
    return (sign * (values - mixture.means[WHITE][:, None]) > 0).any(axis=0)


def _lesion_likelihood(values: np.ndarray, mixture: Mixture, channels: tuple[str, ...]) -> np.ndarray:
    """High on all of the range that lesions have: from three or four deviations off the tissue on.

    It ends at fluid, and half way there where no other channel tells the two apart.
    """
    share = 0.5 if len(channels) == 1 else 1.0
    spread = np.sqrt(mixture.covariances[WHITE].diagonal())
    total = np.zeros(values.shape[1], np.float32)
    for index, channel in enumerate(channels):
        sd = float(1.5 * spread[index])
        low, high = _lesion_range(mixture.means[:, index], spread[index], channel == "t1w", share)
        outside = np.maximum(low - values[index], values[index] - high).clip(0)
        total += -0.5 * (outside / sd) ** 2 - np.log(sd)
    return total


def _lesion_range(means: np.ndarray, spread: float, dark: bool, share: float) -> tuple[float, float]:
    white, grey, fluid = means
    nearest = white - 3 * spread if dark else max(white, grey) + 4 * spread
    beyond_fluid = (fluid < white) == dark
    farthest = white + share * (fluid - white) if beyond_fluid else (-np.inf if dark else np.inf)
    low, high = (farthest, nearest) if dark else (nearest, farthest)
    return float(min(low, nearest)), float(max(high, nearest))
