"""TorchIO 1.x: whole scans get new lesions, then a queue cuts patches, half of them centred on lesions.

python docs/examples/torchio_patches.py --flair flair.nii.gz --t1w t1w.nii.gz --lesions lesions.nii.gz
"""

from __future__ import annotations

from pathlib import Path

import torch
import torchio as tio
import tyro

from lesionaug import SyntheticMSLesion


def main(
    flair: Path, t1w: Path, lesions: Path, model: str = "default", cache: Path | None = None, workers: int = 2
) -> None:
    """Show which patches a network would get of one scan that stands for four."""
    torch.manual_seed(0)
    subject = tio.Subject(flair=tio.ScalarImage(flair), t1=tio.ScalarImage(t1w), lesion=tio.LabelMap(lesions))
    transform = tio.Compose(
        [
            tio.ToCanonical(),
            SyntheticMSLesion(model=model, num_lesions=(1, 5), p=0.5, cache=cache, variants=4),
            tio.RandomFlip(axes=(0,)),
            tio.ZNormalization(),
        ]
    )
    queue = tio.Queue(
        tio.SubjectsDataset([subject] * 4, transform),
        max_length=16,
        samples_per_volume=4,
        sampler=tio.LabelSampler(24, "lesion", {0: 1, 1: 1}),
        num_workers=workers,
    )
    for batch in tio.SubjectsLoader(queue, batch_size=8):
        image = torch.cat([batch["flair"]["data"], batch["t1"]["data"]], dim=1)
        with_lesions = batch["lesion"]["data"].flatten(1).any(dim=1)
        print(f"patches {tuple(image.shape)}, {int(with_lesions.sum())} of them with lesions")


if __name__ == "__main__":
    tyro.cli(main)
