"""DiffMask, the default: draws a lesion's mask inside its control sphere in a few network calls.

The published model diffuses binary masks, which few-step sampling leaves speckled. This one diffuses the signed distance
to the lesion's surface, which is smooth, and cuts it at the level that gives the wanted volume: size is the prior's
business, shape the network's. Noise, loss and mask are confined to the control sphere and to eligible tissue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cc3d
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.diffusion.edm import Preconditioning, karras_sigmas
from lesionaug.diffusion.samplers import sample_euler
from lesionaug.models.base import PATCH_SHAPES, MaskConditions, patch_offsets_mm
from lesionaug.networks.compact import CompactConfig, CompactUNet
from lesionaug.types import Mask, Patches, PatchMasks

FIELD_LIMIT = 2.0  # voxels; distances beyond say nothing about the surface
FIELD_MEAN = -0.5  # of the scaled distance in control spheres; diffusion wants centred data


@dataclass(frozen=True)
class DiffMaskConfig:
    """What a checkpoint needs to know besides its weights.

    Args:
        sigma_data: Spread of the distance field in the control sphere.
        sigma_min: Noise level of the last network call.
        sigma_max: Noise level of the first.
        num_steps: Network calls per lesion.
        widths: Of the network.
        blocks: Of the network.
        spacing_mm: Of the patches.
    """

    sigma_data: tuple[float, ...] = (0.42,)
    sigma_min: float = 0.1
    sigma_max: float = 4.0
    num_steps: int = 4
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 2
    spacing_mm: float = 1.0

    @classmethod
    def from_dict(cls, values: dict) -> DiffMaskConfig:
        """From JSON; keys that are not the configuration's are left."""
        known = {field.name for field in fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known})

    @property
    def network(self) -> CompactConfig:
        """Size of the network: noisy field, distance to the sphere's surface and allowed tissue in; the field out."""
        return CompactConfig(in_channels=3, out_channels=1, facts=3, widths=self.widths, blocks=self.blocks)


@dataclass(frozen=True)
class DrawProblem:
    """`MaskConditions` as the network sees them; training and sampling both start here.

    Args:
        room: Where the mask may be: allowed tissue in the control sphere.
        context: All input channels but the noisy field.
        facts: Per lesion: log volume, log extent, and how much of the sphere the lesion fills.
    """

    room: PatchMasks
    context: Patches
    facts: Float[Tensor, "batch facts"]


def pose(conditions: MaskConditions, spacing_mm: float) -> DrawProblem:
    """Put a drawing job into the network's terms."""
    allowed = conditions.allowed
    extent = conditions.extent_mm.to(allowed.device) / spacing_mm
    volume = conditions.volume_mm3.to(allowed.device) / spacing_mm**3
    distance = patch_offsets_mm(allowed.shape[2:], 1.0).norm(dim=0).to(extent)
    inside = (extent / 2).view(-1, 1, 1, 1, 1) - distance[None, None]
    context = torch.cat([(inside / 4).clamp(-2, 2), allowed.float()], dim=1)
    facts = torch.stack([volume.log() / 4, extent.log() / 2, (volume / extent**3).log() / 2], dim=1)
    return DrawProblem(allowed & (inside >= 0), context, facts)


def predictor(network: CompactUNet, problem: DrawProblem):
    """The network's part of a denoiser."""

    def predict(x: Patches, noise: Tensor) -> Patches:
        return network(torch.cat([x * problem.room, problem.context], dim=1), noise, problem.facts) * problem.room

    return predict


@dataclass(frozen=True)
class DiffMask:
    """A `MaskGenerator`."""

    network: CompactUNet
    config: DiffMaskConfig
    num_steps: int
    patch_shapes: tuple[tuple[int, int, int], ...] = PATCH_SHAPES

    @classmethod
    def from_checkpoint(
        cls, config: dict, state: dict[str, Tensor], *, device: torch.device | str = "cpu", num_steps: int | None = None
    ) -> DiffMask:
        """From what `lesionaug.models.checkpoints` read."""
        settings = DiffMaskConfig.from_dict(config)
        network = CompactUNet(settings.network)
        network.load_state_dict({name: value.float() for name, value in state.items()})
        network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last_3d)
        return cls(network, settings, num_steps or settings.num_steps)

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return self.config.spacing_mm

    def __call__(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> PatchMasks:
        """See `MaskGenerator`."""
        problem = pose(conditions, self.spacing_mm)
        field = self.sample(problem, generators).cpu()
        voxels = (conditions.volume_mm3 / self.spacing_mm**3).round().int().clamp(min=1).tolist()
        masks = [cut_at_volume(f, room, n) for f, room, n in zip(field, problem.room.cpu(), voxels, strict=True)]
        return torch.stack(masks).to(conditions.allowed.device)

    def sample(self, problem: DrawProblem, generators: Sequence[torch.Generator]) -> Patches:
        """Distance fields, positive inside the lesion."""
        shape = problem.room.shape[1:]
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(problem.context)
        sigmas = karras_sigmas(self.num_steps, self.config.sigma_min, self.config.sigma_max).to(noise)
        precondition, predict = Preconditioning(self.config.sigma_data), predictor(self.network, problem)

        def denoise(x: Patches, sigma: Tensor) -> Patches:
            with torch.autocast(x.device.type, dtype=torch.bfloat16):
                predicted = precondition.denoise(predict, x, sigma.expand(x.shape[0]))
            return predicted.float()

        return sample_euler(denoise, noise * sigmas[0], torch.cat([sigmas, sigmas.new_zeros(1)]))


def cut_at_volume(field: Float[Tensor, "1 i j k"], room: Mask, voxels: int) -> Mask:
    """The connected piece of so many voxels that a falling threshold on the field finds first.

    The threshold is lowered until the largest connected component (26 neighbours) has the wanted volume; the
    component's lowest voxels are left out where a step overshoots. Where the room is too small, all that connects is
    taken.
    """
    values = torch.where(room, field, -torch.inf)[0].numpy()
    order = np.sort(values[np.isfinite(values)])[::-1]
    if not order.size:
        return torch.zeros_like(room)
    piece = _largest_piece(values >= order[_fewest(values, order, voxels)])
    return torch.from_numpy(_trim(piece, values, voxels))[None]


def _fewest(values: np.ndarray, order: np.ndarray, voxels: int) -> int:
    """Rank of the highest threshold at which the largest piece is large enough, by bisection."""
    low, high = min(voxels, order.size) - 1, order.size - 1
    while low < high:
        middle = (low + high) // 2
        if _largest_piece(values >= order[middle]).sum() >= voxels:
            high = middle
        else:
            low = middle + 1
    return low


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    pieces = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def _trim(piece: np.ndarray, values: np.ndarray, voxels: int) -> np.ndarray:
    """Drop the lowest voxels of a piece that is too large, unless that would break it."""
    surplus = int(piece.sum()) - voxels
    if surplus <= 0:
        return piece
    threshold = np.sort(values[piece])[surplus]
    trimmed = _largest_piece(piece & (values >= threshold))
    return trimmed if trimmed.sum() >= 0.9 * voxels else piece
