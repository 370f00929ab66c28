"""Any of nnU-Net's trainers with lesions: `nnUNetTrainerSyntheticMSLesion`, `nnUNetTrainerDA5SyntheticMSLesion`.

What differs between trainers is theirs; what is added is `lesionaug.integrations.nnunet.training.LesionTraining`, which
the hooks here call.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lesionaug.integrations.nnunet.training import LesionTraining
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

SUFFIX = "SyntheticMSLesion"

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Base
else:
    Base = object


class SyntheticLesionHooks(Base):
    """What a trainer does besides; it has no constructor, for nnU-Net looks at the constructor's parameters."""

    lesion_training: LesionTraining | None = None
    plain_name: str
    """Of the trainer without lesions."""

    def get_dataloaders(self) -> Any:
        """Loaders of nnU-Net; all that lesions need is there before their workers are."""
        if self.lesion_training:
            self.lesion_training.close()
        self.lesion_training = LesionTraining(self)
        return super().get_dataloaders()

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> Any:
        """Transforms of nnU-Net, after those that lesions need."""
        transforms = super().get_training_transforms(*args, **kwargs)
        return self.lesion_training.source.transforms(transforms) if self.lesion_training else transforms

    def get_tr_and_val_datasets(self) -> Any:
        """Datasets of nnU-Net, the first one with lesions; nothing is done to what it validates with."""
        training, validation = super().get_tr_and_val_datasets()
        if self.lesion_training is None:
            return training, validation
        self.lesion_training.warn_of_leakage(validation.identifiers)
        return self.lesion_training.dataset(training), validation

    def on_train_epoch_start(self) -> None:
        """nnU-Net's, and the schedule."""
        super().on_train_epoch_start()
        if self.lesion_training:
            self.lesion_training.begin_epoch(self.current_epoch, self.num_epochs)

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """nnU-Net's, and a line on lesions in its log."""
        super().on_train_epoch_end(train_outputs)
        if self.lesion_training:
            self.lesion_training.report()

    def run_training(self) -> None:
        """nnU-Net's; whatever stops it, epochs that are done are kept and the render server ends."""
        try:
            super().run_training()
        except BaseException:
            self._keep_done_epochs()
            raise
        finally:
            if self.lesion_training:
                self.lesion_training.close()

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's, which also says what the lesions were; an earlier one of that name stays until this is whole."""
        if not self.lesion_training or self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        partial = Path(f"{filename}.partial")
        try:
            super().save_checkpoint(str(partial))
            plain = self.plain_name if self.lesion_training.settings.plain_checkpoint else type(self).__name__
            _amend(partial, trainer_name=plain, lesionaug=self.lesion_training.about())
            os.replace(partial, filename)
        finally:
            partial.unlink(missing_ok=True)

    def _keep_done_epochs(self) -> None:
        """A checkpoint from which `--c` goes on, unless no epoch is done or all are."""
        if self.lesion_training is None or not 0 < self.current_epoch < self.num_epochs:
            return
        self.current_epoch -= 1  # a checkpoint says that the current epoch is done, and it is not
        self.save_checkpoint(f"{self.output_folder}/checkpoint_latest.pth")
        self.current_epoch += 1
        self.print_to_log_file(f"Stopped in epoch {self.current_epoch}; continue with --c")


@cache
def with_synthetic_lesions(trainer: type) -> type:
    """The same trainer with lesions.

    Args:
        trainer: `nnUNetTrainer` or a class derived from it.

    Returns:
        A class of the same name and `SyntheticMSLesion`.
    """
    name = f"{trainer.__name__}{SUFFIX}"
    documentation = f"{trainer.__name__} with synthetic multiple-sclerosis lesions in its training cases."
    members = {"__module__": __name__, "__doc__": documentation, "plain_name": trainer.__name__}
    return type(name, (SyntheticLesionHooks, trainer), members)


def __getattr__(name: str) -> type:
    """A trainer by name, for nnU-Net's search and for pickle."""
    plain = name.removesuffix(SUFFIX)
    if plain == name or not plain:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return with_synthetic_lesions(recursive_find_trainer_class_by_name(plain))


def _amend(path: Path, **entries: Any) -> None:
    """Change entries of a checkpoint that was just written."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    torch.save({**checkpoint, **entries}, path)
