"""MONAI: the scan is read once and kept in memory; its lesions are new in every epoch.

pip install ".[monai]"
python docs/examples/monai_training.py --flair flair.nii.gz --t1w t1w.nii.gz --lesions lesions.nii.gz
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from lesionaug.integrations.monai import RandSyntheticMSLesiond
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from monai.transforms import (
    Compose,
    ConcatItemsd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    RandCropByPosNegLabeld,
    RandFlipd,
)
from monai.utils import set_determinism

KEYS = ("flair", "t1w", "label")


def transform_of(model: str, cache: Path | None) -> Compose:
    """What comes before the lesions is done once and kept; the lesions and what comes after them, every time."""
    return Compose(
        [
            LoadImaged(KEYS),
            EnsureChannelFirstd(KEYS),
            RandSyntheticMSLesiond(
                ("flair", "t1w"), label_key="label", prob=0.5, model=model, num_lesions=(1, 5), cache=cache, variants=4
            ),
            ConcatItemsd(("flair", "t1w"), name="image"),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            RandCropByPosNegLabeld(("image", "label"), "label", spatial_size=(32, 32, 32), num_samples=2),
            RandFlipd(("image", "label"), prob=0.5, spatial_axis=0),
        ]
    )


def main(
    flair: Path, t1w: Path, lesions: Path, model: str = "default", cache: Path | None = None, epochs: int = 2
) -> None:
    """Train on one scan, four times an epoch, as if it were four."""
    set_determinism(0)
    files = {"flair": str(flair), "t1w": str(t1w), "label": str(lesions)}
    dataset = CacheDataset([files] * 4, transform_of(model, cache), progress=False)
    network = BasicUNet(spatial_dims=3, in_channels=2, out_channels=1, features=(8, 8, 16, 16, 32, 8))
    loss_of, optimiser = DiceCELoss(sigmoid=True), torch.optim.Adam(network.parameters())
    for epoch in range(epochs):
        for batch in DataLoader(dataset, batch_size=2, num_workers=2):
            loss = loss_of(network(batch["image"].as_tensor()), batch["label"].as_tensor())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            print(f"epoch {epoch}: loss {loss.item():.3f}")


if __name__ == "__main__":
    tyro.cli(main)
