"""One way to sample: how many calls, between which noise levels, with fresh noise on the way or without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lesionaug.diffusion.denoiser import Denoise
from lesionaug.diffusion.edm import Preconditioning, karras_sigmas
from lesionaug.diffusion.samplers import DrawNoise, Sigmas, gaussian, sample_dpmpp_2m
from lesionaug.models.few_steps import network_precision
from lesionaug.types import Patches


@dataclass(frozen=True)
class Schedule:
    """How a lesion is sampled.

    Args:
        calls: Of the network.
        low: Noise level of the last call.
        high: Noise level of the first.
        rho: How the levels between crowd towards the low end.
        fresh_noise: Whether every step adds noise (ancestral), instead of all noise coming from the start.
    """

    calls: int
    low: float
    high: float
    rho: float = 7.0
    fresh_noise: bool = False

    @property
    def levels(self) -> Sigmas:
        """Noise levels of the calls, and the zero that ends them."""
        return torch.cat([karras_sigmas(self.calls, self.low, self.high, self.rho), torch.zeros(1)])

    def sample(
        self,
        predict: Callable[[Patches, Tensor], Patches],
        precondition: Preconditioning,
        like: Patches,
        generators: Sequence[torch.Generator],
    ) -> Patches:
        """Clean patches; without fresh noise the same as `sample_in_few_steps` gives.

        Args:
            predict: The network, with all that it knows of the lesions.
            precondition: Makes a denoiser of it.
            like: Patches of the result's shape.
            generators: One per patch.
        """
        draw, levels = gaussian(generators, like.shape[1:], like.device), self.levels.to(like)

        def denoise(x: Patches, sigma: Tensor) -> Patches:
            with network_precision(x.device):
                return precondition.denoise(predict, x, sigma).float()

        start = draw() * levels[0]
        return (
            sample_with_fresh_noise(denoise, start, levels, draw)
            if self.fresh_noise
            else sample_dpmpp_2m(denoise, start, levels)
        )


def sample_with_fresh_noise(denoise: Denoise, x: Patches, sigmas: Sigmas, draw: DrawNoise) -> Patches:
    """Ancestral sampling over noise levels: each step goes lower than it has to and comes back up with new noise.

    Args:
        denoise: D(x; sigma).
        x: At the first level.
        sigmas: Falling levels; the last is zero for clean data.
        draw: The next unit Gaussian patches.

    Reference:
        Song et al. 2021 (arXiv 2011.13456), appendix F, in the levels of Karras et al. 2022.
    """
    for now, then in pairwise(sigmas):
        clean = denoise(x, now.expand(len(x)))
        up = (then**2 * (now**2 - then**2) / now**2).sqrt()  # variance of q(x_then | x_now, clean)
        down = (then**2 - up**2).clamp(min=0).sqrt()
        x = clean + (down / now) * (x - clean)
        if then > 0:
            x = x + up * draw()
    return x
