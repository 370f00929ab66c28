"""Preconditioning, noise levels and loss weight of Karras et al. 2022 (arXiv 2206.00364), in the paper's symbols.

`sigma_data` may differ by channel, so that contrasts of different spread share one noise level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.types import Patches


@dataclass(frozen=True)
class Preconditioning:
    """Turns a network of unit input and output into a denoiser.

    Args:
        sigma_data: Standard deviation of the clean data, per channel.
    """

    sigma_data: tuple[float, ...]

    def denoise(
        self, predict: Callable[[Patches, Tensor], Patches], x: Patches, sigma: Float[Tensor, " batch"]
    ) -> Patches:
        """`D(x; sigma)`, equation 7."""
        s, d = sigma[:, None, None, None, None], self._sigma_data(x)
        c_skip = d**2 / (s**2 + d**2)  # Table 1, as all below
        c_out = s * d / (s**2 + d**2).sqrt()
        c_in = 1 / (s**2 + d**2).sqrt()
        c_noise = sigma.log() / 4
        return c_skip * x + c_out * predict(c_in * x, c_noise)

    def weight(self, sigma: Float[Tensor, " batch"], like: Patches) -> Tensor:
        """`lambda(sigma)`: makes every noise level's loss start at one."""
        s, d = sigma[:, None, None, None, None], self._sigma_data(like)
        return (s**2 + d**2) / (s * d) ** 2

    def _sigma_data(self, like: Tensor) -> Tensor:
        return torch.tensor(self.sigma_data, dtype=like.dtype, device=like.device).view(1, -1, 1, 1, 1)


def karras_sigmas(num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Float[Tensor, " steps"]:
    """`num_steps` falling noise levels, equation 5, without the zero that ends them."""
    ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return ((high + ramp * (low - high)) ** rho).float()


def training_sigmas(count: int, mean: float, spread: float, generator: torch.Generator) -> Float[Tensor, " count"]:
    """Log-normal noise levels, Table 1."""
    return (mean + spread * torch.randn(count, generator=generator)).exp()
