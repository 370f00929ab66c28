"""The published DiffMask and LeFusion as they are, doing the two jobs of this package.

What differs between published checkpoints is a value in a configuration, and so is what their training needs to see
again. Their defects stay behind: intensities are measured per scan, the background is pasted back, masks stay inside
control and tissue, nothing is guided by the condition that was never trained, and small lesions are kept.

Reference:
    Zhang et al., "LeFusion: Controllable Pathology Synthesis via Lesion-Focused Diffusion Models", ICLR 2025
    (arXiv 2403.14066).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lesionaug.diffusion.denoiser import NoisePredictionDenoiser, PredictNoise, guided, step_sigmas
from lesionaug.diffusion.inpainting import known_background, repaint_times, sample_repaint
from lesionaug.diffusion.samplers import gaussian, sample_ancestral, sample_dpmpp_2m
from lesionaug.diffusion.schedules import DDPMTables, cosine_tables
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.intensity import surrounding_level
from lesionaug.models.base import MaskConditions, PaintConditions, patch_offsets_mm
from lesionaug.models.control import encode, gaussian_histogram
from lesionaug.models.published_config import DiffMaskConfig, LeFusionConfig, read_settings
from lesionaug.networks.unet3d import Unet3D, Unet3DConfig
from lesionaug.types import Patches, PatchMasks


@dataclass(frozen=True)
class PublishedDiffMask:
    """Draws masks by all steps of the published sampler, or by fewer calls of a faster one; see `MaskGenerator`.

    Args:
        network: Sees the noisy mask, then the coded control.
        tables: Its schedule.
        config: Its settings.
        num_steps: Network calls of DPM-Solver++(2M) instead of the published sampler.
    """

    network: Unet3D
    tables: DDPMTables
    config: DiffMaskConfig
    num_steps: int | None = None

    @classmethod
    def from_checkpoint(
        cls, config: dict, state: dict[str, Tensor], *, device: torch.device, num_steps: int | None
    ) -> PublishedDiffMask:
        """From what `load_model` returns; arguments as for `load_mask_generator`."""
        settings = read_settings(DiffMaskConfig, config)
        tables = cosine_tables(settings.diffusion_steps).to(device)
        return cls(_network(settings.network, state, device), tables, settings, _checked_steps(num_steps, tables))

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return self.config.spacing_mm

    @property
    def patch_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The one the network was trained on."""
        return (self.config.patch_shape,)

    @torch.no_grad()
    def __call__(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> PatchMasks:
        """See `MaskGenerator`.

        Warns:
            LesionAugWarning: The network put no voxel where one is allowed; its most likely voxels are taken instead,
                as many as make the wanted volume.
        """
        control, distance_mm = self._control(conditions)
        drawn = self._sample(control, generators)
        free = control & conditions.allowed
        masks = (drawn > 0) & free
        empty = [index for index, mask in enumerate(masks) if not mask.any()]
        if empty:
            warnings.warn(
                f"Expected a lesion inside each control sphere, got none in {len(empty)} of {len(masks)}; "
                "took the most likely voxels of the wanted volume there",
                LesionAugWarning,
                stacklevel=2,
            )
        # The network clips: where it is sure, voxels tie, and those near the centre win.
        likely = drawn - 1e-3 * distance_mm / distance_mm.max()
        for index in empty:
            voxels = max(1, round(conditions.volume_mm3[index].item() / self.spacing_mm**3))
            masks[index] = top_voxels(likely[index], free[index], voxels)
        return masks

    def _control(self, conditions: MaskConditions) -> tuple[PatchMasks, Float[Tensor, "i j k"]]:
        allowed = conditions.allowed
        distance_mm = patch_offsets_mm(allowed.shape[2:], self.spacing_mm).norm(dim=0).to(allowed.device)
        radius_mm = (conditions.extent_mm / 2).to(allowed.device)[:, None, None, None, None]
        return distance_mm <= radius_mm, distance_mm

    def _sample(self, control: PatchMasks, generators: Sequence[torch.Generator]) -> Patches:
        coded = encode(control, self.config.control_inside, self.config.control_outside)
        draw = gaussian(generators, control.shape[1:], control.device)

        def predict_noise(x: Patches, t: Tensor) -> Patches:
            return self.network(torch.cat((x, coded), dim=1), t)

        if self.num_steps is None:
            return sample_ancestral(predict_noise, self.tables, draw, self.config.clip)
        sigmas = step_sigmas(self.tables, self.num_steps)
        denoise = NoisePredictionDenoiser(predict_noise, self.tables, self.config.clip)
        return sample_dpmpp_2m(denoise, sigmas[0] * draw(), sigmas)


@dataclass(frozen=True)
class PublishedLeFusion:
    """Paints by the published RePaint, or by fewer calls with a known background; see `Inpainter`.

    Args:
        network: Sees the noisy image and the histogram of the lesion.
        tables: Its schedule.
        config: Its settings.
        num_steps: Network calls of DPM-Solver++(2M) instead of the published sampler.
    """

    network: Unet3D
    tables: DDPMTables
    config: LeFusionConfig
    num_steps: int | None = None

    @classmethod
    def from_checkpoint(
        cls, config: dict, state: dict[str, Tensor], *, device: torch.device, num_steps: int | None
    ) -> PublishedLeFusion:
        """From what `load_model` returns; arguments as for `load_inpainter`."""
        settings = read_settings(LeFusionConfig, config)
        tables = cosine_tables(settings.diffusion_steps).to(device)
        return cls(_network(settings.network, state, device), tables, settings, _checked_steps(num_steps, tables))

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return self.config.spacing_mm

    @property
    def patch_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The one the network was trained on."""
        return (self.config.patch_shape,)

    @property
    def channels(self) -> tuple[str, ...]:
        """The one contrast the network was trained on."""
        return self.config.channels

    @torch.no_grad()
    def __call__(self, conditions: PaintConditions, generators: Sequence[torch.Generator]) -> Patches:
        """See `Inpainter`; outside the mask every voxel of the background keeps its bits."""
        known = self.config.to_network(conditions.background).clamp(-1, 1)
        painted = self._sample(known, conditions.mask, self.histogram(conditions), generators)
        return torch.where(conditions.mask, self.config.from_network(painted), conditions.background)

    def histogram(self, conditions: PaintConditions) -> Float[Tensor, "batch bins"]:
        """Intensities the lesion is to have: those of the tissue around it plus the wanted contrast."""
        samples = zip(conditions.background, conditions.mask, conditions.brain, strict=True)
        level = torch.stack([surrounding_level(image, mask, brain) for image, mask, brain in samples])
        mean = self.config.to_network((level + conditions.contrast)[:, 0])
        spread = torch.full_like(mean, self.config.lesion_spread * self.config.slope)
        return gaussian_histogram(mean, spread, self.config.network.condition_size)

    def _sample(
        self, known: Patches, mask: PatchMasks, histogram: Tensor, generators: Sequence[torch.Generator]
    ) -> Patches:
        draw = gaussian(generators, known.shape[1:], known.device)
        predict_noise = self._predictor(histogram)
        config = self.config
        if self.num_steps is None:
            times = repaint_times(len(self.tables), config.jump_length, config.jump_n_sample)
            return sample_repaint(predict_noise, self.tables, known, mask, draw, times, config.clip)
        sigmas = step_sigmas(self.tables, self.num_steps)
        denoise = NoisePredictionDenoiser(predict_noise, self.tables, config.clip)
        start = known.masked_fill(mask, 0) + sigmas[0] * draw()  # without the tissue that is to be replaced
        return sample_dpmpp_2m(known_background(denoise, known, mask), start, sigmas)

    def _predictor(self, histogram: Tensor) -> PredictNoise:
        def conditional(x: Patches, t: Tensor) -> Patches:
            return self.network(x, t, histogram)

        def unconditional(x: Patches, t: Tensor) -> Patches:
            return self.network(x, t, self.network.null_cond_emb)

        return guided(conditional, unconditional, self.config.guidance_scale)


def top_voxels(score: Float[Tensor, "1 i j k"], free: Bool[Tensor, "1 i j k"], count: int) -> Bool[Tensor, "1 i j k"]:
    """The `count` voxels of the highest score among the free ones, or all of them where they are fewer."""
    ranked = score.masked_fill(~free, -torch.inf).flatten()
    chosen = torch.zeros_like(free).flatten()
    chosen[ranked.topk(min(count, int(free.sum()))).indices] = True
    return chosen.view_as(free)


def _network(config: Unet3DConfig, state: dict[str, Tensor], device: torch.device) -> Unet3D:
    network = Unet3D(config)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise LesionAugError(
            f"Expected the weights of a {config}, got others ({error}); convert the checkpoint again"
        ) from error
    return network.to(device).eval().requires_grad_(False)


def _checked_steps(num_steps: int | None, tables: DDPMTables) -> int | None:
    if num_steps is not None and not 1 <= num_steps < len(tables):
        raise LesionAugError(
            f"Expected between 1 and {len(tables) - 1} network calls, got {num_steps}; leave num_steps out for all"
        )
    return num_steps
