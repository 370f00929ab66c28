"""Single lesions in a template's anatomy as patches: shapes to learn from, each where it lay.

    lesions.npz (voxels of each lesion in the template) ─┐
    template's image ──► anatomy ────────────────────────┴──► one file of the patch store

Lesions of many patients lie over each other, so that they are cut one by one; there is no image of any of them.

Reference:
    Senra Filho et al., Biomedical Physics & Engineering Express 5(3), 035003 (2019): 2,229 mark-ups of lesions, brought
    to MNI space by a non-linear registration.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from lesionaug.pretrain.cutting import cut_one, record_of, stacked
from lesionaug.pretrain.index import MODEL, StoreIndex, write_index
from lesionaug.pretrain.labelled import LabelledScan
from lesionaug.pretrain.patches import write_patches
from lesionaug.pretrain.reading import anatomy_bits
from torch import Tensor

from lesionaug.anatomy import anatomy_from_images
from lesionaug.folders import complete_folder
from lesionaug.io import read_intensities


@dataclass(frozen=True)
class Database:
    """Cut a database of single lesions in MNI space into a patch store.

    Args:
        lesions: Archive with `voxels` (n, 3), `offsets` of each lesion among them, and `affine`.
        template: T1-weighted image of the brain that they were brought to, on the same grid.
        output: Folder of the patch store, new or empty.
        scale: Factor on the voxel size: the template is larger than life.
        name: Of the subject and the patient that all of them are filed under.
    """

    lesions: Path
    template: Path
    output: Path
    scale: float = 0.86
    name: str = "lesion_db"

    def run(self) -> None:
        """Find the template's anatomy, cut, write."""
        scan, lesions = self._template(), np.load(self.lesions)
        parts = np.split(lesions["voxels"].astype(int), lesions["offsets"][1:-1])
        patches: dict[str, list[Tensor]] = defaultdict(list)
        records = tuple(cut_one(patches, scan, voxels) for voxels in parts)
        with complete_folder(self.output) as folder:
            write_patches(folder, scan, stacked(patches))
            described = {"name": self.lesions.name, "layout": "database", "scale": self.scale, "scans": 1}
            write_index(folder, StoreIndex(MODEL, (described,), (record_of(scan, records, 0),)))
        print(f"wrote {self.output}: {sum(record.patch for record in records)} of {len(records)} lesions")

    def _template(self) -> LabelledScan:
        image = read_intensities(self.template)
        none = np.zeros(image.data.shape, bool)
        anatomy = anatomy_from_images(torch.from_numpy(image.data).float()[None], ("t1w",), image.affine)
        spacing = self.scale * np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
        return LabelledScan(
            subject=self.name,
            patient=self.name,
            channels=(),
            image=np.zeros((0, *none.shape), np.float32),
            lesions=none,
            brain=anatomy.brain[0].numpy(),
            spacing_mm=tuple(spacing.tolist()),
            affine=image.affine,
            brain_from="found in the template",
            anatomy=anatomy_bits(anatomy, none),
        )


if __name__ == "__main__":
    tyro.cli(Database).run()
