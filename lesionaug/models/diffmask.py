"""DiffMask, the default: draws a lesion's mask inside its control sphere in a few network calls.

The published model diffuses binary masks, which few-step sampling leaves speckled. This one diffuses the signed
distance to the lesion's surface, which is smooth, and cuts it at the level that gives the wanted volume: size is the
prior's business, shape the network's. Noise and loss are confined to the control sphere, the mask to it and to tissue
that a lesion may use. The network sees that tissue, and which of it is next to ventricles or cortex: lesions line the
wall of a ventricle, stretch away from it, and follow the cortex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lesionaug.diffusion.edm import Preconditioning
from lesionaug.models.base import PATCH_SHAPES, MaskConditions, patch_offsets_mm
from lesionaug.models.checkpoints import settings_from
from lesionaug.models.few_steps import sample_in_few_steps
from lesionaug.models.flooding import cut_in_breadth
from lesionaug.models.forms import AXES, FORMS, RATIOS, Forms
from lesionaug.models.grain import blur_each, excess_blur
from lesionaug.networks.compact import CompactConfig, CompactUNet, restore
from lesionaug.types import Patches, PatchMasks

FIELD_LIMIT = 2.0  # voxels; distances beyond say nothing about the surface
FIELD_MEAN = -0.5  # of the scaled distance in control spheres; diffusion wants centred data
OUTSIDE = -1 - FIELD_MEAN
SMOOTH_FROM_VOXELS = 100
CLEARLY_SHARP = 0.8  # voxels; what a patch of a sharp scan may seem blurred by
ROUNDING = 1.7  # a rater of a blurred scan draws what he sees, and rounder than he sees it
TOGETHER = 0.7  # of the field, at the radius of a ball of a large lesion's volume; set by hand, by looking
TOGETHER_VOXELS = (2.5, 5.5)  # radii of lesions that are left as drawn, and of large ones
USUAL_SLACK = 0.5  # voxels; in training a control sphere is up to one wider than the lesion that it holds
TOLD_SLACK = 1.0  # voxels; that, and what rounding a centroid to a voxel takes off


@dataclass(frozen=True)
class DiffMaskConfig:
    """What a checkpoint needs to know besides its weights.

    Args:
        sigma_data: Spread of the distance field in the control sphere.
        sigma_min: Noise level of the last network call.
        sigma_max: Noise level of the first.
        num_steps: Network calls per lesion.
        smoothing: Width in voxels of the Gaussian that the field of a large lesion is blurred with.
        told_form: Whether the network is told a lesion's form: how long, flat, spread and thick it is to be.
        insistence: Factor on how long and how flat it is told, since it follows only part of the way.
        widths: Of the network.
        blocks: Of the network.
        spacing_mm: Of the patches.
    """

    sigma_data: tuple[float, ...] = (0.42,)
    sigma_min: float = 0.15
    sigma_max: float = 4.0
    num_steps: int = 4
    smoothing: float = 0.5
    told_form: bool = False
    insistence: float = 1.5
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 2
    spacing_mm: float = 1.0

    @property
    def network(self) -> CompactConfig:
        """Size of the network: noisy field, distance to the sphere's surface and three maps of tissue in; field out."""
        facts = 4 + RATIOS * self.told_form
        return CompactConfig(in_channels=5, out_channels=1, facts=facts, widths=self.widths, blocks=self.blocks)


@dataclass(frozen=True)
class DrawProblem:
    """`MaskConditions` as the network sees them; training and sampling both start here.

    Args:
        room: Where the field is drawn: the control sphere.
        context: All input channels but the noisy field.
        facts: Per lesion: log volume, log extent, how much of the sphere the lesion fills; its form, if told; and
            whether anything is known of the anatomy.
    """

    room: PatchMasks
    context: Patches
    facts: Float[Tensor, "batch facts"]


def pose(
    conditions: MaskConditions,
    spacing_mm: float,
    slack: float = 0.0,
    form: Float[Tensor, "batch form"] | None = None,
) -> DrawProblem:
    """Put a drawing job into the network's terms.

    Args:
        conditions: The job.
        spacing_mm: Of the patches.
        slack: Voxels added to the extent that the network is told; the room stays as it is.
        form: Of each lesion, see `lesionaug.models.forms`; not told if not given.
    """
    allowed = conditions.allowed
    extent = conditions.extent_mm.to(allowed.device) / spacing_mm
    volume = conditions.volume_mm3.to(allowed.device) / spacing_mm**3
    distance = patch_offsets_mm(allowed.shape[2:], 1.0).norm(dim=0).to(extent)
    inside = (extent / 2).view(-1, 1, 1, 1, 1) - distance[None, None]
    told = extent + slack
    known = torch.ones_like(volume) if conditions.near_ventricles is not None else torch.zeros_like(volume)
    regions = [_or_none(near, allowed) for near in (conditions.near_ventricles, conditions.near_cortex)]
    context = torch.cat([((inside + slack / 2) / 4).clamp(-2, 2), allowed.float(), *regions], dim=1)
    facts = torch.stack([volume.log() / 4, told.log() / 2, (volume / told**3).log() / 2], dim=1)
    facts = torch.cat([facts, *([] if form is None else [form.to(facts)]), known[:, None]], dim=1)
    return DrawProblem(inside >= 0, context, facts)


def _or_none(mask: PatchMasks | None, like: PatchMasks) -> Patches:
    return torch.zeros_like(like, dtype=torch.float32) if mask is None else mask.to(like.device).float()


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
    forms: Forms | None = None
    patch_shapes: tuple[tuple[int, int, int], ...] = PATCH_SHAPES

    @classmethod
    def from_checkpoint(
        cls, config: dict, state: dict[str, Tensor], *, device: torch.device | str = "cpu", num_steps: int | None = None
    ) -> DiffMask:
        """From what `lesionaug.models.checkpoints` read."""
        settings = settings_from(DiffMaskConfig, config)
        forms = Forms(state[FORMS].float()) if settings.told_form else None
        weights = {name: value for name, value in state.items() if name != FORMS}
        return cls(restore(settings.network, weights, device), settings, num_steps or settings.num_steps, forms)

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return self.config.spacing_mm

    def __call__(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> PatchMasks:
        """See `MaskGenerator`."""
        problem = self.pose(conditions, generators)
        return self.finish(conditions, problem, self.sample(problem, generators))

    def pose(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> DrawProblem:
        """What the network is told, with a form for each lesion if it is told forms."""
        form = None
        if self.forms:
            form = self.forms.draw(conditions, self.spacing_mm, generators)
            form = torch.cat([self.config.insistence * form[:, :AXES], form[:, AXES:]], dim=1)
        return pose(conditions, self.spacing_mm, TOLD_SLACK, form)

    def finish(self, conditions: MaskConditions, problem: DrawProblem, field: Patches) -> PatchMasks:
        """Masks of the wanted volumes from sampled distance fields."""
        field = self._smoothed(field, problem.room, conditions).cpu() - self._pull(conditions, field).cpu()
        voxels = (conditions.volume_mm3 / self.spacing_mm**3).round().int().clamp(min=1).tolist()
        rooms = (problem.room & conditions.allowed).cpu()
        masks = [cut_in_breadth(f, room, n) for f, room, n in zip(field, rooms, voxels, strict=True)]
        return torch.stack(masks).to(conditions.allowed.device)

    def _smoothed(self, field: Patches, room: PatchMasks, conditions: MaskConditions) -> Patches:
        """Large lesions without the roughness that few steps leave, and all as smooth as a rater saw them.

        The masks learnt from were drawn in sharp scans; more blurred ones show smoother lesions.
        """
        share = (conditions.volume_mm3.to(field) / self.spacing_mm**3 / SMOOTH_FROM_VOXELS).clamp(max=1)
        excess = 0 if conditions.blur is None else ROUNDING * excess_blur(conditions.blur.to(field), CLEARLY_SHARP)
        width = ((self.config.smoothing * share[:, None]) ** 2 + excess**2).sqrt().expand(-1, 3)
        return blur_each(torch.where(room, field, OUTSIDE), width[:, None])

    def _pull(self, conditions: MaskConditions, field: Patches) -> Patches:
        """What keeps large lesions together, which few steps draw as stars: falls off from the middle of the patch."""
        radius = (3 / (4 * math.pi) * conditions.volume_mm3.to(field) / self.spacing_mm**3) ** (1 / 3)
        small, large = TOGETHER_VOXELS
        strength = TOGETHER * ((radius - small) / (large - small)).clamp(0, 1) / radius**2
        return strength.view(-1, 1, 1, 1, 1) * patch_offsets_mm(field.shape[2:], 1.0).to(field).square().sum(dim=0)

    def sample(self, problem: DrawProblem, generators: Sequence[torch.Generator]) -> Patches:
        """Distance fields, positive inside the lesion."""
        config = self.config
        return sample_in_few_steps(
            predictor(self.network, problem),
            Preconditioning(config.sigma_data),
            (config.sigma_min, config.sigma_max, self.num_steps),
            problem.context[:, :1],
            generators,
        )
