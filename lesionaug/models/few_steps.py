"""Sampling as both compact models do it: a few deterministic steps from one draw of noise per lesion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from lesionaug.diffusion.edm import Preconditioning, karras_sigmas
from lesionaug.diffusion.samplers import sample_dpmpp_2m
from lesionaug.types import Patches


def sample_in_few_steps(
    predict: Callable[[Patches, Tensor], Patches],
    precondition: Preconditioning,
    sigmas: tuple[float, float, int],
    like: Patches,
    generators: Sequence[torch.Generator],
) -> Patches:
    """Clean patches from noise, by DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2).

    Second order for the price of first: at four calls the masks' sphericity is off by half as much as with Euler steps.

    Args:
        predict: The network, with all that it knows of the lesions.
        precondition: Makes a denoiser of it.
        sigmas: Lowest and highest noise level, and the number of network calls.
        like: Patches of the result's shape, on its device.
        generators: One per lesion, on the CPU, so that a lesion is the same on every device.
    """
    low, high, num_steps = sigmas
    levels = karras_sigmas(num_steps, low, high).to(like)
    noise = torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators]).to(like)

    def denoise(x: Patches, sigma: Tensor) -> Patches:
        with network_precision(x.device):
            denoised = precondition.denoise(predict, x, sigma)
        return denoised.float()

    return sample_dpmpp_2m(denoise, noise * levels[0], torch.cat([levels, levels.new_zeros(1)]))


def network_precision(device: torch.device) -> AbstractContextManager:
    """bfloat16 where the hardware multiplies it, which is several times faster; single precision elsewhere."""
    if device.type == "meta":  # sizes are asked for, nothing is computed
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16; a processor that only imitates it takes tens of times as long."""
    if device.type != "cpu":
        return True
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
