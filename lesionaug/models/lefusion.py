"""LeFusion, the default: paints lesion tissue into a hole of the healthy tissue in a few network calls.

What the lesion-focused diffusion model of Zhang et al. 2024 (arXiv 2403.14066) does by resampling the background again
and again, this one does by seeing it: the tissue around the hole is an input, the loss is taken inside the lesion
alone, and nothing else is ever written. Three choices carry it (`docs/architecture.md` has the measurements):

* It predicts the difference from a plateau of the wanted contrast, as blurred as the scan (`compositing.py`), not
  intensities. Around the label the plateau goes on, without texture of its own.
* Diffusion ends at the noise level of the scan. The last noise is the host's own grain, which is where a scanner would
  have put it, so that a lesion is as grainy as the tissue around it.
* Everything is measured from the tissue around the lesion, in units of the scan's robust scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lesionaug.diffusion.edm import Preconditioning
from lesionaug.intensity import ring
from lesionaug.models.base import PATCH_SHAPES, PaintConditions
from lesionaug.models.checkpoints import settings_from
from lesionaug.models.compositing import continued, mean_in, opacity, within
from lesionaug.models.few_steps import sample_in_few_steps
from lesionaug.models.grain import grain_level, grain_of, masked_median, scanner_blur, smooth_tissue
from lesionaug.networks.compact import CompactConfig, CompactUNet, restore
from lesionaug.types import Patches, PatchMasks

BACKGROUND_LIMIT = 6.0  # robust units; fat, vessels and artefacts beyond tell a lesion nothing
LEAST_SHOWN = 0.05
REPLACES = 0.8  # robust units of contrast from which on nothing of the tissue below is left
GRAIN_LIMIT = 3.0  # standard deviations; what is beyond is anatomy, not noise


@dataclass(frozen=True)
class LeFusionConfig:
    """What a checkpoint needs to know besides its weights.

    Args:
        channels: Contrasts painted; any subset may be present in a scan.
        sigma_data: Spread of the residual in each channel, robust units.
        sigma_min: Noise level of the last network call.
        sigma_max: Noise level of the first.
        num_steps: Network calls per lesion.
        grain: Share of the host's grain that is kept in the lesion, per channel.
        texture: Blur of what the network has painted, over that of the scan: few steps leave it rougher than a scan is.
        widths: Of the network.
        blocks: Of the network.
        spacing_mm: Of the patches.
    """

    channels: tuple[str, ...] = ("flair", "t1w", "t2w")
    sigma_data: tuple[float, ...] = (0.57, 0.3, 0.62)
    sigma_min: float = 0.2
    sigma_max: float = 3.0
    num_steps: int = 2
    grain: tuple[float, ...] = (1.0, 0.7, 1.0)
    texture: float = 0.6
    widths: tuple[int, ...] = (24, 48, 96)
    blocks: int = 1
    spacing_mm: float = 1.0

    @property
    def network(self) -> CompactConfig:
        """Size of the network: noisy region, background, plateau, mask and brain in; the region out."""
        n = len(self.channels)
        return CompactConfig(
            in_channels=3 * n + 2, out_channels=n, facts=5 * n + 1, widths=self.widths, blocks=self.blocks
        )


@dataclass(frozen=True)
class PaintProblem:
    """`PaintConditions` as the network sees them; training and sampling both start here.

    Args:
        level: Median of the tissue around each lesion, the zero of all that follows.
        shown: Opacity of the lesion, over its mean in the mask.
        plateau: Lesion of the wanted contrast and no texture.
        blur: Of the scan around each lesion along each axis, mm.
        context: All input channels but the noisy region.
        facts: Per lesion: contrast and whether it is known, whether the channel is there, grain, log volume, blur.
        mask: Where to paint.
        present: Channels the scan has.
    """

    level: Float[Tensor, "batch channels"]
    shown: Patches
    plateau: Patches
    blur: Float[Tensor, "batch channels 3"]
    context: Patches
    facts: Float[Tensor, "batch facts"]
    mask: PatchMasks
    present: Bool[Tensor, "batch channels"]

    @property
    def active(self) -> Tensor:
        """Voxels and channels that are predicted."""
        return self.mask & self.present[:, :, None, None, None]


def pose(
    conditions: PaintConditions,
    channels: tuple[str, ...],
    known: Bool[Tensor, "batch channels"] | None = None,
) -> PaintProblem:
    """Put a paint job into the network's terms; what lies under the mask is never looked at.

    Args:
        conditions: The job.
        channels: Of the model; those the scan has not are empty.
        known: Model channels whose contrast is told to the network, all of the scan's if not given.
    """
    background, contrast, present = _spread(conditions, channels)
    known = present if known is None else known & present
    contrast = torch.where(known, contrast, 0)
    tissue = conditions.brain & ~conditions.mask
    level = masked_median(background, ring(conditions.mask, tissue))
    visible = tissue & present[:, :, None, None, None]
    relative = (background - level[:, :, None, None, None]).clamp(-BACKGROUND_LIMIT, BACKGROUND_LIMIT) * visible
    blur = _blur_of(conditions, background, tissue, channels)
    shown = opacity(conditions.mask, blur, channels)
    shown = shown / mean_in(shown, conditions.mask).clamp(min=LEAST_SHOWN)
    plateau = shown * contrast[:, :, None, None, None] * conditions.mask
    spread = grain_level(background, tissue, conditions.mask) * present
    volume = conditions.mask.flatten(1).sum(dim=1, keepdim=True).float()
    blurred = blur.mean(dim=2) * present
    size = volume.clamp(min=1).log() / 4
    facts = torch.cat([contrast / 2, known.float(), present.float(), spread, size, blurred], dim=1)
    context = torch.cat([relative, plateau, conditions.mask.float(), conditions.brain.float()], dim=1)
    return PaintProblem(level, shown, plateau, blur, context, facts, conditions.mask, present)


def _blur_of(
    conditions: PaintConditions, background: Patches, tissue: PatchMasks, channels: tuple[str, ...]
) -> Float[Tensor, "batch channels 3"]:
    if conditions.blur is None:
        return scanner_blur(background, tissue, conditions.mask)
    blur = background.new_zeros(*background.shape[:2], 3)
    blur[:, [channels.index(channel) for channel in conditions.channels]] = conditions.blur.to(blur)
    return blur


def predictor(network: CompactUNet, problem: PaintProblem):
    """The network's part of a denoiser: the noisy region goes in with all that is known of the lesion."""

    def predict(x: Patches, noise: Tensor) -> Patches:
        return network(torch.cat([x * problem.active, problem.context], dim=1), noise, problem.facts) * problem.active

    return predict


@dataclass(frozen=True)
class LeFusion:
    """An `Inpainter`."""

    network: CompactUNet
    config: LeFusionConfig
    num_steps: int
    patch_shapes: tuple[tuple[int, int, int], ...] = PATCH_SHAPES

    @classmethod
    def from_checkpoint(
        cls, config: dict, state: dict[str, Tensor], *, device: torch.device | str = "cpu", num_steps: int | None = None
    ) -> LeFusion:
        """From what `lesionaug.models.checkpoints` read."""
        settings = settings_from(LeFusionConfig, config)
        return cls(restore(settings.network, state, device), settings, num_steps or settings.num_steps)

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return self.config.spacing_mm

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts that can be painted."""
        return self.config.channels

    def __call__(self, conditions: PaintConditions, generators: Sequence[torch.Generator]) -> Patches:
        """See `Inpainter`."""
        problem = pose(conditions, self.channels)
        return self.finish(conditions, problem, self.sample(problem, generators))

    def finish(self, conditions: PaintConditions, problem: PaintProblem, lesion: Patches) -> Patches:
        """The patch with a sampled lesion in it: as blurred and as grainy as the scan, of the contrast asked for."""
        own = [self.channels.index(channel) for channel in conditions.channels]
        mask, shown = conditions.mask, problem.shown[:, own]
        texture = within(lesion[:, own], mask, self._texture_blur(problem)[:, own])
        level = problem.level[:, own, None, None, None]
        replaced = (conditions.contrast.abs() / REPLACES).clamp(max=1)[:, :, None, None, None]
        # What hardly shows in a channel leaves the tissue there as it was.
        left = (1 - replaced) * (smooth_tissue(conditions.background, conditions.brain) - level) * mask
        change = problem.plateau[:, own] + left + replaced * texture + self._grain(conditions)
        wanted = conditions.contrast[:, :, None, None, None]
        change = change + (wanted - mean_in(change, mask)) * shown * mask
        painted = level + change
        # A voxel beside the label is healthy tissue, with as much of the lesion's change as partial volume says.
        strength = continued(change, mask) / continued(shown, mask).clamp(min=LEAST_SHOWN)
        halo = conditions.background + shown * strength
        beyond = self._beyond(conditions) & (shown > 0) & conditions.brain
        return torch.where(mask, painted, torch.where(beyond, halo, conditions.background))

    def _texture_blur(self, problem: PaintProblem) -> Float[Tensor, "batch channels 3"]:
        return self.config.texture * problem.blur

    def _beyond(self, conditions: PaintConditions) -> PatchMasks:
        """Lesions that may have a halo."""
        if conditions.halo is None:
            return torch.zeros_like(conditions.mask)
        return conditions.halo.to(conditions.mask.device)[:, None, None, None, None].expand_as(conditions.mask)

    def sample(self, problem: PaintProblem, generators: Sequence[torch.Generator]) -> Patches:
        """The lesion's difference from the plateau, down to the noise level at which the host's grain takes over."""
        config = self.config
        return (
            sample_in_few_steps(
                predictor(self.network, problem),
                Preconditioning(config.sigma_data),
                (config.sigma_min, config.sigma_max, self.num_steps),
                problem.plateau,
                generators,
            )
            * problem.active
        )

    def _grain(self, conditions: PaintConditions) -> Patches:
        """The host's own noise where the lesion will be; anatomy that a lesion replaces is cut off."""
        level = grain_level(conditions.background, conditions.brain & ~conditions.mask, conditions.mask)
        limit = GRAIN_LIMIT * level[:, :, None, None, None]
        grain = grain_of(conditions.background, conditions.brain)
        share = self._per_channel(self.config.grain, conditions.channels).to(grain)[:, None, None, None]
        return share * torch.maximum(torch.minimum(grain, limit), -limit)

    def _per_channel(self, values: tuple[float, ...], channels: tuple[str, ...]) -> Float[Tensor, " channels"]:
        return torch.tensor([values[self.channels.index(channel)] for channel in channels])


def _spread(conditions: PaintConditions, channels: tuple[str, ...]) -> tuple[Patches, Tensor, Tensor]:
    """Background, contrast and presence in the model's channels."""
    batch, _, *shape = conditions.background.shape
    background = conditions.background.new_zeros(batch, len(channels), *shape)
    contrast = conditions.contrast.new_zeros(batch, len(channels))
    present = torch.zeros(batch, len(channels), dtype=torch.bool, device=background.device)
    own = [channels.index(channel) for channel in conditions.channels]
    background[:, own], contrast[:, own], present[:, own] = conditions.background, conditions.contrast, True
    return background, contrast, present
