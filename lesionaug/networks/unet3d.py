"""The network of the published DiffMask and LeFusion: a U-Net of frames that meet in temporal attention only.

All convolutions are 1 x n x n; the first patch axis, the frames, is mixed by attention at each position. The names
of modules are those of the published state dictionaries, so that their weights load as they are.

Reference:
    Zhang et al., "LeFusion", ICLR 2025; Ho et al., "Video Diffusion Models", 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

from lesionaug.networks.attention import (
    AlongFrames,
    Attention,
    Features,
    LinearAttention,
    PreNorm,
    RelativeBias,
    Residual,
    WithinFrame,
)

FeaturesOut = Float[Tensor, "batch channels_out frames i j"]

GROUPS = 8
STEP_BASE = 10_000


@dataclass(frozen=True)
class Unet3DConfig:
    """Size of the network; the defaults are those of the published MS models.

    Args:
        dim: Channels of the finest level.
        dim_mults: Channels of each level in multiples of `dim`; each level but the last halves the frame's sides.
        in_channels: Noisy channels and what they are conditioned on.
        out_channels: Noisy channels.
        condition_size: Numbers in the condition vector; 0 for a network without one.
    """

    dim: int = 64
    dim_mults: tuple[int, ...] = (1, 2, 4, 8)
    in_channels: int = 1
    out_channels: int = 1
    condition_size: int = 0


class Unet3D(nn.Module):
    """Predicts the noise in a patch.

    Args:
        config: Its size.
    """

    def __init__(self, config: Unet3DConfig) -> None:
        super().__init__()
        self.config = config
        dim, embedding = config.dim, 4 * config.dim
        widths = [dim, *(dim * mult for mult in config.dim_mults)]
        levels = list(pairwise(widths))
        context, deepest = embedding + config.condition_size, widths[-1]
        if config.condition_size:
            self.null_cond_emb = nn.Parameter(torch.randn(1, config.condition_size))
        self.time_rel_pos_bias = RelativeBias()
        self.init_conv = nn.Conv3d(config.in_channels, dim, (1, 7, 7), padding=(0, 3, 3))
        self.init_temporal_attn = _temporal_attention(dim)
        self.time_mlp = nn.Sequential(
            StepEmbedding(dim), nn.Linear(dim, embedding), nn.GELU(), nn.Linear(embedding, embedding)
        )
        self.downs = nn.ModuleList(
            _level(narrow, wide, context, nn.Conv3d if wide != deepest else None) for narrow, wide in levels
        )
        self.mid_block1 = ResidualBlock(deepest, deepest, context)
        self.mid_spatial_attn = Residual(PreNorm(deepest, WithinFrame(Attention(deepest, rotary=False))))
        self.mid_temporal_attn = _temporal_attention(deepest)
        self.mid_block2 = ResidualBlock(deepest, deepest, context)
        self.ups = nn.ModuleList(
            _level(2 * wide, narrow, context, nn.ConvTranspose3d if index else None)
            for index, (narrow, wide) in reversed(list(enumerate(levels)))
        )
        self.final_conv = nn.Sequential(ResidualBlock(2 * dim, dim), nn.Conv3d(dim, config.out_channels, 1))

    def forward(
        self,
        x: Features,
        t: Num[Tensor, " batch"],
        condition: Float[Tensor, "rows size"] | None = None,
    ) -> FeaturesOut:
        """The noise in `x`.

        Args:
            x: Noisy channels, then those they are conditioned on. Sides of a frame must be divisible by
                two to the number of levels minus one.
            t: Step of the published schedule; between two steps, a fraction.
            condition: One row for each sample or one for all; the last unit vector where none is given, as published.
        """
        bias = self.time_rel_pos_bias(x.shape[2])
        context = self._context(t, condition)
        x = self.init_conv(x)
        skips = [x]
        x = self.init_temporal_attn(x, bias)
        for level in self.downs:
            block1, block2, spatial, temporal, downsample = level.children()
            x = temporal(spatial(block2(block1(x, context), context)), bias)
            skips.append(x)
            x = downsample(x)
        x = self.mid_temporal_attn(self.mid_spatial_attn(self.mid_block1(x, context)), bias)
        x = self.mid_block2(x, context)
        for level in self.ups:
            block1, block2, spatial, temporal, upsample = level.children()
            x = torch.cat((x, skips.pop()), dim=1)
            x = upsample(temporal(spatial(block2(block1(x, context), context)), bias))
        return self.final_conv(torch.cat((x, skips.pop()), dim=1))

    def _context(self, t: Tensor, condition: Tensor | None) -> Float[Tensor, "batch size"]:
        step = self.time_mlp(t)
        size = self.config.condition_size
        if not size:
            return step
        if condition is None:
            condition = F.one_hot(t.new_full((1,), size - 1), size).to(step)
        return torch.cat((step, condition.to(step).expand(len(t), -1)), dim=1)


class StepEmbedding(nn.Module):
    """Sines, then cosines, of the step at geometrically spaced frequencies.

    Args:
        dim: Numbers in the embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, t: Num[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        """Embed steps."""
        half = self.dim // 2
        frequencies = torch.exp(torch.arange(half, device=t.device) * (-math.log(STEP_BASE) / (half - 1)))
        angles = t[:, None] * frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class ConvBlock(nn.Module):
    """Convolution, group normalisation, optional scale and shift, SiLU."""

    def __init__(self, dim: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(dim, dim_out, (1, 3, 3), padding=(0, 1, 1))
        self.norm = nn.GroupNorm(GROUPS, dim_out)

    def forward(self, x: Features, scale_shift: Tensor | None = None) -> FeaturesOut:
        """Apply; `scale_shift` has two numbers for each channel out."""
        x = self.norm(self.proj(x))
        if scale_shift is not None:
            scale, shift = scale_shift[:, :, None, None, None].chunk(2, dim=1)
            x = x * (scale + 1) + shift
        return F.silu(x)


class ResidualBlock(nn.Module):
    """Two `ConvBlock`s, the first modulated by the context, and a shortcut.

    Args:
        dim: Channels in.
        dim_out: Channels out.
        context: Numbers in the context; 0 for a block that has none.
    """

    def __init__(self, dim: int, dim_out: int, context: int = 0) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(context, 2 * dim_out)) if context else None
        self.block1 = ConvBlock(dim, dim_out)
        self.block2 = ConvBlock(dim_out, dim_out)
        self.res_conv = nn.Conv3d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x: Features, context: Float[Tensor, "batch size"] | None = None) -> FeaturesOut:
        """Apply."""
        scale_shift = self.mlp(context) if self.mlp is not None else None
        return self.block2(self.block1(x, scale_shift)) + self.res_conv(x)


def _level(dim: int, dim_out: int, context: int, resample: type[nn.Module] | None) -> nn.ModuleList:
    """Blocks of one resolution; `resample` is the convolution that leads to the next."""
    return nn.ModuleList(
        (
            ResidualBlock(dim, dim_out, context),
            ResidualBlock(dim_out, dim_out, context),
            Residual(PreNorm(dim_out, LinearAttention(dim_out))),
            _temporal_attention(dim_out),
            resample(dim_out, dim_out, (1, 4, 4), (1, 2, 2), (0, 1, 1)) if resample else nn.Identity(),
        )
    )


def _temporal_attention(dim: int) -> Residual:
    return Residual(PreNorm(dim, AlongFrames(Attention(dim, rotary=True))))
