"""`python -m benchmarks.placement`: where lesions lie and what shape they have, beside real ones in the same anatomy.

Real: the database of single lesions, brought to the ICBM template by a non-linear registration. Synthetic: as many as
asked for, planned and drawn in that template. Both are sorted by the template's own tissue maps, which no part of the
generator has seen; tissue is what is likeliest in the voxel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import tyro
from scipy import ndimage

from benchmarks.measure import provenance
from benchmarks.realism.hosts import shared
from benchmarks.result_files import write_result
from lesionaug import PlanOptions, load_synthesizer
from lesionaug.assemble import assemble_scan
from lesionaug.gate import depth_ratio
from lesionaug.scan import Scan

VOLUMES_MM3 = (14.0, 4200.0)
SHELL_MM = 3.0
TOUCHES_MM = 1.5
PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Placement:
    """Compare synthetic lesions with real ones in the ICBM template.

    Args:
        scans: Plans of 20 lesions each.
        diffmask: Folder of a mask model instead of the packaged one.
        output: JSON file for all of it.
    """

    scans: int = 12
    diffmask: Path | None = None
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write."""
        origin, template = provenance(), Template.read()
        found = {"real": measured(real_lesions(), template), "synthetic": measured(self._synthetic(template), template)}
        table = {kind: summary(rows) for kind, rows in found.items()}
        print(f"{'':28}{'real':>40}{'synthetic':>40}")
        for name in table["real"]:
            print(f"{name:28}{table['real'][name]!s:>40}{table['synthetic'][name]!s:>40}")
        if self.output:
            write_result(self.output, "placement", asdict(self), origin, {"placement": table})

    def _synthetic(self, template: Template) -> Iterator[np.ndarray]:
        synthesizer = load_synthesizer(diffmask=self.diffmask)
        for seed in range(self.scans):
            plan = synthesizer.plan(template.scan, torch.Generator().manual_seed(seed), PlanOptions(num_lesions=20))
            _, instances = synthesizer.render_instances(template.scan, plan)
            for number in range(1, len(plan) + 1):
                voxels = np.argwhere(instances[0].numpy() == number)
                if len(voxels):
                    yield voxels


@dataclass(frozen=True)
class Template:
    """The ICBM brain: as a scan, and its own maps.

    Args:
        scan: T1w alone.
        tissue: 0 for white matter, 1 for grey matter, 2 for fluid.
        to_ventricles_mm: Distance to the lateral ventricles.
        to_cortex_mm: Distance to grey matter.
    """

    scan: Scan
    tissue: np.ndarray
    to_ventricles_mm: np.ndarray
    to_cortex_mm: np.ndarray

    @classmethod
    def read(cls) -> Template:
        """From the shared data."""
        folder = shared() / "data/healthy/icbm2009a"
        image = nib.load(folder / "t1_mni.nii.gz")
        white, grey = (_read(folder / f"{name}_mni.nii.gz") / 255 for name in ("wm", "gm"))
        brain = ndimage.binary_fill_holes(_read(folder / "t1_mni.nii.gz") > 0)
        tissue = np.argmax(np.stack([white, grey, np.clip(1 - white - grey, 0, 1)]), axis=0)
        t1w = torch.from_numpy(_read(folder / "t1_mni.nii.gz"))[None]
        scan = assemble_scan({"t1w": t1w}, image.affine, torch.zeros(t1w.shape, dtype=torch.bool))
        ventricles = _ventricles((tissue == 2) & brain)
        return cls(scan, tissue, *(ndimage.distance_transform_edt(~mask) for mask in (ventricles, tissue == 1)))


def _read(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj, np.float32)


def _ventricles(fluid: np.ndarray) -> np.ndarray:
    """Fluid in one piece around the middle of the brain, once thin bridges to the sulci are cut."""
    parts, _ = ndimage.label(ndimage.binary_erosion(fluid))
    middle = parts[80:100, 100:125, 80:95]
    chosen = np.bincount(middle[middle > 0]).argmax()
    return ndimage.binary_dilation(parts == chosen) & fluid


def real_lesions() -> Iterator[np.ndarray]:
    """Voxels of each lesion of the database."""
    stored = np.load(shared() / "data/lesion_db/lesions.npz")
    yield from np.split(stored["voxels"].astype(int), stored["offsets"][1:-1])


def measured(lesions: Iterator[np.ndarray], template: Template) -> list[dict[str, float]]:
    """One row a lesion of the sizes that are compared."""
    low, high = VOLUMES_MM3
    return [_row(voxels, template) for voxels in lesions if low <= len(voxels) <= high]


def _row(voxels: np.ndarray, template: Template) -> dict[str, float]:
    places, mask = tuple(voxels.T), _crop(voxels)
    shares = np.bincount(template.tissue[places], minlength=3) / len(voxels)
    to_ventricles, to_cortex = template.to_ventricles_mm[places], template.to_cortex_mm[places]
    return {
        "volume_mm3": float(len(voxels)),
        "in white matter": shares[0],
        "in grey matter": shares[1],
        "in fluid": shares[2],
        "near ventricles": float((to_ventricles <= SHELL_MM).mean()),
        "touches ventricles": float(to_ventricles.min() <= TOUCHES_MM),
        "touches cortex": float(to_cortex.min() <= TOUCHES_MM),
        "flat face": flat_face(mask),
        "depth over ball's radius": depth_ratio(torch.from_numpy(mask)[None]),
        "elongation": elongation(voxels),
    }


def _crop(voxels: np.ndarray) -> np.ndarray:
    inside = voxels - voxels.min(axis=0)
    mask = np.zeros(inside.max(axis=0) + 1, bool)
    mask[tuple(inside.T)] = True
    return mask


def flat_face(mask: np.ndarray) -> float:
    """Largest share of the surface's voxel faces that lie in one plane and look the same way."""
    padded, counts = np.pad(mask, 1), []
    for axis in range(3):
        step = np.diff(padded.astype(int), axis=axis)
        planes = tuple({0, 1, 2} - {axis})
        counts += [(step == sign).sum(axis=planes) for sign in (-1, 1)]
    return float(max(count.max() for count in counts) / sum(count.sum() for count in counts))


def elongation(voxels: np.ndarray) -> float:
    """First over second principal axis."""
    offsets = voxels - voxels.mean(axis=0)
    values = np.linalg.eigvalsh(offsets.T @ offsets / len(voxels) + np.eye(3) / 12)
    return float(np.sqrt(values[2] / values[1]))


def summary(rows: list[dict[str, float]]) -> dict[str, float | list[float]]:
    """Shares of all lesion volume for tissues, shares of lesions for touching, percentiles of the rest."""
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    volume, found = table.pop("volume_mm3"), {"lesions": len(rows)}
    for name, values in table.items():
        if name.startswith(("in ", "near ")):
            found[f"{name}, of volume"] = round(float((values * volume).sum() / volume.sum()), 3)
            found[f"{name}, mean"] = round(float(values.mean()), 3)
        elif name.startswith("touches"):
            found[name] = round(float(values.mean()), 3)
        else:
            found[name] = [round(float(value), 2) for value in np.percentile(values, PERCENTILES)]
    return found


if __name__ == "__main__":
    tyro.cli(Placement).run()
