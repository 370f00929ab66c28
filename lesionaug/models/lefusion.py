"""LeFusion, the default: paints lesion tissue into a hole of the healthy tissue in a few network calls.

What the lesion-focused diffusion model of Zhang et al. 2024 (arXiv 2403.14066) does by resampling the background again
and again, this one does by seeing it: the tissue around the hole is an input, the loss is taken inside the lesion
alone, and nothing else is ever written. Three choices carry it (`docs/architecture.md` has the measurements):

* It predicts the difference from a soft-edged plateau of the wanted contrast, not intensities.
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
from lesionaug.models.few_steps import sample_in_few_steps
from lesionaug.models.grain import blur, grain_level, grain_of, masked_median
from lesionaug.models.softening import Softness, as_blurred_as_the_scan, smooth_tissue
from lesionaug.networks.compact import CompactConfig, CompactUNet, restore
from lesionaug.types import Patches, PatchMasks

BACKGROUND_LIMIT = 6.0  # robust units; fat, vessels and artefacts beyond tell a lesion nothing
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
        softness: Share of a blurred scan's excess blur that the lesion's rim is given, per channel.
        spread: Share of the variation that this blur takes which is given back, per channel.
        peaks: How much further the brightest voxels stand out in a blurred scan, per channel (`Softness`).
        widths: Of the network.
        blocks: Of the network.
        spacing_mm: Of the patches.
    """

    channels: tuple[str, ...] = ("flair", "t1w", "t2w")
    sigma_data: tuple[float, ...] = (0.57, 0.3, 0.62)
    sigma_min: float = 0.2
    sigma_max: float = 3.0
    num_steps: int = 4
    grain: tuple[float, ...] = (1.0, 0.7, 1.0)
    softness: tuple[float, ...] = (0.8, 1.6, 0.6)
    spread: tuple[float, ...] = (0.0, 1.6, 0.0)
    peaks: tuple[float, ...] = (1.8, 1.0, 1.0)
    widths: tuple[int, ...] = (24, 48, 96)
    blocks: int = 1
    spacing_mm: float = 1.0

    @property
    def network(self) -> CompactConfig:
        """Size of the network: noisy region, background, plateau, mask and brain in; the region out."""
        n = len(self.channels)
        return CompactConfig(
            in_channels=3 * n + 2, out_channels=n, facts=4 * n + 1, widths=self.widths, blocks=self.blocks
        )


@dataclass(frozen=True)
class PaintProblem:
    """`PaintConditions` as the network sees them; training and sampling both start here.

    Args:
        level: Median of the tissue around each lesion, the zero of all that follows.
        plateau: Soft-edged lesion of the wanted contrast.
        context: All input channels but the noisy region.
        facts: Per lesion: contrast and whether it is known, whether the channel is there, grain, log volume.
        mask: Where to paint.
        present: Channels the scan has.
    """

    level: Float[Tensor, "batch channels"]
    plateau: Patches
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
    profile = plateau_profile(conditions.mask)
    plateau = profile * contrast[:, :, None, None, None]
    spread = grain_level(background, tissue, conditions.mask) * present
    volume = conditions.mask.flatten(1).sum(dim=1, keepdim=True).float()
    facts = torch.cat([contrast / 2, known.float(), present.float(), spread, volume.clamp(min=1).log() / 4], dim=1)
    context = torch.cat([relative, plateau, conditions.mask.float(), conditions.brain.float()], dim=1)
    return PaintProblem(level, plateau, context, facts, conditions.mask, present)


def plateau_profile(mask: PatchMasks) -> Patches:
    """A blurred mask of mean one inside the mask: the rim is dimmer than the core by partial volume."""
    soft = blur(mask.float(), sigma=1.0) * mask
    voxels = mask.flatten(1).sum(dim=1).clamp(min=1)
    return soft / (soft.flatten(1).sum(dim=1) / voxels).clamp(min=1e-6).view(-1, 1, 1, 1, 1)


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
        painted = problem.level[:, :, None, None, None] + problem.plateau + lesion
        own = [self.channels.index(channel) for channel in conditions.channels]
        change, shown = as_blurred_as_the_scan(painted[:, own], conditions, self._softness(conditions.channels))
        healthy = smooth_tissue(conditions) + self._grain(conditions)
        painted = torch.where(conditions.mask, healthy, conditions.background) + change
        painted = _match_mean(painted, problem.level[:, own] + conditions.contrast, shown, conditions.mask)
        return torch.where(shown > 0, painted, conditions.background)

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

    def _softness(self, channels: tuple[str, ...]) -> Softness:
        values = (self.config.softness, self.config.spread, self.config.peaks)
        return Softness(*(self._per_channel(value, channels) for value in values))

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


def _match_mean(painted: Patches, wanted: Float[Tensor, "batch channels"], shown: Patches, mask: PatchMasks) -> Patches:
    """Lift each lesion until its core, where half of its contrast or more shows, has the mean that was asked for."""
    core = (shown >= 0.5) & mask
    voxels = core.flatten(2).sum(dim=2).clamp(min=1)
    mean = (painted * core).flatten(2).sum(dim=2) / voxels
    share = (shown * core).flatten(2).sum(dim=2) / voxels
    return painted + ((wanted - mean) / share.clamp(min=0.5))[:, :, None, None, None] * shown
