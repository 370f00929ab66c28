"""Trainings of nnU-Net that take turns in one process, and what each iteration of theirs takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

Way = Literal["without", "cached", "live"]


@dataclass
class Course:
    """A training as it goes on.

    Args:
        way: Of getting lesions.
        trainer: Of nnU-Net, ready for its first epoch.
        batch_s: What each batch took, in this process, with all of its augmentation.
        step_s: What each step of the network took.
    """

    way: Way
    trainer: Any
    batch_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)

    def epoch(self) -> None:
        """One epoch with nnU-Net's own hooks, as `run_training` does it."""
        trainer = self.trainer
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([self._iteration() for _ in range(trainer.num_iterations_per_epoch)])
        with torch.no_grad():
            trainer.on_validation_epoch_start()
            batches = range(trainer.num_val_iterations_per_epoch)
            trainer.on_validation_epoch_end([trainer.validation_step(next(trainer.dataloader_val)) for _ in batches])
        trainer.on_epoch_end()

    def _iteration(self) -> Any:
        start = time.perf_counter()
        batch = next(self.trainer.dataloader_train)
        loaded = time.perf_counter()
        result = self.trainer.train_step(batch)
        self.batch_s.append(loaded - start)
        self.step_s.append(time.perf_counter() - loaded)
        return result

    def losses(self) -> dict[str, list[float]]:
        """Of each epoch."""
        return {name: [float(x) for x in self.trainer.logger.get_value(name, None)] for name in LOSSES}

    def counts(self) -> dict[str, int]:
        """Lesions, and samples with and without."""
        training = getattr(self.trainer, "lesion_training", None)
        return dict(training.record.counts) if training else {}

    def close(self) -> None:
        """End what it has started."""
        if self.counts():
            self.trainer.lesion_training.close()


LOSSES = ("train_losses", "val_losses", "mean_fg_dice")


def begun(way: Way, dataset: str, configuration: str, device: str, epochs: int, iterations: int) -> Course:
    """A training of a dataset, with its loaders; the settings decide about lesions but for the mode."""
    from lesionaug.integrations.nnunet.trainers import with_synthetic_lesions
    from nnunetv2.run.run_training import get_trainer_from_args
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(0)  # the same network for all
    np.random.seed(0)
    name = "nnUNetTrainer" if way == "without" else with_synthetic_lesions(nnUNetTrainer).__name__
    trainer = get_trainer_from_args(dataset, configuration, 0, name, device=torch.device(device))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, iterations, 4
    trainer.disable_checkpointing = True
    if way != "without":
        trainer.plans_manager.plans["lesionaug"] = {"mode": way}
    trainer.on_train_start()
    return Course(way, trainer)
