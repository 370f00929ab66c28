"""The prior that comes with the package: `python -m lesionaug.pretrain.prior DATA OUTPUT.json`."""

from __future__ import annotations

import sys
from pathlib import Path

from lesionaug.prior import LesionPrior
from lesionaug.prior_fit import ObservedScan


def packaged_prior(data: Path) -> LesionPrior:
    """The prior that comes with the package."""
    masks = sorted((data / "open_ms/masks_1mm").glob("*_lesion.nii.gz"))
    sized = [ObservedScan.read(path, str(path).replace("_lesion", "_brainmask")) for path in masks]
    folders = [data / "open_ms/subjects_mni/patient07", data / "open_ms/subjects_mni/patient19"]
    folders += [data / "mslesseg" / name for name in ("P14_T1", "P14_T2", "P14_T3", "P18_T1")]
    imaged = [_imaged(folder) for folder in folders]
    source = f"sizes: {len(sized)} patients of open_ms; contrast: open_ms 07 and 19, MSLesSeg P14 and P18"
    return LesionPrior.fit(sized, imaged, source)


def _imaged(folder: Path) -> ObservedScan:
    files = {"flair": folder / "flair.nii.gz", "t1w": folder / "t1.nii.gz", "t2w": folder / "t2.nii.gz"}
    present = {channel: path for channel, path in files.items() if path.exists()}
    return ObservedScan.read(folder / "lesion.nii.gz", folder / "brainmask.nii.gz", present, folder.name.split("_")[0])


if __name__ == "__main__":
    packaged_prior(Path(sys.argv[1])).save(sys.argv[2])
