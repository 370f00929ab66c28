"""`python -m lesionaug.pretrain.prepare DATA... --output PATCHES`: scans with lesion masks to a patch store.

Understands any tree in which a folder per scan holds `flair.nii.gz` (and `t1`, `t1w`, `t2`, `t2w`), `lesion.nii.gz` and
`brainmask.nii.gz`; and folders of `NAME_lesion.nii.gz` with `NAME_brainmask.nii.gz`, masks without images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import tyro
from lesionaug.pretrain.patches import LabelledScan, write_scan
from nibabel.spatialimages import SpatialImage

from lesionaug.errors import LesionAugError
from lesionaug.types import triple

FILE_NAMES = {"flair": ("flair",), "t1w": ("t1w", "t1"), "t2w": ("t2w", "t2")}


@dataclass(frozen=True)
class Prepare:
    """Cut scans with lesion masks into training patches.

    Args:
        data: Folders to search.
        output: Folder of the patch store.
        healthy: Patches of normal-appearing tissue per scan with images.
    """

    data: tyro.conf.Positional[tuple[Path, ...]]
    output: Path
    healthy: int = 60


def find_scans(root: Path) -> Iterator[LabelledScan]:
    """All labelled scans below a folder, in order of their names."""
    for lesions in sorted(root.rglob("*lesion.nii.gz")):
        prefix = lesions.name.removesuffix("lesion.nii.gz")
        brain = lesions.with_name(f"{prefix}brainmask.nii.gz")
        if brain.exists():
            yield _read_scan(lesions, brain, prefix.rstrip("_") or lesions.parent.name)


def _read_scan(lesions: Path, brain: Path, subject: str) -> LabelledScan:
    mask = _open(lesions)
    images = {} if lesions.name != "lesion.nii.gz" else _images(lesions.parent)
    arrays = [np.asarray(_open(file).dataobj, dtype=np.float32) for file in images.values()]
    return LabelledScan(
        subject=subject,
        patient=subject.split("_T")[0],
        channels=tuple(images),
        image=np.stack(arrays) if arrays else np.zeros((0, *mask.shape), np.float32),
        lesions=np.asarray(mask.dataobj) > 0,
        brain=np.asarray(_open(brain).dataobj) > 0,
        spacing_mm=triple(float(s) for s in mask.header.get_zooms()[:3]),
    )


def _open(path: Path) -> SpatialImage:
    image = nib.load(path)
    if not isinstance(image, SpatialImage):
        raise LesionAugError(f"Expected a NIfTI file, got {type(image).__name__} in {path}; convert it to .nii.gz")
    return image


def _images(folder: Path) -> dict[str, Path]:
    found = {
        channel: file
        for channel, names in FILE_NAMES.items()
        for name in names
        if (file := folder / f"{name}.nii.gz").exists()
    }
    return found


def main(config: Prepare) -> None:
    """Cut every scan; print a line for each."""
    for root in config.data:
        for scan in find_scans(root):
            counts = write_scan(scan, config.output, healthy=config.healthy if scan.channels else 0)
            found = f"{counts['patches']} lesions, {counts['healthy']} healthy, {counts['skipped']} too large"
            print(f"{scan.subject}: {found}")


if __name__ == "__main__":
    main(tyro.cli(Prepare))
