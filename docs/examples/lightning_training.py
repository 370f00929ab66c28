"""PyTorch Lightning: its loaders are torch's, so the data set of `plain_torch.py` is all that it needs.

pip install pytorch-lightning
python docs/examples/lightning_training.py --flair flair.nii.gz --t1w t1w.nii.gz --lesions lesions.nii.gz
"""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch
import tyro
from plain_torch import ScansWithNewLesions, read_scan, small_network
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lesionaug import ScanParts, lesion_augmenter


class Scans(pl.LightningDataModule):
    """New lesions for training; validation sees every scan as it is."""

    def __init__(self, training: list[ScanParts], validation: list[ScanParts], model: str, cache: Path | None) -> None:
        super().__init__()
        self.training, self.validation = training, validation
        self.augmenter = lesion_augmenter(model=model, num_lesions=(1, 5), cache=cache, variants=4)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(ScansWithNewLesions(self.training, self.augmenter), batch_size=2, num_workers=2)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(ScansWithNewLesions(self.validation, self.augmenter, probability=0), batch_size=2)


class Segmentation(pl.LightningModule):
    """A network and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        image, label = batch
        return nn.functional.binary_cross_entropy_with_logits(self.network(image), label)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("loss", self.training_step(batch, index), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def main(
    flair: Path, t1w: Path, lesions: Path, model: str = "default", cache: Path | None = None, epochs: int = 2
) -> None:
    """Train on one scan, four times an epoch, as if it were four."""
    pl.seed_everything(0, verbose=False)
    scan = read_scan(flair, t1w, lesions)
    trainer = pl.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(Segmentation(), Scans([scan] * 4, [scan], model, cache))
    print(f"validation loss {trainer.callback_metrics['loss']:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
