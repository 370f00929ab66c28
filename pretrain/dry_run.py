"""`--dry-run`: what a training would be, before hours are spent on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lesionaug.pretrain.course import Course
    from lesionaug.pretrain.presets import Training

COPIES = 5  # of the weights: themselves, gradients, Adam's two moments, their average
TRIES = 8  # batches whose memory is looked at; sizes differ
HEADROOM = 1.3  # a guess at what libraries take besides


@dataclass(frozen=True)
class DryRun:
    """Prints a training instead of running it.

    Args:
        training: Its configuration.
    """

    training: Training

    def run(self) -> None:
        """Print."""
        print("\n".join([*resolved(self.training), "", *sizes(self.training, self.training.course())]))


def resolved(config: Any, indent: str = "") -> Iterator[str]:
    """Every value of a configuration, a line each."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield f"{indent}{field.name}:"
            yield from resolved(value, indent + "  ")
        else:
            yield f"{indent}{field.name}: {value}"


def sizes(config: Training, course: Course) -> list[str]:
    """Parameters, patches, batches, steps and memory."""
    parameters = sum(p.numel() for p in course.network.parameters())
    learned = sum(len(group) for group in course.learned)
    held = sum(len(group) for group in course.held)
    scans, patients = ({getattr(g, name) for g in course.learned} for name in ("subject", "patient"))
    memory = COPIES * 4 * parameters + activation_bytes(course) * (0.5 if config.fit.bf16 else 1)
    return [
        f"network    {parameters:,} parameters, {2 * parameters / 1e6:.1f} MB as a model folder",
        f"learns     from {learned:,} patches of {len(scans)} scans of {len(patients)} patients",
        f"held out   {held:,} patches" + ("" if held else "; no held-out loss, no best model, only the last"),
        f"steps      {config.fit.steps:,} of {config.fit.accumulate} batches",
        f"memory     about {HEADROOM * memory / 1e9:.2g} GB for weights, optimiser and the largest of {TRIES} batches",
        f"checkpoint {4 * (COPIES - 1) * parameters / 1e6:.1f} MB, {1 + config.fit.keep} are kept",
    ]


def activation_bytes(course: Course) -> int:
    """What a step keeps for its gradients, found without computing anything."""
    network = deepcopy(course.network).to("meta")
    generator = torch.Generator().manual_seed(0)
    return max(_kept(course, network, generator) for _ in range(TRIES))


def _kept(course: Course, network: nn.Module, generator: torch.Generator) -> int:
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[id(tensor.untyped_storage())] = tensor.element_size() * math.prod(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = course.loss(network, generator)
    del loss
    return sum(kept.values())
