"""No framework but torch: a data set whose scans have new lesions each time they are asked for.

python docs/examples/plain_torch.py --flair flair.nii.gz --t1w t1w.nii.gz --lesions lesions.nii.gz
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lesionaug import LesionAugmenter, ScanParts, lesion_augmenter


def read_scan(flair: Path, t1w: Path, lesions: Path) -> ScanParts:
    """Images of one grid as tensors (1, i, j, k), and where their voxels lie."""
    images = {"flair": _voxels(flair), "t1w": _voxels(t1w)}
    return ScanParts(images, nib.load(flair).affine, _voxels(lesions))


def _voxels(path: Path) -> Tensor:
    return torch.from_numpy(nib.load(path).get_fdata(dtype=np.float32))[None]


class ScansWithNewLesions(Dataset):
    """Pairs of an image (2, i, j, k) and a label (1, i, j, k); half of them with new lesions."""

    def __init__(self, scans: list[ScanParts], augmenter: LesionAugmenter, probability: float = 0.5) -> None:
        self.scans, self.augmenter, self.probability = scans, augmenter, probability

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        scan = self.scans[index]
        images, label = scan.images, scan.label
        if torch.rand(()) < self.probability:
            _, change = self.augmenter(scan, draw)
            images, label = scan.written(change)
        image = torch.cat([images["flair"], images["t1w"]])
        spread, mean = torch.std_mean(image, dim=(1, 2, 3), keepdim=True)
        return (image - mean) / spread, (label > 0).float()


def draw(count: int) -> int:
    """From torch's generator, which its loader seeds differently in each worker."""
    return int(torch.randint(count, ()))


def small_network() -> nn.Module:
    """Anything that makes a label (1, i, j, k) of an image (2, i, j, k)."""
    return nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 1, 3, padding=1))


def main(
    flair: Path, t1w: Path, lesions: Path, model: str = "default", cache: Path | None = None, epochs: int = 2
) -> None:
    """Train on one scan, four times an epoch, as if it were four."""
    torch.manual_seed(0)
    augmenter = lesion_augmenter(model=model, num_lesions=(1, 5), cache=cache, variants=4)
    dataset = ScansWithNewLesions([read_scan(flair, t1w, lesions)] * 4, augmenter)
    network = small_network()
    optimiser = torch.optim.Adam(network.parameters())
    for epoch in range(epochs):
        for image, label in DataLoader(dataset, batch_size=2, num_workers=2):
            loss = nn.functional.binary_cross_entropy_with_logits(network(image), label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            print(f"epoch {epoch}: loss {loss.item():.3f}, {int(label.sum())} lesion voxels in the batch")


if __name__ == "__main__":
    tyro.cli(main)
