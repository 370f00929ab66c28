"""A head of ellipsoids that is brain-like enough to find ventricles, white matter and cortex in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

INTENSITIES = {  # background, CSF, white matter, cortex and deep grey matter, lesion, scalp
    "flair": (0.0, 0.25, 0.80, 1.00, 1.50, 1.10),
    "t1w": (0.0, 0.25, 1.00, 0.75, 0.70, 1.20),
    "t2w": (0.0, 2.00, 0.80, 1.10, 1.60, 1.00),
}
NOISE = 0.03  # of one intensity unit
LESIONS = (  # centre and radius as fractions of the brain's semi-axes, in white matter
    ((-0.33, 0.30, 0.30), 0.05),
    ((0.36, -0.25, 0.35), 0.07),
    ((-0.45, -0.30, 0.15), 0.05),
    ((0.33, 0.40, 0.20), 0.04),
    ((0.45, 0.15, 0.35), 0.05),
)


class Phantom(NamedTuple):
    """Images of shape `(i, j, k)` per channel, voxel-to-world affine (RAS), lesions `(1, i, j, k)`, labels `(i, j, k)`.

    Labels follow FreeSurfer: 2 and 41 white matter, 3 and 42 cortex, 4 and 43 lateral ventricles, 10 and 49 thalamus,
    16 brainstem, 7, 8, 46 and 47 cerebellum, 530 scalp.
    """

    images: dict[str, Tensor]
    affine: np.ndarray
    lesion_mask: Tensor
    labels: np.ndarray


def brain_phantom(
    shape: tuple[int, int, int] = (80, 96, 80),
    spacing: tuple[float, float, float] = (1.8, 1.8, 1.8),
    *,
    channels: tuple[str, ...] = ("flair", "t1w"),
    lesions: bool = True,
    skull: bool = False,
    seed: int = 0,
) -> Phantom:
    """A head that fills the field of view; with the default shape and spacing as large as a real one.

    Args:
        shape: Voxels along right, anterior and superior.
        spacing: Voxel size in mm.
        channels: Keys of `INTENSITIES`.
        lesions: Whether white matter has the five lesions of `LESIONS`.
        skull: Whether there is a scalp around the brain, with air that is not exactly zero.
        seed: Of the noise.
    """
    x, y, z = _unit_grid(shape)
    labels = _labels(x, y, z, skull)
    lesion = _lesions(x, y, z) & np.isin(labels, (2, 41)) if lesions else np.zeros(shape, bool)
    rng = np.random.default_rng(seed)
    images = {channel: _image(labels, lesion, INTENSITIES[channel], skull, rng) for channel in channels}
    affine = np.diag((*spacing, 1.0))
    affine[:3, 3] = -np.asarray(spacing) * (np.asarray(shape) - 1) / 2
    return Phantom(images, affine, torch.from_numpy(lesion)[None], labels)


def _unit_grid(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Coordinates in which the brain is about the unit ball."""
    axes = [(np.arange(n) - (n - 1) / 2) / (0.46 * n) for n in shape]
    return list(np.meshgrid(*axes, indexing="ij"))


def _ball(x, y, z, center, semi) -> np.ndarray:
    return sum(((a - c) / s) ** 2 for a, c, s in zip((x, y, z), center, semi, strict=True)) <= 1


def _labels(x, y, z, skull: bool) -> np.ndarray:
    right = x > 0
    labels = np.zeros(x.shape, np.int16)
    cerebrum = _ball(x, y, z, (0, 0, 0.12), (0.95, 0.97, 0.82)) & (z > -0.45)
    folds = 0.03 * np.sin(14 * x) * np.sin(12 * y) * np.sin(13 * z)
    core = ((x / 0.85) ** 2 + (y / 0.87) ** 2 + ((z - 0.12) / 0.72) ** 2 <= 1 + 4 * folds) & (z > -0.36)
    if skull:
        labels[_ball(x, y, z, (0, 0, 0), (1.08, 1.08, 1.08)) & ~_ball(x, y, z, (0, 0, 0), (1.01, 1.02, 1.0))] = 530
    labels[cerebrum] = np.where(right, 42, 3)[cerebrum]
    labels[core & cerebrum] = np.where(right, 41, 2)[core & cerebrum]
    # Posterior fossa.
    cerebellum = _ball(x, y, z, (0, -0.5, -0.55), (0.6, 0.38, 0.3)) & (labels == 0)
    labels[cerebellum] = np.where(right, 47, 8)[cerebellum]
    inner = _ball(x, y, z, (0, -0.48, -0.58), (0.45, 0.25, 0.2)) & cerebellum
    labels[inner] = np.where(right, 46, 7)[inner]
    stem = _ball(x, y, z, (0, -0.12, -0.62), (0.18, 0.17, 0.38)) & ((labels == 0) | cerebellum)
    labels[stem] = 16
    # Deep grey matter and ventricles.
    thalamus = _ball(np.abs(x), y, z, (0.17, -0.1, 0.02), (0.13, 0.2, 0.15))
    labels[thalamus] = np.where(right, 49, 10)[thalamus]
    ventricles = _ball(np.abs(x), y, z, (0.14, -0.02, 0.25), (0.1, 0.5, 0.13))
    labels[ventricles] = np.where(right, 43, 4)[ventricles]
    return labels


def _lesions(x, y, z) -> np.ndarray:
    balls = [_ball(x, y, z, center, (radius, radius, radius)) for center, radius in LESIONS]
    return np.logical_or.reduce(balls)


def _image(labels, lesion, values, skull: bool, rng) -> Tensor:
    air, csf, white, grey, bright, scalp = values
    image = np.full(labels.shape, air, np.float32)
    brain = (labels > 0) & (labels < 500)
    image[brain] = grey
    image[np.isin(labels, (2, 41, 7, 46, 16))] = white
    image[np.isin(labels, (4, 43))] = csf
    image[labels == 530] = scalp
    image[lesion] = bright
    noise = rng.normal(0, NOISE, labels.shape).astype(np.float32)
    noisy = np.abs(image + noise) if skull else np.where(brain, image + noise, air)
    return torch.from_numpy(100 * noisy.astype(np.float32))
