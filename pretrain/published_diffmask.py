"""The published DiffMask's training: binary masks in a coded control, noise prediction, T = 300.

Reference:
    Zhang et al., "LeFusion", ICLR 2025, section 3.2, and the settings of its multiple-sclerosis fork.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from lesionaug.pretrain.course import Course, device_of, teach
from lesionaug.pretrain.division import divide
from lesionaug.pretrain.fit import FitConfig
from lesionaug.pretrain.options import Split, Store
from lesionaug.pretrain.pages import examples, mask_page
from lesionaug.pretrain.published_lessons import Pool, pool, store_settings
from lesionaug.pretrain.warm_start import start_from
from torch import Tensor

from lesionaug.diffusion.losses import lesion_l1
from lesionaug.diffusion.schedules import DDPMTables, add_noise, cosine_tables
from lesionaug.models.control import control_sphere, control_spheres, encode
from lesionaug.models.published import PublishedDiffMask
from lesionaug.models.published_config import DiffMaskConfig
from lesionaug.networks.unet3d import Unet3D
from lesionaug.types import Patches

PAGE_STEPS = 20

PUBLISHED_FIT = FitConfig(warmup=0, cosine=False, weight_decay=0.0, clip=0.0, ema=0.995, ema_every=10, ema_from=2000)
"""Nothing but what upstream trained with: Adam without schedule, decay or clipping, an average from step 2000."""


@dataclass(frozen=True)
class PublishedDiffMaskTraining:
    """Train the published DiffMask on a patch store.

    Args:
        patches: Store.
        output: Folder of checkpoint, log and, at the end, the model.
        split: Patients to learn from and to hold out.
        start: Model folder whose weights to start from.
        hold_out: Patients not to learn from; their loss is logged.
        batch: Patches per batch.
        extra: Weight of the loss's second term, which counts lesion voxels alone; 0 in the original.
        sphere_per_lesion: One control sphere for each lesion, as in the MS fork, or one for all, as in the original.
        flip_axes: Patch axes that are flipped half of the time: left-right; upstream flips 1, front and back.
        model: Network and coding. Upstream trained with 255 outside the control, by an overflow of bytes.
        fit: How long and how fast.
    """

    patches: Store
    output: Path
    split: Split = None
    start: Path | None = None
    hold_out: tuple[str, ...] = ()
    batch: int = 10
    extra: float = 10.0
    sphere_per_lesion: bool = True
    flip_axes: tuple[int, ...] = (0,)
    model: DiffMaskConfig = DiffMaskConfig(control_outside=-1.0)  # noqa: RUF009, frozen
    fit: FitConfig = field(default_factory=lambda: PUBLISHED_FIT)

    def run(self) -> None:
        """Train."""
        teach(self)

    def course(self) -> Course[Unet3D]:
        """What there is to learn."""
        return course(self)


def loss_of(
    network: Unet3D, mask: Patches, control: Patches, t: Tensor, noise: Patches, tables: DDPMTables, extra: float
) -> Tensor:
    """Absolute error of the predicted noise, lesion voxels weighted.

    Args:
        network: Sees the noisy mask, then the control.
        mask: Clean, -1 and 1.
        control: As it is coded.
        t: Step of each sample.
        noise: To be added.
        tables: Schedule.
        extra: Weight of lesion voxels.
    """
    predicted = network(torch.cat((add_noise(tables, mask, t, noise), control), dim=1), t)
    return lesion_l1(predicted, noise, mask > 0, extra)


def draw_loss(config: PublishedDiffMaskTraining, lessons: Pool, network: Unet3D, generator: torch.Generator) -> Tensor:
    """Loss of one drawn batch."""
    device = device_of(network)
    masks = torch.stack([lessons.draw(generator, config.flip_axes)[0] for _ in range(config.batch)])
    t = torch.randint(config.model.diffusion_steps, (len(masks),), generator=generator)
    noise = torch.randn(masks.shape, generator=generator)
    tables = cosine_tables(config.model.diffusion_steps).to(device)
    batch = (2.0 * masks - 1, _control(config, masks), t, noise)
    clean, control, t, noise = (part.to(device) for part in batch)
    return loss_of(network, clean, control, t, noise, tables, config.extra)


def course(config: PublishedDiffMaskTraining) -> Course[Unet3D]:
    """What there is to learn."""
    settings = store_settings(config.model.patch_shape)
    learned, held = divide(config.patches, config.split, config.hold_out, healthy=False, settings=settings)
    shape = config.model.patch_shape
    torch.manual_seed(config.fit.seed)
    network = Unet3D(config.model.network)
    if config.start:
        start_from(network, config.start, "diffmask")
    chosen = examples([group for group in held or learned if group.label.shape[2:] == shape])
    return Course(
        network=network,
        loss=partial(draw_loss, config, pool(learned, shape)),
        held_loss=partial(draw_loss, config, pool(held, shape)) if held else None,
        held_batches=8,
        page=lambda average: mask_page(
            _model(config, average), chosen, "held out" if held else "learned from", device_of(average)
        ),
        settings={"model": "diffmask", "architecture": "unet3d", "settings": asdict(config.model)},
        extra={},
        learned=learned,
        held=held,
    )


def _control(config: PublishedDiffMaskTraining, masks: Tensor) -> Patches:
    spheres: Callable = control_spheres if config.sphere_per_lesion else control_sphere
    control = torch.stack([torch.from_numpy(spheres(mask[0].numpy()))[None] for mask in masks])
    return encode(control, config.model.control_inside, config.model.control_outside)


def _model(config: PublishedDiffMaskTraining, network: Unet3D) -> PublishedDiffMask:
    tables = cosine_tables(config.model.diffusion_steps).to(device_of(network))
    return PublishedDiffMask(network, tables, config.model, min(PAGE_STEPS, config.model.diffusion_steps - 1))
