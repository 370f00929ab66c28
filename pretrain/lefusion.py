"""`lesionaug pretrain lefusion --data STORE --output RUN`: train the default LeFusion.

Two kinds of lessons: real lesions, whose contrast is told; and holes of lesion shape in normal-appearing tissue, whose
contrast is about nothing. The second teaches anatomy from many more places than there are lesions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lesionaug.pretrain.augment import chance, draw, elastic, keep_channels, on_another_host, other_resolution, turn
from lesionaug.pretrain.course import Course, device_of, teach, to_device
from lesionaug.pretrain.diffmask import patches_per_step
from lesionaug.pretrain.division import divide
from lesionaug.pretrain.fit import FitConfig
from lesionaug.pretrain.options import Split, Store, run_training
from lesionaug.pretrain.pages import examples, paint_page
from lesionaug.pretrain.patches import BRAIN, OTHER, THIS, PatchGroup, read_store
from lesionaug.pretrain.warm_start import start_from
from torch import Tensor

from lesionaug.diffusion.edm import Preconditioning, training_sigmas
from lesionaug.models.base import PaintConditions
from lesionaug.models.few_steps import network_precision
from lesionaug.models.lefusion import LeFusion, LeFusionConfig, PaintProblem, pose, predictor
from lesionaug.networks.compact import CompactUNet, channels_last

BEND_VOXELS = 0.6
HEALTHY_SIZE = 24
PLAIN = {"healthy": 0.0, "forget": 0.0, "elastic": 0.0, "blurred": 0.0, "moved": 0.0}
"""Lessons as they are in the store, for validation."""


@dataclass(frozen=True)
class LeFusionTraining:
    """Train LeFusion on a patch store.

    Args:
        patches: Store with images.
        shapes: Store of lesion masks to cut holes into healthy tissue with; the store's own lesions if not given.
        output: Folder of checkpoint, log and, at the end, the model.
        split: Patients to learn from and to hold out.
        start: Model whose weights to start from: `default`, the packaged one, or a folder.
        hold_out: Patients not to learn from; their loss is logged.
        batch: Factor on the patches per step, which are 12 of 16 voxels, 5 of 24, 2 of 32, 1 of 48.
        healthy: Share of healthy patches.
        forget: Probability that a contrast is not told (condition dropout).
        elastic: Share of patches that are bent.
        blurred: Share of patches whose resolution is lowered.
        moved: Share of small lesions that are moved to another host.
        sigma_mean: Of the logarithm of the noise levels.
        sigma_spread: Likewise.
        model: Network and sampler.
        fit: How long and how fast.
    """

    patches: Store
    output: Path
    split: Split = None
    start: Path | None = None
    shapes: Path | None = None
    hold_out: tuple[str, ...] = ()
    batch: float = 1.0
    healthy: float = 0.25
    forget: float = 0.1
    elastic: float = 0.2
    blurred: float = 0.25
    moved: float = 0.25
    sigma_mean: float = -0.5
    sigma_spread: float = 0.9
    model: LeFusionConfig = field(default_factory=LeFusionConfig)
    fit: FitConfig = field(default_factory=FitConfig)

    def run(self) -> None:
        """Train."""
        teach(self)

    def course(self) -> Course[CompactUNet]:
        """What there is to learn."""
        return course(self)


@dataclass(frozen=True)
class Lesson:
    """One batch: what the network is told, and the tissue it is to paint (`image`, model channels, robust units)."""

    problem: PaintProblem
    image: Tensor

    @property
    def residual(self) -> Tensor:
        """Clean data of the diffusion."""
        problem = self.problem
        return (self.image - problem.level[:, :, None, None, None] - problem.plateau) * problem.active


class Lessons:
    """Draws batches from a store: a scan's patches as often as the patient has lesions, square-rooted."""

    def __init__(self, groups: list[PatchGroup], shapes: list[PatchGroup], config: LeFusionTraining) -> None:
        self.config = config
        # Masks without images teach shapes, not tissue.
        self.lesions = [group for group in groups if not group.healthy and group.channels]
        self.healthy = [group for group in groups if group.healthy]
        self.shapes = [group for group in shapes if not group.healthy and group.size == 16]
        self.weights = torch.tensor([len(group) ** 0.5 for group in self.lesions])

    def draw(self, generator: torch.Generator) -> Lesson:
        """One batch of patches of one size."""
        if self.healthy and chance(self.config.healthy, generator):
            patches = [self._healthy_patch(generator) for _ in range(patches_per_step(HEALTHY_SIZE, self.config.batch))]
        else:
            size = self.lesions[int(torch.multinomial(self.weights, 1, generator=generator))].size
            patches = [self._lesion_patch(size, generator) for _ in range(patches_per_step(size, self.config.batch))]
        return self._lesson(patches, generator)

    def _lesion_patch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        weights = torch.where(torch.tensor([group.size == size for group in self.lesions]), self.weights, 0)
        group = self.lesions[int(torch.multinomial(weights, 1, generator=generator))]
        index = draw(len(group), generator)
        image, label = self._in_model_channels(group, index), group.label[index]
        mask, brain = (label & THIS) > 0, (label & BRAIN) > 0
        if self.healthy and size <= HEALTHY_SIZE and chance(self.config.moved, generator):
            return self._moved(image, mask, brain & ((label & OTHER) == 0), generator)
        return image, mask, brain

    def _moved(
        self, image: Tensor, mask: Tensor, tissue: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The lesion in healthy tissue of another scan, as far as that is brain."""
        group = self.healthy[draw(len(self.healthy), generator)]
        index, cut = draw(len(group), generator), (HEALTHY_SIZE - mask.shape[-1]) // 2
        inner = (slice(None), *[slice(cut, HEALTHY_SIZE - cut)] * 3)
        host, label = self._in_model_channels(group, index)[inner], group.label[index][inner]
        brain = (label & BRAIN) > 0
        mask = mask & brain
        return on_another_host(image, host, mask, (tissue, brain & ((label & OTHER) == 0))), mask, brain

    def _healthy_patch(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        group, shape = (pool[draw(len(pool), generator)] for pool in (self.healthy, self.shapes))
        index = draw(len(group), generator)
        label = group.label[index]
        mask = torch.zeros_like(label, dtype=torch.bool)
        mask[:, 4:20, 4:20, 4:20] = (shape.label[draw(len(shape), generator)] & THIS) > 0
        brain = (label & BRAIN) > 0
        return self._in_model_channels(group, index), mask & brain & ((label & OTHER) == 0), brain

    def _in_model_channels(self, group: PatchGroup, index: int) -> Tensor:
        channels = self.config.model.channels
        image = torch.full((len(channels), *group.image.shape[2:]), torch.nan)
        for own, channel in enumerate(group.channels):
            image[channels.index(channel)] = group.image[index, own].float()
        return image

    def _lesson(self, patches: list[tuple[Tensor, Tensor, Tensor]], generator: torch.Generator) -> Lesson:
        patches = [patch for patch in patches if patch[1].any()]
        if not patches:  # small batches, moved to where there is no brain
            return self.draw(generator)
        turned = [self._varied(*turn(list(patch), generator), generator=generator) for patch in patches]
        image, mask, brain = (torch.stack(parts) for parts in zip(*turned, strict=True))
        present = torch.stack([keep_channels(~torch.isnan(x[:, 0, 0, 0]), generator) for x in image])
        image = torch.nan_to_num(image) * present[:, :, None, None, None]
        gain = 1 + 0.15 * torch.randn(image.shape[:2], generator=generator).clamp(-2, 2)  # scanners differ in contrast
        image = image * gain[:, :, None, None, None]
        known = torch.rand(present.shape, generator=generator) >= self.config.forget
        return Lesson(_pose(image, mask, brain, present, known, self.config.model.channels), image)

    def _varied(
        self, image: Tensor, mask: Tensor, brain: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        if chance(self.config.blurred, generator):
            image = other_resolution(image, generator)
        if chance(self.config.elastic, generator):
            bent, *masks = elastic([image, mask.float(), brain.float()], generator, BEND_VOXELS)
            bent_mask, bent_brain = (part > 0.5 for part in masks)
            if bent_mask.any():
                return bent, bent_mask, bent_brain | bent_mask
        return image, mask, brain


def _pose(
    image: Tensor, mask: Tensor, brain: Tensor, present: Tensor, known: Tensor, channels: tuple[str, ...]
) -> PaintProblem:
    """The problem whose solution is the patch itself."""
    conditions = PaintConditions(image, channels, mask, brain, image.new_zeros(image.shape[:2]))
    level = pose(conditions, channels).level
    mean = (image * mask).flatten(2).sum(dim=2) / mask.flatten(2).sum(dim=2)
    problem = pose(replace(conditions, contrast=mean - level), channels, known & present)
    return _without_missing(problem, present)


def _without_missing(problem: PaintProblem, present: Tensor) -> PaintProblem:
    """`pose` takes all channels it is given for present; here some were emptied."""
    facts = problem.facts.clone()
    channels = present.shape[1]
    facts[:, 2 * channels : 3 * channels] = present.float()
    facts[:, -channels:] *= present  # blur, which an emptied channel seems to have
    return replace(problem, facts=facts, present=present)


def loss_of(
    network: CompactUNet, lesson: Lesson, sigma: Tensor, noise: Tensor, precondition: Preconditioning
) -> Tensor:
    """Weighted squared error of the denoiser inside the lesion, each lesion counting the same.

    The published loss averages over the whole patch, so that a lesion counts by its volume.
    """
    clean, active = lesson.residual, lesson.problem.active
    x = clean + sigma[:, None, None, None, None] * noise * active
    with network_precision(x.device):
        denoised = precondition.denoise(predictor(network, lesson.problem), x, sigma)
    error = precondition.weight(sigma, x) * (denoised.float() - clean) ** 2 * active
    return (error.flatten(1).sum(dim=1) / active.flatten(1).sum(dim=1)).mean()


def draw_loss(config: LeFusionTraining, lessons: Lessons, network: CompactUNet, generator: torch.Generator) -> Tensor:
    """Loss of one drawn batch."""
    device, precondition = device_of(network), Preconditioning(config.model.sigma_data)
    lesson = lessons.draw(generator)
    sigma = training_sigmas(len(lesson.image), config.sigma_mean, config.sigma_spread, generator)
    noise = torch.randn(lesson.image.shape, generator=generator)
    lesson, sigma, noise = (to_device(part, device) for part in (lesson, sigma, noise))
    return loss_of(network, lesson, sigma, noise, precondition)


def course(config: LeFusionTraining) -> Course[CompactUNet]:
    """What there is to learn."""
    learned, held = divide(config.patches, config.split, config.hold_out, healthy=True)
    shapes = read_store(config.shapes) if config.shapes else learned
    plain = replace(config, **PLAIN)
    torch.manual_seed(config.fit.seed)
    network = channels_last(CompactUNet(config.model.network))
    if config.start:
        start_from(network, config.start, "lefusion")
    seen = [group for group in held if _shows(group, config)]
    chosen = examples(seen or [group for group in learned if _shows(group, config)])
    heading = "held out" if seen else "learned from"

    def page(average: CompactUNet) -> np.ndarray:
        return paint_page(LeFusion(average, config.model, config.model.num_steps), chosen, heading, device_of(average))

    return Course(
        network=network,
        loss=partial(draw_loss, config, Lessons(learned, shapes, config)),
        held_loss=partial(draw_loss, plain, Lessons(held, shapes, plain)) if seen else None,
        held_batches=24,
        page=page,
        settings={"model": "lefusion", "architecture": "compact", **asdict(config.model)},
        extra={},
        learned=learned,
        held=held,
    )


def _shows(group: PatchGroup, config: LeFusionTraining) -> bool:
    """Whether there is anything to compare painted tissue with."""
    return any(channel in config.model.channels for channel in group.channels)


def main(config: LeFusionTraining) -> None:
    """Train and write the model folder."""
    teach(config)


if __name__ == "__main__":
    run_training("lefusion")
