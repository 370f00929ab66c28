"""A picture of training patches as nnU-Net's network sees them, after all of its augmentation.

`python -m benchmarks.nnunet_figure 501 --output docs/figures/nnunet-patches.png`
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

SYNTHETIC = 2
"""Label of new lesions in the picture; in training they have that of real ones."""


class Shown(NamedTuple):
    """A slice: image, and outlines of what is really there and of what is new."""

    case: str
    image: np.ndarray
    real: np.ndarray
    new: np.ndarray


@dataclass(frozen=True)
class NnunetFigure:
    """Draw patches, the same ones without outlines and with: of three times as many those with most new lesion.

    Args:
        dataset: Number or name, as nnU-Net's commands take it.
        configuration: Of nnU-Net.
        channel: Model channel that is shown.
        patches: How many.
        seed: Of NumPy.
        output: PNG file.
    """

    dataset: tyro.conf.Positional[str]
    configuration: str = "3d_fullres"
    channel: str = "flair"
    patches: int = 6
    seed: int = 0
    output: Path = Path("docs/figures/nnunet-patches.png")

    def run(self) -> None:
        """Train nothing; take batches, and draw."""
        np.random.seed(self.seed)
        shown = self.shown()
        drawn = sorted((next(shown) for _ in range(3 * self.patches)), key=lambda patch: -int(patch.new.sum()))
        draw(drawn[: self.patches], self.output)

    def shown(self) -> Iterator[Shown]:
        """Patches with new lesions, live ones: one slice of each."""
        trainer = _trainer(self.dataset, self.configuration)
        try:
            loader, _ = trainer.get_dataloaders()
            lesions = loader.data_loader.transforms.transforms[0]
            marked = replace(lesions, roles=replace(lesions.roles, lesion=SYNTHETIC), chance=lambda: 1.0)
            loader.data_loader.transforms.transforms[0] = marked
            while True:
                yield from _slices(next(loader), dict(lesions.roles.channels)[self.channel])
        finally:
            trainer.lesion_training.close()


def _trainer(dataset: str, configuration: str) -> Any:
    import torch
    from lesionaug.integrations.nnunet.compat import make_torchvision_importable
    from lesionaug.integrations.nnunet.programs import DEFAULT_TRAINER, extension_folder

    make_torchvision_importable()
    os.environ.update({"nnUNet_n_proc_DA": "0", "nnUNet_extTrainer": str(extension_folder())})
    from nnunetv2.run.run_training import get_trainer_from_args

    trainer = get_trainer_from_args(dataset, configuration, 0, DEFAULT_TRAINER, device=torch.device("cpu"))
    trainer.initialize()
    trainer.plans_manager.plans["lesionaug"] = {"mode": "live"}
    return trainer


def _slices(batch: dict[str, Any], channel: int) -> Iterator[Shown]:
    """Of each patch that has new lesions, the slice with most of them."""
    targets = batch["target"][0] if isinstance(batch["target"], list) else batch["target"]
    for case, data, target in zip(batch["keys"], batch["data"].numpy(), targets.numpy(), strict=True):
        new = target[0] == SYNTHETIC
        if new.any():
            z = int(new.sum(axis=(1, 2)).argmax())
            yield Shown(str(case), data[channel, z], target[0, z] == 1, new[z])


def draw(patches: list[Shown], path: Path) -> None:
    """Two rows: without outlines, and with those of real (blue) and of new lesions (red)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(patches), figsize=(2.2 * len(patches), 4.6), layout="constrained")
    for column, patch in zip(axes.T, patches, strict=True):
        low, high = np.percentile(patch.image, (2, 99.7))
        for axis in column:
            axis.imshow(patch.image, cmap="gray", vmin=low, vmax=high)
            axis.axis("off")
        column[0].set_title(patch.case, fontsize=8)
        for mask, color in ((patch.real, "deepskyblue"), (patch.new, "red")):
            if mask.any():
                column[1].contour(mask, [0.5], colors=color, linewidths=0.8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(NnunetFigure).run()
