"""The published noise schedule: twelve tables over discrete steps, and the arithmetic of one step with them.

A step `t` counts from 0, the least noisy, to `num_steps - 1`.

Reference:
    Ho et al., "DDPM", 2020 (arXiv 2006.11239); Nichol & Dhariwal, "Improved DDPM", 2021 (arXiv 2102.09672).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lesionaug.types import Patches

OFFSET = 0.008  # keeps the first steps from being vanishingly small
MAX_BETA = 0.9999

Table = Float[Tensor, " steps"]
Step = Int[Tensor, " batch"]


@dataclass(frozen=True)
class DDPMTables:
    """Everything the published samplers look up, under the names of the published buffers."""

    betas: Table
    alphas_cumprod: Table
    alphas_cumprod_prev: Table
    sqrt_alphas_cumprod: Table
    sqrt_one_minus_alphas_cumprod: Table
    log_one_minus_alphas_cumprod: Table
    sqrt_recip_alphas_cumprod: Table
    sqrt_recipm1_alphas_cumprod: Table
    posterior_variance: Table
    posterior_log_variance_clipped: Table
    posterior_mean_coef1: Table
    posterior_mean_coef2: Table

    def __len__(self) -> int:
        return len(self.betas)

    @property
    def sigmas(self) -> Table:
        """Noise level of each step in units of the clean data, rising; Karras et al. 2022, equation 52."""
        return self.sqrt_recipm1_alphas_cumprod

    def to(self, device: torch.device | str) -> DDPMTables:
        """The same tables on another device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def cosine_betas(num_steps: int) -> Float[Tensor, " steps"]:
    """Share of noise that each step adds, in double precision; Improved DDPM, equation 17.

    Args:
        num_steps: T.
    """
    s = OFFSET
    steps = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    alpha_bar = torch.cos((steps + s) / (1 + s) * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(0, MAX_BETA)


def cosine_tables(num_steps: int) -> DDPMTables:
    """Tables of the cosine schedule, computed in double and kept in single precision.

    Args:
        num_steps: T.
    """
    beta = cosine_betas(num_steps)
    alpha = 1 - beta
    bar = alpha.cumprod(0)
    bar_prev = torch.cat((bar.new_ones(1), bar[:-1]))
    posterior_variance = beta * (1 - bar_prev) / (1 - bar)  # DDPM, equation 7, as the two coefficients
    tables = DDPMTables(
        betas=beta,
        alphas_cumprod=bar,
        alphas_cumprod_prev=bar_prev,
        sqrt_alphas_cumprod=bar.sqrt(),
        sqrt_one_minus_alphas_cumprod=(1 - bar).sqrt(),
        log_one_minus_alphas_cumprod=(1 - bar).log(),
        sqrt_recip_alphas_cumprod=(1 / bar).sqrt(),
        sqrt_recipm1_alphas_cumprod=(1 / bar - 1).sqrt(),
        posterior_variance=posterior_variance,
        posterior_log_variance_clipped=posterior_variance.clamp(min=1e-20).log(),
        posterior_mean_coef1=beta * bar_prev.sqrt() / (1 - bar),
        posterior_mean_coef2=(1 - bar_prev) * alpha.sqrt() / (1 - bar),
    )
    return replace(tables, **{field.name: getattr(tables, field.name).float() for field in fields(tables)})


def add_noise(tables: DDPMTables, clean: Patches, t: Step, noise: Patches) -> Patches:
    """From clean to step `t` at once; DDPM, equation 4."""
    return at(tables.sqrt_alphas_cumprod, t) * clean + at(tables.sqrt_one_minus_alphas_cumprod, t) * noise


def add_step_noise(tables: DDPMTables, x: Patches, t: Step, noise: Patches) -> Patches:
    """From step `t - 1` to step `t`; DDPM, equation 2."""
    beta = at(tables.betas, t)
    return (1 - beta).sqrt() * x + beta.sqrt() * noise


def clean_from_noise(tables: DDPMTables, x: Patches, t: Step, noise: Patches) -> Patches:
    """The clean data, were `noise` the noise in `x`; `add_noise` solved for `clean`."""
    return at(tables.sqrt_recip_alphas_cumprod, t) * x - at(tables.sqrt_recipm1_alphas_cumprod, t) * noise


def posterior_mean(tables: DDPMTables, clean: Patches, x: Patches, t: Step) -> Patches:
    """Mean of step `t - 1` given step `t` and the clean data; DDPM, equation 7."""
    return at(tables.posterior_mean_coef1, t) * clean + at(tables.posterior_mean_coef2, t) * x


def at(table: Table, t: Step) -> Float[Tensor, "batch 1 1 1 1"]:
    """Entries of a table, shaped to multiply patches."""
    return table[t][:, None, None, None, None]
