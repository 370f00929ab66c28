"""The quick engine: a small 3D U-Net, some minutes of training on one core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from benchmarks.downstream.arms import Arm, Phase
from benchmarks.downstream.cases import Case
from benchmarks.downstream.generic import generic
from benchmarks.downstream.patches import Ready, network_input
from lesionaug.errors import LesionAugError
from lesionaug.models.few_steps import has_bfloat16

LOOKS = 10
"""Of an arm that adapts, at the network, in a training."""


@dataclass(frozen=True)
class Quick:
    """A training, the same for all arms.

    Args:
        steps: Optimiser steps.
        batch: Patches per step.
        patch: Side of a patch in voxels.
        filters: Of the levels of the network, three or more.
        learning_rate: At its highest; it rises over a tenth of the steps and falls along a cosine.
        refresh: Steps after which training cases are changed anew.
        grid_mm: Side of the voxels that a network is shown of tested scans; what it says of them is brought back to
            the scan's own, the value at each voxel's middle. Without one it sees voxels as they are.
        precision: Of the network's arithmetic; weights and loss are single in any case. `bfloat16` takes half the time
            on processors that have it, and 25 times as long on those that have not; `auto` looks.
        device: Where networks are trained.
    """

    steps: int = 300
    batch: int = 4
    patch: int = 32
    filters: tuple[int, ...] = (8, 16, 32)
    learning_rate: float = 1e-2
    refresh: int = 20
    grid_mm: float | None = None
    precision: Literal["auto", "single", "bfloat16"] = "auto"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.patch, self.refresh) < 1 or len(self.filters) < 3:
            raise LesionAugError(f"Expected steps, batch, patch and refresh from 1 up and three filters, got {self}")
        if self.patch % 2 ** (len(self.filters) - 1):
            raise LesionAugError(
                f"Expected a patch that {len(self.filters)} levels can halve, got {self.patch}; choose a multiple of "
                f"{2 ** (len(self.filters) - 1)}"
            )

    @property
    def settled(self) -> Quick:
        """With the precision that this machine takes, which is part of a study."""
        fast = has_bfloat16(torch.device(self.device))
        return replace(self, precision="bfloat16" if fast else "single") if self.precision == "auto" else self


def trained(
    arm: Arm, cases: Sequence[Case], healthy: Sequence[Case], settings: Quick, seed: int
) -> tuple[nn.Module, list[float]]:
    """A network, and its losses.

    Start, patches' places and generic augmentation come from the seed alone, so they are the same for all arms.

    Args:
        arm: Where lesions come from.
        cases: Of the drawn patients.
        healthy: Scans without lesions, for arms that want them.
        settings: Of the training.
        seed: Of all that is random.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network(cases[0].scan.image.shape[0], settings).to(settings.device, memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    criterion = DiceCELoss(sigmoid=True, batch=True)
    arm, losses = arm.begun(), []
    for step, (image, label) in enumerate(batches(arm, cases, healthy, settings, seed), 1):
        loss = criterion(logits(net, image, settings), label.to(settings.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        look(arm, step, net, cases, settings)
    return net.eval(), losses


def batches(
    arm: Arm, cases: Sequence[Case], healthy: Sequence[Case], settings: Quick, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of every step."""
    places, changes = (np.random.default_rng([seed, stream]) for stream in range(2))
    augment = generic(arm.generic, seed)
    ready: list[Ready] = []
    previous: Phase | None = None
    for step, phase in enumerate(phases_of(arm, settings.steps)):
        if step % settings.refresh == 0 or phase is not previous:
            ready = prepared(phase, healthy if phase.hosts == "healthy" else cases, cases, settings.patch, changes)
        previous = phase
        drawn = [augment(ready[int(places.random() * len(ready))].draw(places)) for _ in range(settings.batch)]
        yield _stacked(drawn, "image"), _stacked(drawn, "label")


def look(arm: Arm, step: int, net: nn.Module, cases: Sequence[Case], settings: Quick) -> None:
    """Show an arm that adapts what the network misses, when it is time."""
    if step % max(settings.steps // LOOKS, 1):
        return
    for course in arm.courses:
        net.eval()
        course.look(cases, lambda case: predicted(net, case, settings))
        net.train()


def phases_of(arm: Arm, steps: int) -> list[Phase]:
    """The phase of each step."""
    ends = np.round(np.cumsum([phase.share for phase in arm.phases]) * steps).astype(int)
    return [arm.phases[int(np.searchsorted(ends, step, side="right"))] for step in range(steps)]


def prepared(
    phase: Phase, hosts: Sequence[Case], cases: Sequence[Case], patch: int, rng: np.random.Generator
) -> list[Ready]:
    """All hosts, changed anew."""
    return [Ready.of(phase.change(host, cases, rng), patch) for host in hosts]


def network(channels: int, settings: Quick) -> DynUNet:
    """nnU-Net's kind of U-Net, small; with batch norm, so that whole brains may be larger than patches."""
    levels = len(settings.filters)
    return DynUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=1,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=settings.filters,
        norm_name="batch",
    )


def logits(net: nn.Module, image: Float[Tensor, "batch channels i j k"], settings: Quick) -> Tensor:
    """What the network says of each voxel, in single precision."""
    image = image.to(settings.device, memory_format=torch.channels_last_3d)
    half = settings.settled.precision == "bfloat16"
    with torch.autocast(settings.device.split(":")[0], torch.bfloat16, enabled=half):
        return net(image).float()


@torch.inference_mode()
def predicted(net: nn.Module, case: Case, settings: Quick) -> Bool[np.ndarray, "i j k"]:
    """Lesions that the network sees, the whole brain at once."""
    box = case.brain_box
    image = network_input(case.scan)[None, :, *box]
    own, shown = image.shape[2:], shape_on_grid(image.shape[2:], case.scan.spacing_mm, settings.grid_mm)
    found = resampled(_whole(net, resampled(image, shown), settings), own)[0, 0]
    mask = np.zeros(case.scan.shape, bool)
    mask[box] = (found > 0).cpu().numpy()
    return mask & case.scan.brain[0].numpy()


def shape_on_grid(shape: Sequence[int], spacing_mm: Sequence[float], grid_mm: float | None) -> tuple[int, ...]:
    """Voxels along each axis for about the same length."""
    if grid_mm is None:
        return tuple(shape)
    return tuple(max(round(size * side / grid_mm), 1) for size, side in zip(shape, spacing_mm, strict=True))


def resampled(image: Float[Tensor, "batch channels i j k"], shape: Sequence[int]) -> Tensor:
    """Linear between the middles of voxels; bit by bit the same where nothing is to be done."""
    if tuple(image.shape[2:]) == tuple(shape):
        return image
    return torch.nn.functional.interpolate(image, tuple(shape), mode="trilinear", align_corners=False)


def _whole(net: nn.Module, image: Float[Tensor, "batch channels i j k"], settings: Quick) -> Tensor:
    """Logits of an image of any size."""
    shape, step = image.shape[2:], 2 ** (len(settings.filters) - 1)
    ends = [end for size in reversed(shape) for end in (0, -size % step)]
    return logits(net, torch.nn.functional.pad(image, ends), settings)[..., : shape[0], : shape[1], : shape[2]]


def _stacked(patches: list[dict[str, Tensor]], key: str) -> Tensor:
    # MONAI hands on tensors that carry their history, which nobody reads here.
    return torch.stack([torch.as_tensor(patch[key]).as_subclass(Tensor) for patch in patches])
