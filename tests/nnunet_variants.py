"""A preprocessed dataset of one's own, prepared by the command line, and opened as a training opens it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lesionaug.integrations.nnunet.channels import Roles, roles_of
from lesionaug.integrations.nnunet.overlays import Overlays, open_overlays, overlays_folder
from lesionaug.integrations.nnunet.settings import NnunetSettings, read_settings
from nnunet_dataset import CONFIGURATION, NAME
from scan_files import Outcome, call
from scipy import ndimage

FEW = {"mode": "cached", "model": "parametric", "lesions_per_case": 3, "diameter_mm": [6, 12], "variants": 2}


@dataclass(frozen=True)
class Workplace:
    """A dataset that a test may prepare and damage.

    Args:
        cases: Folder of its preprocessed cases.
    """

    cases: Path

    @classmethod
    def copy_of(cls, datasets: Path, name: str, root: Path) -> Workplace:
        shutil.copytree(datasets / name / "preprocessed", root / "preprocessed")
        return cls(root / "preprocessed" / NAME / f"nnUNetPlans_{CONFIGURATION}")

    @property
    def overlays(self) -> Path:
        return overlays_folder(self.cases)

    @property
    def names(self) -> list[str]:
        return sorted(path.stem for path in self.cases.glob("*.pkl"))

    def use(self, monkeypatch, **given: object) -> None:
        """Let nnU-Net and lesionaug find it, with these settings."""
        root = self.cases.parents[1]
        path = root / "settings.json"
        path.write_text(json.dumps({**FEW, **given}))
        monkeypatch.setenv("nnUNet_preprocessed", str(root))
        monkeypatch.setenv("LESIONAUG_NNUNET_CONFIG", str(path))

    def prepare(self, capsys, *more: object) -> Outcome:
        return call(capsys, "nnunet", "prepare", "501", "--configuration", CONFIGURATION, "--device", "cpu", *more)

    def settings(self) -> tuple[NnunetSettings, Roles]:
        settings = read_settings(json.loads((self.cases.parent / "nnUNetPlans.json").read_text()))
        return settings, roles_of(json.loads((self.cases.parent / "dataset.json").read_text()), settings)

    def open(self, *names: str) -> Overlays:
        return open_overlays(self.cases, names or self.names, *self.settings())

    def dataset(self):
        """nnU-Net's own."""
        from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

        return infer_dataset_class(str(self.cases))(str(self.cases))


def whole(loaded: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Image and segmentation of a loaded case, in memory."""
    return loaded[0][:], loaded[1][:]


def always() -> float:
    return 1.0


def rewritten(path: Path, change: Callable[[dict], dict]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def agreement(ours: torch.Tensor, theirs: torch.Tensor, to_theirs: np.ndarray) -> float:
    """Dice of two masks on different grids.

    Args:
        ours: Shape `(1, i, j, k)`.
        theirs: Likewise, of other voxels.
        to_theirs: Voxel of ours to voxel of theirs, 4 by 4.
    """
    values, (matrix, offset) = theirs[0].numpy().astype(np.float32), (to_theirs[:3, :3], to_theirs[:3, 3])
    moved = ndimage.affine_transform(values, matrix, offset, output_shape=ours.shape[1:], order=1) > 0.5
    return 2 * (moved & ours[0].numpy()).sum() / (moved.sum() + ours.sum().item())
