"""The default network: a small 3-D U-Net at full resolution, steered by a vector.

    patch channels ──► stem ─► level ─► level ─► level ─► ... ─► head ──► prediction
    noise level,            (residual blocks, scaled and shifted by the vector)
    lesion facts  ──► MLP ──┘

Lesions are a few voxels wide, so nothing is gained by compressing the patch first: an input unshuffled by two needed
four times the iterations for the same error (see `docs/architecture.md`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class CompactConfig:
    """Size of the network.

    Args:
        in_channels: Of the patch it sees.
        out_channels: Of the patch it predicts.
        facts: Length of the vector that steers it, the noise level apart.
        widths: Channels at full, half, quarter ... resolution; patches are multiples of `2 ** (len(widths) - 1)`.
        blocks: Residual blocks per level.
    """

    in_channels: int
    out_channels: int
    facts: int
    widths: tuple[int, ...] = (24, 48, 96)
    blocks: int = 2


class CompactUNet(nn.Module):
    """`(patch, noise level, facts) -> prediction`."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        widths, vector = config.widths, 4 * config.widths[0]
        self.embed = nn.Sequential(
            nn.Linear(NOISE_FEATURES + config.facts, vector), nn.SiLU(), nn.Linear(vector, vector)
        )
        self.stem = Convolution(config.in_channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(
            _level(widths[max(n - 1, 0)], widths[n], vector, config.blocks) for n in range(len(widths))
        )
        self.middle = ResidualBlock(widths[-1], widths[-1], vector)
        self.decoder = nn.ModuleList(
            _level(widths[n + 1] + widths[n], widths[n], vector, config.blocks)
            for n in reversed(range(len(widths) - 1))
        )
        self.head = nn.Sequential(
            nn.GroupNorm(8, widths[0]), nn.SiLU(), _silent(Convolution(widths[0], config.out_channels, 3, padding=1))
        )

    def forward(
        self,
        patch: Float[Tensor, "batch known i j k"],
        noise: Float[Tensor, " batch"],
        facts: Float[Tensor, "batch facts"],
    ) -> Float[Tensor, "batch predicted i j k"]:
        """Predict.

        Args:
            patch: Everything known per voxel.
            noise: `c_noise` of Karras et al. 2022, Table 1.
            facts: Everything known per lesion.
        """
        vector = self.embed(torch.cat([noise_features(noise), facts], dim=1))
        x, skips = self.stem(patch), []
        for depth, level in enumerate(self.encoder):
            x = _run(level, F.avg_pool3d(x, 2) if depth else x, vector)
            skips.append(x)
        x = self.middle(skips.pop(), vector)
        for level in self.decoder:
            x = _run(level, torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], dim=1), vector)
        return self.head(x)


def restore(config: CompactConfig, state: Mapping[str, Tensor], device: torch.device | str) -> CompactUNet:
    """A network to sample with: single precision, no gradients, laid out for fast convolutions."""
    network = CompactUNet(config)
    network.load_state_dict({name: value.float() for name, value in state.items()})
    return channels_last(network.eval().requires_grad_(False).to(device))


def channels_last(network: CompactUNet) -> CompactUNet:
    """The network itself, laid out for fast convolutions."""
    # torch documents this argument of Module.to, but its overloads have it only beside a tensor.
    return network.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]


class Convolution(nn.Conv3d):
    """A convolution that oneDNN computes on a processor, however small the patch.

    torch hands a single small patch in single precision to a routine that takes ten times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        """See `torch.nn.Conv3d`."""
        padding = self.padding
        if isinstance(padding, str) or _left_to_torch(input):
            return super().forward(input)
        return torch.mkldnn_convolution(input, self.weight, self.bias, padding, self.stride, self.dilation, self.groups)


def _left_to_torch(x: Tensor) -> bool:
    """Whether gradients, another precision or another device are wanted, or there is no oneDNN."""
    single = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return torch.is_grad_enabled() or x.device.type != "cpu" or not single or not torch.backends.mkldnn.is_available()


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut; the vector scales and shifts between them (Perez et al. 2018, FiLM)."""

    def __init__(self, in_channels: int, out_channels: int, vector: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(8, in_channels)
        self.conv_in = Convolution(in_channels, out_channels, 3, padding=1)
        self.film = nn.Linear(vector, 2 * out_channels)
        self.norm_out = nn.GroupNorm(8, out_channels)
        self.conv_out = _silent(Convolution(out_channels, out_channels, 3, padding=1))
        self.shortcut = nn.Identity() if in_channels == out_channels else Convolution(in_channels, out_channels, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`x` plus what the block adds."""
        scale, shift = self.film(F.silu(vector))[..., None, None, None].chunk(2, dim=1)
        hidden = self.conv_in(F.silu(self.norm_in(x)))
        hidden = self.conv_out(F.silu(self.norm_out(hidden) * (1 + scale) + shift))
        return self.shortcut(x) + hidden


NOISE_FEATURES = 16


def noise_features(noise: Float[Tensor, " batch"]) -> Float[Tensor, "batch features"]:
    """Sines and cosines of the noise level, from slow to fast."""
    frequencies = torch.exp2(torch.arange(NOISE_FEATURES // 2, device=noise.device) / 2) * math.pi / 4
    angles = noise[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _level(in_channels: int, out_channels: int, vector: int, blocks: int) -> nn.ModuleList:
    sizes = [in_channels, *[out_channels] * blocks]
    return nn.ModuleList(ResidualBlock(a, b, vector) for a, b in pairwise(sizes))


def _silent(convolution: nn.Conv3d) -> nn.Conv3d:
    """The convolution itself, that starts with zeros."""
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


def _run(level: nn.Module, x: Tensor, vector: Tensor) -> Tensor:
    for block in level.children():
        x = block(x, vector)
    return x
