"""Two ways to fill a hole: a constraint on any denoiser, and the published RePaint.

Reference:
    Lugmayr et al., "RePaint", CVPR 2022 (arXiv 2201.09865).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from lesionaug.diffusion.denoiser import Denoise, PredictNoise
from lesionaug.diffusion.samplers import DrawNoise, ancestral_step
from lesionaug.diffusion.schedules import DDPMTables, add_noise, add_step_noise
from lesionaug.types import Patches, PatchMasks


def known_background(denoise: Denoise, image: Patches, mask: PatchMasks) -> Denoise:
    """A denoiser that knows everything but the inside of the mask.

    A deterministic sampler that starts from `image + sigma * noise` and ends at zero returns `image` outside the
    mask, bit by bit.

    Args:
        denoise: Knows nothing.
        image: Clean data.
        mask: What to make up.
    """

    def constrained(x: Patches, sigma: Tensor) -> Patches:
        return torch.where(mask, denoise(x, sigma), image)

    return constrained


def repaint_times(num_steps: int, jump_length: int, jump_n_sample: int) -> list[int]:
    """The steps RePaint visits, from the noisiest to -1, which stands for clean data.

    Args:
        num_steps: Steps of the schedule.
        jump_length: How many steps each jump goes back up; jumps start at its multiples.
        jump_n_sample: How often each stretch is denoised in all.
    """
    jumps = dict.fromkeys(range(0, num_steps - jump_length, jump_length), jump_n_sample - 1)
    times, t = [], num_steps
    while t >= 0:
        t -= 1
        times.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            times.extend(range(t + 1, t + jump_length + 1))
            t += jump_length
    return times


def sample_repaint(
    predict_noise: PredictNoise,
    tables: DDPMTables,
    background: Patches,
    mask: PatchMasks,
    draw: DrawNoise,
    times: list[int],
    clip: float = 1.0,
) -> Patches:
    """The published inpainting; outside the mask it comes near the background but is not it.

    Args:
        predict_noise: The network with its condition.
        tables: Its schedule.
        background: Clean data outside the mask.
        mask: What to make up.
        draw: Gives the initial noise, then two of each denoising and one of each noising step.
        times: From `repaint_times`.
        clip: Largest absolute value of clean data.

    Reference:
        Lugmayr et al. 2022, algorithm 1.
    """
    *_, (_, x) = repaint_trajectory(predict_noise, tables, background, mask, draw, times, clip)
    return x


def repaint_trajectory(
    predict_noise: PredictNoise,
    tables: DDPMTables,
    background: Patches,
    mask: PatchMasks,
    draw: DrawNoise,
    times: list[int],
    clip: float = 1.0,
) -> Iterator[tuple[bool, Patches]]:
    """After each transition of `sample_repaint`: whether it took noise away, and what it made."""
    x = draw()
    for now, then in pairwise(times):
        if then < now:
            known = add_noise(tables, background, _steps(x, now), draw())
            x = ancestral_step(predict_noise, tables, torch.where(mask, x, known), now, draw(), clip)
        else:
            x = add_step_noise(tables, x, _steps(x, then), draw())
        yield then < now, x


def _steps(x: Patches, t: int) -> Tensor:
    return torch.full((len(x),), t, device=x.device)
