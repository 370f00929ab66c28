"""The processes of one training: one, or as many as `torchrun` started. All that knows of accelerate.

Gradients are averaged once per optimiser step, in one message, whatever they came from: a loss may call the network as
often and as it likes, and accumulation costs no traffic.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lesionaug.errors import LesionAugError
from lesionaug.models.registry import check_device

if TYPE_CHECKING:
    from accelerate import Accelerator


def is_main() -> bool:
    """Whether this process is the one that writes, before and after it has met the others."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Processes:
    """This process among all of a training.

    Args:
        accelerator: Knows the others.
        device: Of this process.
    """

    accelerator: Accelerator
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Processes:
        """Find the others.

        Args:
            device: Where to train; `auto` is the GPU where there is one.

        Raises:
            LesionAugError: accelerate is not installed, or there is no such device.
        """
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise LesionAugError(
                f"Expected accelerate for training, got no such package ({error}); pip install lesionaug[pretrain]"
            ) from error
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        accelerator = Accelerator(cpu=device == "cpu")
        return cls(accelerator, accelerator.device if accelerator.num_processes > 1 else check_device(device))

    @property
    def count(self) -> int:
        """How many."""
        return self.accelerator.num_processes

    @property
    def rank(self) -> int:
        """Which of them this one is."""
        return self.accelerator.process_index

    @property
    def is_main(self) -> bool:
        """Whether this one writes and talks."""
        return self.accelerator.is_main_process

    def mean(self, value: float) -> float:
        """Over all processes."""
        if self.count == 1:
            return value
        return float(self._averaged(torch.tensor([value], device=self.device))[0])

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all gradients; a parameter that a process did not use counts as zero there."""
        if self.count == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        parts = self._averaged(flat).split([p.numel() for p in learning])
        for parameter, part in zip(learning, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def gather(self, value: Any) -> list:
        """What each process has, by rank."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()

    def _averaged(self, value: Tensor) -> Tensor:
        mean = self.accelerator.reduce(value, reduction="mean")
        assert isinstance(mean, Tensor)
        return mean
