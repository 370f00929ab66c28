"""Attention of the published network: along the frames at each position, and within each frame.

Module and attribute names are those of the published state dictionaries. Tensors are `(batch, channels, frames, i, j)`.

Reference:
    Ho et al., "Video Diffusion Models", 2022 (factorised space-time attention); Shen et al., "Efficient Attention",
    2021 (linear attention); Su et al., "RoFormer", 2021 (rotary embedding); Raffel et al., "T5", 2020 (relative bias).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

HEADS = 8
HEAD_SIZE = 32
WIDTH = HEADS * HEAD_SIZE
BUCKETS = 32
MAX_DISTANCE = 32
ROTARY_BASE = 10_000

Features = Float[Tensor, "batch channels frames i j"]
Tokens = Float[Tensor, "batch sequences tokens channels"]


class Residual(nn.Module):
    """`x + fn(x)`."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Features, *context: Tensor) -> Features:
        """Add the branch to its input."""
        return x + self.fn(x, *context)


class PreNorm(nn.Module):
    """`fn(norm(x))`."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = ChannelNorm(dim)

    def forward(self, x: Features, *context: Tensor) -> Features:
        """Normalise, then apply."""
        return self.fn(self.norm(x), *context)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each voxel, with a gain and no offset."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, dim, 1, 1, 1))

    def forward(self, x: Features) -> Features:
        """Zero mean and unit variance per voxel, times the gain."""
        variance, mean = torch.var_mean(x, dim=1, unbiased=False, keepdim=True)
        return (x - mean) * (variance + 1e-5).rsqrt() * self.gamma


class AlongFrames(nn.Module):
    """Applies `fn` to the sequence of frames at each position."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Features, *context: Tensor) -> Features:
        """Frames become tokens and come back."""
        batch, channels, frames, i, j = x.shape
        tokens = x.permute(0, 3, 4, 2, 1).reshape(batch, i * j, frames, channels)
        return self.fn(tokens, *context).view(batch, i, j, frames, channels).permute(0, 4, 3, 1, 2)


class WithinFrame(nn.Module):
    """Applies `fn` to the positions of each frame."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Features) -> Features:
        """Positions become tokens and come back."""
        batch, channels, frames, i, j = x.shape
        tokens = x.permute(0, 2, 3, 4, 1).reshape(batch, frames, i * j, channels)
        return self.fn(tokens).view(batch, frames, i, j, channels).permute(0, 4, 1, 2, 3)


class Attention(nn.Module):
    """Softmax attention among the tokens of each sequence.

    Args:
        dim: Channels in and out.
        rotary: Whether positions turn queries and keys.
    """

    def __init__(self, dim: int, *, rotary: bool) -> None:
        super().__init__()
        self.rotary_emb = Rotary() if rotary else None
        self.to_qkv = nn.Linear(dim, 3 * WIDTH, bias=False)
        self.to_out = nn.Linear(WIDTH, dim, bias=False)

    def forward(self, x: Tokens, bias: Float[Tensor, "heads tokens tokens"] | None = None) -> Tokens:
        """Attend; `bias` is added to the logits."""
        heads = self.to_qkv(x).view(*x.shape[:-1], 3, HEADS, HEAD_SIZE)
        q, k, v = heads.flatten(0, 1).permute(2, 0, 3, 1, 4)
        if self.rotary_emb is not None:
            q, k = self.rotary_emb(q), self.rotary_emb(k)
        mask = None if bias is None else bias[None].to(q.dtype)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.to_out(attended.transpose(1, 2).reshape(*x.shape[:-1], WIDTH))


class Rotary(nn.Module):
    """Turns neighbouring pairs of numbers by an angle proportional to the token's position."""

    freqs: Float[Tensor, " pairs"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("freqs", ROTARY_BASE ** (-torch.arange(0, HEAD_SIZE, 2) / HEAD_SIZE))

    def forward(self, x: Float[Tensor, "*batch tokens size"]) -> Float[Tensor, "*batch tokens size"]:
        """Rotate; positions are 0, 1, 2, ... along the tokens."""
        angles = torch.arange(x.shape[-2], device=x.device)[:, None] * self.freqs
        turn = torch.polar(torch.ones_like(angles), angles)  # a pair is a complex number: one product, no copies
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


class LinearAttention(nn.Module):
    """Attention within each frame whose cost grows linearly with the number of positions."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_qkv = nn.Conv2d(dim, 3 * WIDTH, 1, bias=False)
        self.to_out = nn.Conv2d(WIDTH, dim, 1)

    def forward(self, x: Features) -> Features:
        """Attend."""
        batch, channels, frames, i, j = x.shape
        images = x.transpose(1, 2).reshape(batch * frames, channels, i, j)
        q, k, v = self.to_qkv(images).view(batch * frames, 3, HEADS, HEAD_SIZE, i * j).unbind(1)
        q = q.softmax(dim=-2) * HEAD_SIZE**-0.5
        summary = k.softmax(dim=-1) @ v.transpose(-1, -2)
        attended = (summary.transpose(-1, -2) @ q).view(batch * frames, WIDTH, i, j)
        return self.to_out(attended).view(batch, frames, channels, i, j).transpose(1, 2)


class RelativeBias(nn.Module):
    """A learned number per head and bucket of distance between two frames, fine for near ones, coarse for far ones."""

    def __init__(self) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, HEADS)

    def forward(self, frames: int) -> Float[Tensor, "heads frames frames"]:
        """Bias of query (row) and key (column)."""
        position = torch.arange(frames, device=self.relative_attention_bias.weight.device)
        return self.relative_attention_bias(bucket(position[None] - position[:, None])).permute(2, 0, 1)


def bucket(offset: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Bucket of the offset from query to key: half of them for each sign, exact below 8, logarithmic up to 32.

    Reference:
        Raffel et al. 2020, section 2.1.
    """
    half, exact = BUCKETS // 2, BUCKETS // 4
    distance = offset.abs()
    octave = torch.log(distance.clamp(min=1) / exact) / math.log(MAX_DISTANCE / exact)
    far = (exact + (octave * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(distance < exact, distance, far) + half * (offset > 0)
