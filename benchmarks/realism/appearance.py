"""Appearance of single lesions as about twenty numbers per channel, all relative to the tissue around the lesion.

Intensities are first brought to robust units of the scan (`robust_units`), so that no feature depends on the scanner's
scale. Written apart from `lesionaug.intensity` on purpose: what judges shares no code with what is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from benchmarks.realism.shape import MIN_VOXELS, lesions_with_boxes

Array = np.ndarray
MAD_TO_SD = 1.4826  # of a Gaussian
RING_MM = (2.0, 4.0)
MARGIN_MM = 6.0  # holds the ring and its neighbours
PROFILE_MM = (-2.0, -1.0, 0.0, 1.0, 2.0)
HISTOGRAM_EDGES = (0.0, 0.5, 1.0, 1.5)  # of inside minus ring, in robust units


def robust_units(image: Float[Array, "i j k"], brain: Bool[Array, "i j k"]) -> Float[Array, "i j k"]:
    """Distance to the brain's median in multiples of its median absolute deviation (times 1.4826).

    Raises:
        ValueError: The image is constant in the brain.
    """
    values = image[brain].astype(np.float64)
    center = np.median(values)
    spread = MAD_TO_SD * np.median(np.abs(values - center))
    if not spread > 0:
        raise ValueError("Expected varying intensities in the brain, got a constant image; check image and brain mask")
    return ((image - center) / spread).astype(np.float32)


def scan_features(
    images: Mapping[str, Float[Array, "i j k"]],
    brain: Bool[Array, "i j k"],
    lesions: Bool[Array, "i j k"],
    all_lesions: Bool[Array, "i j k"],
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    min_voxels: int = MIN_VOXELS,
) -> Float[Array, "lesions features"]:
    """Features of every connected lesion of a mask.

    Args:
        images: Channels in robust units; features follow in this order, log volume comes last.
        brain: Tissue that a ring may use.
        lesions: Those to describe.
        all_lesions: Those that no ring may use: old and new.
        spacing_mm: Voxel size along each axis.
        min_voxels: Smaller lesions are left out.
    """
    rows = [
        _lesion_row(images, brain, crop, box, all_lesions, spacing_mm)
        for crop, box in lesions_with_boxes(lesions, min_voxels)
    ]
    return np.stack(rows) if rows else np.zeros((0, len(feature_names(tuple(images)))))


def feature_names(channels: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `scan_features`."""
    return (*(f"{channel}_{name}" for channel in channels for name in CHANNEL_FEATURES), "log_volume")


def _lesion_row(images, brain, crop, box, all_lesions, spacing_mm) -> Array:
    wide = _grow(box, brain.shape, [int(np.ceil(MARGIN_MM / spacing)) for spacing in spacing_mm])
    mask = np.zeros([part.stop - part.start for part in wide], bool)
    inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))
    mask[inner] = crop
    tissue = brain[wide] & ~all_lesions[wide]
    rows = [list(channel_features(image[wide], mask, tissue, spacing_mm).values()) for image in images.values()]
    return np.array([*(value for row in rows for value in row), np.log(mask.sum() * np.prod(spacing_mm))])


def _grow(box, shape, margin) -> tuple[slice, ...]:
    return tuple(slice(max(b.start - m, 0), min(b.stop + m, n)) for b, n, m in zip(box, shape, margin, strict=True))


def channel_features(
    image: Float[Array, "i j k"],
    mask: Bool[Array, "i j k"],
    tissue: Bool[Array, "i j k"],
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> dict[str, float]:
    """Features of one lesion in one channel.

    Args:
        image: Robust units.
        mask: The lesion.
        tissue: Brain without any lesion.
        spacing_mm: Voxel size along each axis.

    Returns:
        `contrast`: mean inside minus median of the ring (tissue 2 to 4 mm from the lesion).
        `cnr`: contrast over the ring's median absolute deviation (times 1.4826).
        `sd`, `skewness`: of the values inside.
        `edge_gradient`: mean gradient magnitude (central differences, per mm) over the voxels on both sides of the
        border.
        `profile_-2` .. `profile_+2`: mean at that signed distance from the border (negative inside; linear weights
        over 1 mm), minus the ring's median; where the lesion is too thin, the value of the next shell outwards.
        `highpass`: SD inside of a voxel minus the mean of its face neighbours inside.
        `highpass_ratio`: that over the same of the ring.
        `autocorrelation`: correlation of face neighbours that both lie inside.
        `gradient_energy`: mean squared difference of such neighbours.
        `bin_0` .. `bin_4`: share of the values inside, minus the ring's median, below 0, 0.5, 1, 1.5, and above.
    """
    signed = signed_distance_mm(mask, spacing_mm)
    ring = _ring(signed, tissue)
    level = np.median(image[ring])
    inside = image[mask].astype(np.float64)
    features = {
        "contrast": inside.mean() - level,
        "cnr": (inside.mean() - level) / max(_mad_sd(image[ring]), 1e-3),
        "sd": inside.std(),
        "skewness": _skewness(inside),
        "edge_gradient": _edge_gradient(image, signed, spacing_mm),
    }
    features |= _profile(image - level, signed, tissue | mask)
    features |= _texture(image, mask, ring)
    shares = np.bincount(np.digitize(inside - level, HISTOGRAM_EDGES), minlength=5) / len(inside)
    return features | {f"bin_{index}": share for index, share in enumerate(shares)}


def signed_distance_mm(mask: Bool[Array, "i j k"], spacing_mm: Sequence[float]) -> Float[Array, "i j k"]:
    """Distance of voxel centres to the border of a lesion, negative inside; half a voxel next to the border."""
    half = min(spacing_mm) / 2
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm) - half
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm) - half
    return np.where(mask, -inside, outside)


def _ring(signed: Array, tissue: Array) -> Array:
    near, far = RING_MM
    ring = (signed >= near) & (signed <= far) & tissue
    if ring.any():
        return ring
    around = (signed > 0) & tissue
    if not around.any():
        raise ValueError("Expected tissue around the lesion, got none; check brain mask and lesion mask")
    return around


def _mad_sd(values: Array) -> float:
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values))))


def _skewness(values: Array) -> float:
    centred = values - values.mean()
    return float((centred**3).mean() / max((centred**2).mean() ** 1.5, 1e-9))


def _edge_gradient(image: Array, signed: Array, spacing_mm: Sequence[float]) -> float:
    border = np.abs(signed) <= 0.75 * max(spacing_mm)
    return float(np.sqrt(sum(part**2 for part in np.gradient(image, *spacing_mm)))[border].mean())


def _profile(relative: Array, signed: Array, usable: Array) -> dict[str, float]:
    found, last = {}, 0.0
    for distance in reversed(PROFILE_MM):
        weights = np.clip(1 - np.abs(signed - distance), 0, None) * usable
        last = float((weights * relative).sum() / weights.sum()) if weights.sum() > 0 else last
        found[f"profile_{distance:+.0f}"] = last
    return found


def _texture(image: Array, mask: Array, ring: Array) -> dict[str, float]:
    highpass, host = _highpass_sd(image, mask), _highpass_sd(image, ring)
    first, second = _neighbours(image, mask)
    centred = first - image[mask].mean(), second - image[mask].mean()
    return {
        "highpass": highpass,
        "highpass_ratio": highpass / max(host, 1e-3),
        "autocorrelation": float((centred[0] * centred[1]).mean() / max(image[mask].var(), 1e-9)),
        "gradient_energy": float(((first - second) ** 2).mean()),
    }


def _highpass_sd(image: Array, region: Array) -> float:
    kernel = ndimage.generate_binary_structure(3, 1).astype(np.float32)
    kernel[1, 1, 1] = 0
    count = ndimage.convolve(region.astype(np.float32), kernel, mode="constant")
    total = ndimage.convolve(np.where(region, image, 0).astype(np.float32), kernel, mode="constant")
    usable = region & (count > 0)
    if not usable.any():
        return 0.0
    # A mean of n neighbours adds 1/n of their variance; dividing it out makes thin and thick lesions comparable.
    residual = (image - total / np.maximum(count, 1)) / np.sqrt(1 + 1 / np.maximum(count, 1))
    return float(residual[usable].std())


def _neighbours(image: Array, mask: Array) -> tuple[Array, Array]:
    """Values of all pairs of face neighbours inside a lesion."""
    pairs = []
    for axis in range(3):
        a, b = (np.take(image, _shift(image.shape[axis], side), axis=axis) for side in (0, 1))
        both = np.logical_and(*(np.take(mask, _shift(mask.shape[axis], side), axis=axis) for side in (0, 1)))
        pairs.append((a[both], b[both]))
    first, second = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    return (first, second) if len(first) else (image[mask][:1], image[mask][:1])


def _shift(size: int, side: int) -> range:
    return range(side, size - 1 + side)


CHANNEL_FEATURES = (
    "contrast",
    "cnr",
    "sd",
    "skewness",
    "edge_gradient",
    *(f"profile_{distance:+.0f}" for distance in reversed(PROFILE_MM)),
    "highpass",
    "highpass_ratio",
    "autocorrelation",
    "gradient_energy",
    *(f"bin_{index}" for index in range(len(HISTOGRAM_EDGES) + 1)),
)
