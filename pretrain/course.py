"""What the loop is taught, whichever model it is: a network, its loss, what it makes of held-out patches, its folder.

store ──► learned and held-out patches ──► Course ──► fit ──► RUN/model
                                           one function `course` per model and architecture
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from lesionaug.pretrain.fit import FitConfig, fit, half_precision, held_out_loss
from lesionaug.pretrain.patches import PatchGroup
from lesionaug.pretrain.processes import is_main
from lesionaug.pretrain.provenance import check_same_run, write_provenance
from torch import Tensor, nn

from lesionaug.models.checkpoints import save_model

Network = TypeVar("Network", bound=nn.Module)

BEST = "best"
MODEL = "model"


class Training(Protocol):
    """What all training configurations have."""

    @property
    def output(self) -> Path:
        """Folder of the run."""
        ...

    @property
    def fit(self) -> FitConfig:
        """How long and how fast."""
        ...

    def course(self) -> Course:
        """What there is to learn."""
        ...


@dataclass(frozen=True)
class Course(Generic[Network]):
    """All that differs from model to model.

    Args:
        network: To be trained.
        loss: Of a batch that it draws with the generator.
        held_loss: The same on held-out patches as they are; None where no patient is held out.
        held_batches: How many batches of those are looked at.
        page: A page of what the network makes of a few patches.
        settings: What `config.json` says besides the digest.
        extra: Tensors that the model needs besides the network's.
        learned: Patches it learns from.
        held: Patches it is only judged by.
    """

    network: Network
    loss: Callable[[Network, torch.Generator], Tensor]
    held_loss: Callable[[Network, torch.Generator], Tensor] | None
    held_batches: int
    page: Callable[[Network], np.ndarray]
    settings: Mapping[str, Any]
    extra: Mapping[str, Tensor]
    learned: list[PatchGroup]
    held: list[PatchGroup]

    def validate(self, network: Network) -> dict[str, float]:
        """Figures of held-out patches."""
        if self.held_loss is None:
            return {}
        return held_out_loss(partial(self.held_loss, network), self.held_batches)

    def write(self, folder: Path, network: Network) -> None:
        """The model folder, in half precision."""
        save_model(folder, self.settings, half_precision({**network.state_dict(), **self.extra}))


def teach(config: Training) -> None:
    """Train, or go on training, and write the model folder.

    Raises:
        LesionAugError: The run's folder holds another run; or see `fit`.
    """
    run, course = config.output, config.course()
    check_same_run(run, config, course.learned)
    if is_main():
        write_provenance(run, config, course.learned, course.held)
    average = fit(
        course.network,
        partial(course.loss, course.network),
        config.fit,
        run,
        validate=course.validate,
        picture=course.page,
        keep_best=partial(course.write, run / BEST),
    )
    if is_main():
        course.write(run / MODEL, average)


def device_of(network: nn.Module) -> torch.device:
    """Where a network is."""
    return next(network.parameters()).device


def to_device(value: Any, device: torch.device) -> Any:
    """A tensor, or a dataclass of such, on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: to_device(getattr(value, field.name), device) for field in fields(value)}
        return replace(value, **parts)
    return value
