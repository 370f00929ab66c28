"""What the published models are conditioned on: control spheres for the mask, intensity histograms for the texture.

Reference:
    Zhang et al., "LeFusion", ICLR 2025, sections 3.2 and 3.3.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

BoolVolume = Bool[np.ndarray, "i j k"]

TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26-connected
HISTOGRAM_RANGE = (-1.0, 1.0)


def control_sphere(lesions: BoolVolume) -> BoolVolume:
    """One ball for all lesions of a patch, as in the original.

    Centre and radius are the centroid and the largest distance to it, both truncated to integers: the ball may leave
    a few lesion voxels out.
    """
    if not lesions.any():
        return np.zeros_like(lesions)
    voxels = np.argwhere(lesions)
    centroid = voxels.mean(axis=0)
    radius = np.linalg.norm(voxels - centroid, axis=1).max()
    return ball(lesions.shape, tuple(centroid.astype(int).tolist()), int(radius))


def control_spheres(lesions: BoolVolume) -> BoolVolume:
    """One ball per 26-connected lesion, as in the MS fork."""
    labels, count = ndimage.label(lesions, TOUCHING)
    balls = [control_sphere(labels == label) for label in range(1, count + 1)]
    return np.logical_or.reduce([np.zeros_like(lesions), *balls])


def ball(shape: tuple[int, ...], center: tuple[int, ...], radius: float) -> BoolVolume:
    """Voxels no farther than `radius` from `center`."""
    squares = [(x - c) ** 2 for x, c in zip(np.ogrid[tuple(map(slice, shape))], center, strict=True)]
    return reduce(np.add, squares) <= radius**2


def ellipsoid(shape: tuple[int, ...], center: tuple[int, ...], semi_axes: tuple[float, ...]) -> BoolVolume:
    """Voxels of an ellipsoid along the axes of the volume."""
    terms = [((x - c) / a) ** 2 for x, c, a in zip(np.ogrid[tuple(map(slice, shape))], center, semi_axes, strict=True)]
    return reduce(np.add, terms) <= 1


def random_ellipsoids(random: np.random.RandomState) -> BoolVolume:
    """The control of the fork's own inference: three to nine ellipsoids anywhere in a patch, tied to no anatomy.

    Args:
        random: Stands for NumPy's global generator, which the fork used; the order of draws is the fork's.
    """
    shape = (32, 64, 64)
    control = np.zeros(shape, dtype=bool)
    for _ in range(random.randint(3, 10)):
        radius = random.randint(3, 10)
        frame = random.randint(max(radius, 9), min(32 - radius, 25))
        center = (frame, random.randint(3, 61), random.randint(3, 61))
        semi_axes = tuple(radius * random.uniform(0.8, 1.3) for _ in range(3))
        control |= ellipsoid(shape, center, semi_axes)
    return control


def encode(control: Bool[Tensor, "*shape"], inside: float, outside: float) -> Float[Tensor, "*shape"]:
    """A control as the network was taught to read it.

    Args:
        control: The spheres.
        inside: Number for their voxels.
        outside: Number for all others.
    """
    return torch.where(control, inside, outside).float()


def lesion_histogram(image: Tensor, mask: Bool[Tensor, "*shape"], bins: int = 16) -> Float[Tensor, " bins"]:
    """Shares of lesion voxels by intensity on [-1, 1]; zeros for an empty mask, where the original has NaN.

    Args:
        image: Intensities in the network's units; those beyond [-1, 1] are not counted.
        mask: Lesion voxels.
        bins: Number of shares.
    """
    counts = torch.histc(image[mask].float(), bins, *HISTOGRAM_RANGE)
    return counts / (counts.sum() + 1e-8)


def gaussian_histogram(
    mean: Float[Tensor, " batch"], spread: Float[Tensor, " batch"], bins: int
) -> Float[Tensor, "batch bins"]:
    """Histogram of a lesion of which only the mean intensity and its spread are known.

    Args:
        mean: In the network's units.
        spread: Standard deviation, same units.
        bins: Number of shares; what lies beyond [-1, 1] falls into the outer two.
    """
    low, high = HISTOGRAM_RANGE
    inner = torch.linspace(low, high, bins + 1, device=mean.device)[1:-1]
    below = torch.special.ndtr((inner - mean[:, None]) / spread[:, None])
    edges = torch.nn.functional.pad(below, (1, 0)), torch.nn.functional.pad(below, (0, 1), value=1.0)
    return edges[1] - edges[0]
