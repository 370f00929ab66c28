"""The published LeFusion's training: noise prediction in whole patches, a loss inside lesions, a histogram to steer it.

Reference:
    Zhang et al., "LeFusion", ICLR 2025, sections 3.1 and 3.3, and the settings of its multiple-sclerosis fork.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from lesionaug.pretrain.course import Course, device_of, teach
from lesionaug.pretrain.division import divide
from lesionaug.pretrain.fit import FitConfig
from lesionaug.pretrain.options import Split, Store
from lesionaug.pretrain.pages import examples, paint_page
from lesionaug.pretrain.published_diffmask import PAGE_STEPS, PUBLISHED_FIT
from lesionaug.pretrain.published_lessons import Pool, pool, store_settings
from lesionaug.pretrain.warm_start import start_from
from torch import Tensor

from lesionaug.diffusion.losses import masked_l1
from lesionaug.diffusion.schedules import DDPMTables, add_noise, cosine_tables
from lesionaug.models.control import lesion_histogram
from lesionaug.models.published import PublishedLeFusion
from lesionaug.models.published_config import LeFusionConfig
from lesionaug.networks.unet3d import Unet3D
from lesionaug.types import Patches, PatchMasks


@dataclass(frozen=True)
class PublishedLeFusionTraining:
    """Train the published LeFusion on a patch store.

    Args:
        patches: Store with images.
        output: Folder of checkpoint, log and, at the end, the model.
        split: Patients to learn from and to hold out.
        start: Model folder whose weights to start from.
        hold_out: Patients not to learn from; their loss is logged.
        batch: Patches per batch.
        forget: Probability that a histogram is not told; 0 upstream, which leaves guidance without a meaning.
        flip_axes: Patch axes that are flipped half of the time: left-right; none upstream.
        model: Network, contrast and intensity window. Upstream's window is that of computed tomography: --model.window
            -32 7.
        fit: How long and how fast.
    """

    patches: Store
    output: Path
    split: Split = None
    start: Path | None = None
    hold_out: tuple[str, ...] = ()
    batch: int = 4
    forget: float = 0.1
    flip_axes: tuple[int, ...] = (0,)
    model: LeFusionConfig = LeFusionConfig()  # noqa: RUF009, frozen
    fit: FitConfig = field(default_factory=lambda: PUBLISHED_FIT)

    def run(self) -> None:
        """Train."""
        teach(self)

    def course(self) -> Course[Unet3D]:
        """What there is to learn."""
        return course(self)


def loss_of(
    network: Unet3D, image: Patches, mask: PatchMasks, histogram: Tensor, t: Tensor, noise: Patches, tables: DDPMTables
) -> Tensor:
    """Absolute error of the predicted noise inside lesions, over all voxels of the batch.

    Args:
        network: Sees the noisy patch and the histogram.
        image: Clean, -1 to 1.
        mask: Lesions.
        histogram: Of each sample.
        t: Step of each sample.
        noise: To be added.
        tables: Schedule.
    """
    return masked_l1(network(add_noise(tables, image, t, noise), t, histogram), noise, mask)


def draw_loss(config: PublishedLeFusionTraining, lessons: Pool, network: Unet3D, generator: torch.Generator) -> Tensor:
    """Loss of one drawn batch."""
    device, settings = device_of(network), config.model
    pairs = [lessons.draw(generator, config.flip_axes) for _ in range(config.batch)]
    mask, robust = (torch.stack(part) for part in zip(*pairs, strict=True))
    image = settings.to_network(robust).clamp(-1, 1)
    t = torch.randint(settings.diffusion_steps, (len(image),), generator=generator)
    noise = torch.randn(image.shape, generator=generator)
    told = torch.rand(len(image), 1, generator=generator) >= config.forget
    histogram = torch.stack(
        [lesion_histogram(*pair, settings.network.condition_size) for pair in zip(image, mask, strict=True)]
    )
    condition = torch.where(told.to(device), histogram.to(device), network.null_cond_emb)
    tables = cosine_tables(settings.diffusion_steps).to(device)
    return loss_of(network, image.to(device), mask.to(device), condition, t.to(device), noise.to(device), tables)


def course(config: PublishedLeFusionTraining) -> Course[Unet3D]:
    """What there is to learn."""
    settings = store_settings(config.model.patch_shape)
    learned, held = divide(config.patches, config.split, config.hold_out, healthy=False, settings=settings)
    shape, channel = config.model.patch_shape, config.model.channels[0]
    torch.manual_seed(config.fit.seed)
    network = Unet3D(config.model.network)
    if config.start:
        start_from(network, config.start, "lefusion")
    plain = replace(config, forget=0.0, flip_axes=())
    shown = [g for g in held or learned if g.label.shape[2:] == shape and channel in g.channels]
    chosen = examples(shown)
    return Course(
        network=network,
        loss=partial(draw_loss, config, pool(learned, shape, channel)),
        held_loss=partial(draw_loss, plain, pool(held, shape, channel)) if held else None,
        held_batches=8,
        page=lambda average: paint_page(
            _model(config, average), chosen, "held out" if held else "learned from", device_of(average)
        ),
        settings={"model": "lefusion", "architecture": "unet3d", "settings": asdict(config.model)},
        extra={},
        learned=learned,
        held=held,
    )


def _model(config: PublishedLeFusionTraining, network: Unet3D) -> PublishedLeFusion:
    tables = cosine_tables(config.model.diffusion_steps).to(device_of(network))
    return PublishedLeFusion(network, tables, config.model, min(PAGE_STEPS, config.model.diffusion_steps - 1))
