"""What a denoiser is, and how a network that predicts noise becomes one.

A denoiser estimates the clean data from `x = clean + sigma * noise`. Samplers know nothing else of a model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor

from lesionaug.diffusion.schedules import DDPMTables
from lesionaug.types import Patches

Denoise = Callable[[Patches, Tensor], Patches]
"""`D(x; sigma)`: noisy patches and one noise level per sample in, clean estimate out."""

PredictNoise = Callable[[Patches, Tensor], Patches]
"""`eps(x, t)`: patches at step `t` of a published schedule, one step per sample, in; unit noise out."""


def guided(conditional: PredictNoise, unconditional: PredictNoise, scale: float) -> PredictNoise:
    """Classifier-free guidance, as published; at scale 1 the unconditional network is never called.

    Args:
        conditional: Prediction under the wanted condition.
        unconditional: Prediction under the null condition; meaningless unless it was trained.
        scale: How far to go from the latter towards the former, and beyond it above 1.

    Reference:
        Ho & Salimans, "Classifier-Free Diffusion Guidance", 2022 (arXiv 2207.12598), equation 6 with scale = 1 + w.
    """
    if scale == 1:
        return conditional

    def predict(x: Patches, t: Tensor) -> Patches:
        null = unconditional(x, t)
        return null + scale * (conditional(x, t) - null)

    return predict


@dataclass(frozen=True)
class NoisePredictionDenoiser:
    """A published noise-predicting network as a denoiser, so that any sampler can run it.

    The network knows discrete steps of data that were scaled down to unit variance; noise levels between two steps are
    given to it as fractions of a step.

    Args:
        predict_noise: The network with its condition.
        tables: Its schedule.
        clip: Largest absolute value of clean data.

    Reference:
        Karras et al. 2022 (arXiv 2206.00364), appendix C.3.
    """

    predict_noise: PredictNoise
    tables: DDPMTables
    clip: float

    def __call__(self, x: Patches, sigma: Float[Tensor, " batch"]) -> Patches:
        """See `Denoise`."""
        s = sigma[:, None, None, None, None]
        noise = self.predict_noise(x / (1 + s**2).sqrt(), self.step(sigma))
        return (x - s * noise).clamp(-self.clip, self.clip)

    def step(self, sigma: Float[Tensor, " batch"]) -> Num[Tensor, " batch"]:
        """Where a noise level lies in the schedule, linear in its logarithm between two steps."""
        known = self.tables.sigmas.log()
        level = sigma.log()
        upper = torch.searchsorted(known, level.contiguous()).clamp(1, len(known) - 1)
        low, high = known[upper - 1], known[upper]
        return (upper - 1) + ((level - low) / (high - low)).clamp(0, 1)


def step_sigmas(tables: DDPMTables, num_steps: int) -> Float[Tensor, " levels"]:
    """Falling noise levels for so many network calls, evenly spread over a schedule's steps, and the final zero.

    The last step of the cosine schedule is all but pure noise (its level is in the thousands) and is left out.

    Args:
        tables: The network's schedule.
        num_steps: Network calls of a first-order sampler; at most one less than there are steps.
    """
    steps = torch.linspace(len(tables) - 2, 0, num_steps).round().long()
    return torch.cat((tables.sigmas.cpu()[steps], torch.zeros(1)))
