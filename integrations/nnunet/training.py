"""What one training process of nnU-Net has to do with lesions, from the first loader to the last epoch."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionaug.integrations.nnunet.channels import roles_of
from lesionaug.integrations.nnunet.leakage import learned_subjects, suspects
from lesionaug.integrations.nnunet.record import TrainingRecord
from lesionaug.integrations.nnunet.schedule import Chance, Share
from lesionaug.integrations.nnunet.settings import read_settings
from lesionaug.integrations.nnunet.sources import Training, source_of

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class LesionTraining:
    """Settings, source, schedule and record of one training.

    Args:
        trainer: Of nnU-Net; only looked at, and written into its log.

    Raises:
        LesionAugError: The settings cannot be meant, or cannot be done with the trainer's dataset.
    """

    def __init__(self, trainer: nnUNetTrainer) -> None:
        self.log = trainer.print_to_log_file
        plans = trainer.plans_manager.plans
        self.settings = read_settings(plans)
        self.roles = roles_of(trainer.dataset_json, self.settings)
        self.share = Share(self.settings.schedule)
        assert trainer.output_folder is not None
        assert trainer.preprocessed_dataset_folder is not None
        self.record = TrainingRecord(Path(trainer.output_folder), trainer.local_rank)
        self.source = source_of(
            Training(
                settings=self.settings,
                roles=self.roles,
                preprocessed=Path(trainer.preprocessed_dataset_folder),
                transpose=tuple(plans["transpose_forward"]),
                spacing_mm=tuple(trainer.configuration_manager.spacing),
                patch_size=tuple(trainer.configuration_manager.patch_size),
                device=str(trainer.device) if trainer.device.type == "cuda" else "cpu",
                chance=Chance(self.settings.probability, self.share),
                ledger=self.record.ledger,
            )
        )
        atexit.register(self.close)

    def dataset(self, training: Any) -> Any:
        """The training dataset with lesions, or with what they need; the record begins.

        Args:
            training: nnU-Net's dataset of the cases to train with.
        """
        changed = self.source.dataset(training)
        self.record.begin(self.settings, self.roles, self.source.about())
        about, channels = self.source.about(), ", ".join(f"{name} ({index})" for name, index in self.roles.channels)
        self.log(
            f"Synthetic lesions: {about['mode']}, probability {self.settings.probability:g}, channels {channels}, "
            f"label {self.roles.lesion}; settings, digests and counts in {self.record.path}"
        )
        return changed

    def warn_of_leakage(self, cases: Iterable[str]) -> None:
        """Say which cases are called like subjects that the lesion models know.

        Args:
            cases: That the network is validated on.
        """
        found = suspects(cases, learned_subjects(self.settings.choice()))
        for case, patients in found.items():
            self.log(
                f"WARNING: validation case {case} is called like {', '.join(patients)}, from whom the lesion models "
                "have learned (their cards list all). If it is the same person, its Dice says less; see docs/nnunet.md"
            )

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Tell the workers where in its schedule the training is.

        Args:
            epoch: Counted from 0.
            epochs: Of the whole training.
        """
        self.share.begin(epoch, epochs)

    def report(self) -> None:
        """Write into log and record what happened since the last time; workers are some batches ahead."""
        news = self.record.count()
        none = sum(count for name, count in news.items() if name.startswith("none"))
        reasons = "; ".join(f"{count} {name}" for name, count in news.items() if name.startswith("none"))
        self.log(
            f"Synthetic lesions: {news['lesions']} in {news['samples']} samples"
            + (f", {none} samples without ({reasons})" if none else "")
        )

    def about(self) -> dict[str, Any]:
        """Plain data for checkpoints."""
        return {"settings": self.settings.to_dict(), **self.source.about()}

    def close(self) -> None:
        """End what was started; may be called again."""
        self.source.close()
        atexit.unregister(self.close)
