"""From noise to data: plain functions of a denoiser and falling noise levels, and the published ancestral sampler.

Samplers over noise levels start from `x` at level `sigmas[0]` and stop at `sigmas[-1]`, which is zero for clean data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.diffusion.denoiser import Denoise, PredictNoise
from lesionaug.diffusion.schedules import DDPMTables, at, clean_from_noise, posterior_mean
from lesionaug.types import Patches

Sigmas = Float[Tensor, " levels"]
Sampler = Callable[[Denoise, Patches, Sigmas], Patches]

DrawNoise = Callable[[], Patches]
"""The next unit Gaussian patches: fresh from generators, or recorded."""


def sample_euler(denoise: Denoise, x: Patches, sigmas: Sigmas) -> Patches:
    """First order; one network call per step. With a noise-predicting network this is DDIM.

    Reference:
        Karras et al. 2022 (arXiv 2206.00364), equation 3; Song et al., "DDIM", 2021 (arXiv 2010.02502).
    """
    for now, then in _pairs(sigmas):
        clean = denoise(x, now.expand(len(x)))
        x = clean + (then / now) * (x - clean)
    return x


def sample_heun(denoise: Denoise, x: Patches, sigmas: Sigmas) -> Patches:
    """Second order; two network calls per step, one in a step to zero.

    Reference:
        Karras et al. 2022, algorithm 1.
    """
    for now, then in _pairs(sigmas):
        clean = denoise(x, now.expand(len(x)))
        slope = (x - clean) / now
        euler = clean + (then / now) * (x - clean)
        if then > 0:
            slope_then = (euler - denoise(euler, then.expand(len(x)))) / then
            x = x + (then - now) * (slope + slope_then) / 2
        else:
            x = euler
    return x


def sample_dpmpp_2m(denoise: Denoise, x: Patches, sigmas: Sigmas) -> Patches:
    """Second order from the memory of the last step; one network call per step.

    Reference:
        Lu et al., "DPM-Solver++", 2022 (arXiv 2211.01095), algorithm 2.
    """
    last: tuple[Tensor, Tensor] | None = None
    for now, then in _pairs(sigmas):
        clean = denoise(x, now.expand(len(x)))
        h = (now / then).log()  # lambda = -log(sigma); infinite in a step to zero
        ahead = clean
        if last is not None and then > 0:
            last_clean, last_h = last
            ahead = clean + (clean - last_clean) * (h / (2 * last_h))
        x = ahead + (then / now) * (x - ahead)
        last = clean, h
    return x


def sample_ancestral(predict_noise: PredictNoise, tables: DDPMTables, draw: DrawNoise, clip: float = 1.0) -> Patches:
    """The published sampler: every step of the schedule, fresh noise in each.

    Args:
        predict_noise: The network with its condition.
        tables: Its schedule.
        draw: Gives the initial noise, then that of each step, the ignored one of the last step included.
        clip: Largest absolute value of clean data.

    Reference:
        Ho et al. 2020 (arXiv 2006.11239), algorithm 2, with clipped clean data.
    """
    *_, x = ancestral_trajectory(predict_noise, tables, draw, clip)
    return x


def ancestral_trajectory(
    predict_noise: PredictNoise, tables: DDPMTables, draw: DrawNoise, clip: float = 1.0
) -> Iterator[Patches]:
    """What `sample_ancestral` has after each step."""
    x = draw()
    for t in reversed(range(len(tables))):
        x = ancestral_step(predict_noise, tables, x, t, draw(), clip)
        yield x


def ancestral_step(
    predict_noise: PredictNoise, tables: DDPMTables, x: Patches, t: int, noise: Patches, clip: float = 1.0
) -> Patches:
    """From step `t` to step `t - 1`; from step 0 to clean data, without noise."""
    steps = torch.full((len(x),), t, device=x.device)
    clean = clean_from_noise(tables, x, steps, predict_noise(x, steps)).clamp(-clip, clip)
    mean = posterior_mean(tables, clean, x, steps)
    return mean + (0.5 * at(tables.posterior_log_variance_clipped, steps)).exp() * noise if t else mean


def gaussian(generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str) -> DrawNoise:
    """Noise from one CPU generator per sample, so that a sample depends on neither its batch nor the device.

    Args:
        generators: One for each sample.
        shape: Channels and voxels of a sample.
        device: Where the noise is used.
    """

    def draw() -> Patches:
        return torch.stack([torch.randn(*shape, generator=generator) for generator in generators]).to(device)

    return draw


def _pairs(sigmas: Sigmas) -> Iterator[tuple[Tensor, Tensor]]:
    return pairwise(sigmas)
