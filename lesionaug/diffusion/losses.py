"""The published training losses, on predicted and true noise.

Means run over all voxels, so that an empty patch teaches a masked loss nothing and a large lesion counts for more than
a small one; that is how the published weights were trained.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from lesionaug.types import Patches, PatchMasks

Scalar = Float[Tensor, ""]


def noise_l1(predicted: Patches, noise: Patches) -> Scalar:
    """Mean absolute error; the original mask model's loss."""
    return (noise - predicted).abs().mean()


def lesion_l1(
    predicted: Patches, noise: Patches, lesion: Bool[Tensor, "batch channels i j k"], extra: float = 10.0
) -> Scalar:
    """Mean absolute error, and `extra` times that of lesion voxels alone; the MS mask model's loss.

    Args:
        predicted: Noise according to the network.
        noise: Noise that was added.
        lesion: Where the clean mask is positive.
        extra: Weight of the second term.
    """
    return noise_l1(predicted, noise) + extra * masked_l1(predicted, noise, lesion)


def masked_l1(predicted: Patches, noise: Patches, mask: PatchMasks) -> Scalar:
    """Sum of absolute errors in the mask over the number of all voxels; the texture models' loss."""
    return ((noise - predicted).abs() * mask).mean()


def masked_l2(predicted: Patches, noise: Patches, mask: PatchMasks) -> Scalar:
    """The same with squared errors."""
    return ((noise - predicted) ** 2 * mask).mean()
