"""How a labelled brain with lesions looks in a scanner that does not exist. Nothing of `lesionaug` paints here.

    labels ──► Gaussian tissues ─┐
    lesion mask ──► severity ────┴► mixture ──► blur ──► bias field ──► Rician noise ──► scanner units

Lesions are mixtures of the tissue they lie in and of a lesion's core, so blur gives them their partial volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from benchmarks.downstream.lesions import components
from lesionaug.anatomy.labels import TISSUES

Array = np.ndarray

CONTRASTS = {  # fluid, white matter, cortex, deep grey matter, core of a lesion; white matter is 1
    "flair": (0.30, 1.00, 1.22, 1.12, 1.75),
    "t1w": (0.30, 1.00, 0.72, 0.82, 0.60),
}
ORDER = ("fluid", "white", "cortex", "deep_grey")


@dataclass(frozen=True)
class Scanner:
    """Ranges from which a scan's looks are drawn, uniformly.

    Args:
        tissue_shift: Of a tissue's mean, as a share of white matter's.
        texture: SD of intensities within a tissue, correlated over 1.5 mm.
        severity: How much of a lesion's core a lesion is.
        core_shift: Of the core's mean.
        blur_mm: SD of the blur along each axis.
        bias: SD of the bias field's logarithm.
        noise: SD of noise in both channels of the receiver.
        lining: Brightness of the ventricles' lining in FLAIR, 1 to 2 mm thick, which is no lesion.
    """

    tissue_shift: float = 0.06
    texture: tuple[float, float] = (0.02, 0.05)
    severity: tuple[float, float] = (0.3, 1.0)
    core_shift: float = 0.2
    blur_mm: tuple[float, float] = (0.35, 0.9)
    bias: tuple[float, float] = (0.0, 0.12)
    noise: tuple[float, float] = (0.02, 0.06)
    lining: tuple[float, float] = (0.0, 0.3)


def scanned(
    labels: Int[Array, "i j k"],
    lesions: Bool[Array, "i j k"],
    channel: str,
    scanner: Scanner,
    rng: np.random.Generator,
) -> Float[Array, "i j k"]:
    """A channel in arbitrary units; 0 outside the brain.

    Args:
        labels: FreeSurfer labels, 1 mm.
        lesions: Where lesions are.
        channel: From `CONTRASTS`.
        scanner: What may be drawn.
        rng: All that is random.
    """
    tissue, core = tissue_levels(labels, channel, scanner, rng)
    weight = severities(lesions, scanner, rng)
    image = (1 - weight) * tissue + weight * core
    image += rng.uniform(*scanner.texture) * smooth_noise(image.shape, 1.5, rng)
    image = ndimage.gaussian_filter(image, rng.uniform(*scanner.blur_mm, 3))
    image *= bias_field(image.shape, rng.uniform(*scanner.bias), rng)
    brain = np.isin(labels, TISSUES["brain"])
    noisy = rician(image, rng.uniform(*scanner.noise), rng)
    return (rng.uniform(100, 1000) * noisy * brain).astype(np.float32)


def tissue_levels(
    labels: Int[Array, "i j k"], channel: str, scanner: Scanner, rng: np.random.Generator
) -> tuple[Float[Array, "i j k"], float]:
    """Mean of each voxel's tissue, and that of a lesion's core."""
    *means, core = CONTRASTS[channel]
    shifts = rng.uniform(-scanner.tissue_shift, scanner.tissue_shift, len(means))
    level = np.full(labels.shape, means[ORDER.index("white")] * (labels > 0), np.float32)  # vessels and the like
    for name, mean, shift in zip(ORDER, means, shifts, strict=True):
        level[np.isin(labels, TISSUES[name])] = mean + shift
    if channel == "flair":
        level += rng.uniform(*scanner.lining) * ventricle_lining(labels, int(rng.integers(1, 3)))
    return level, core + rng.uniform(-scanner.core_shift, scanner.core_shift)


def ventricle_lining(labels: Int[Array, "i j k"], thickness: int) -> Bool[Array, "i j k"]:
    """White matter next to the ventricles."""
    near = ndimage.binary_dilation(np.isin(labels, TISSUES["ventricles"]), iterations=thickness)
    return near & np.isin(labels, TISSUES["white"])


def severities(lesions: Bool[Array, "i j k"], scanner: Scanner, rng: np.random.Generator) -> Float[Array, "i j k"]:
    """Share of a lesion's core in each voxel: one value per lesion, uneven within it."""
    numbered, count = components(lesions)
    values = np.append(0, rng.uniform(*scanner.severity, count))[numbered]
    uneven = 1 + 0.1 * smooth_noise(lesions.shape, 2.0, rng)
    return np.clip(values * uneven, 0, 1).astype(np.float32)


def smooth_noise(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> Float[Array, "i j k"]:
    """Gaussian noise of unit variance, correlated over a Gaussian of this width in voxels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), width)
    return noise / noise.std()


def bias_field(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> Float[Array, "i j k"]:
    """Smooth and positive; its logarithm has 4 x 4 x 4 Gaussian knots of this SD."""
    knots = rng.normal(0, strength, (4, 4, 4))
    field = ndimage.zoom(knots, [n / 4 for n in shape], order=3, grid_mode=True, mode="nearest")
    return np.exp(field).astype(np.float32)


def rician(image: Float[Array, "i j k"], noise: float, rng: np.random.Generator) -> Float[Array, "i j k"]:
    """Magnitude of a complex image with Gaussian noise."""
    real = image + noise * rng.standard_normal(image.shape, np.float32)
    return np.hypot(real, noise * rng.standard_normal(image.shape, np.float32))
