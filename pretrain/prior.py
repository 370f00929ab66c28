"""The prior that comes with the package: `python -m lesionaug.pretrain.prior DATA OUTPUT.json`."""

from __future__ import annotations

from pathlib import Path

import tyro

from lesionaug.prior import LesionPrior
from lesionaug.prior_fit import ObservedScan


def packaged_prior(data: Path) -> LesionPrior:
    """The prior that comes with the package.

    Args:
        data: Folder with `open_ms/masks_1mm` (`NAME_lesion.nii.gz` and `NAME_brainmask.nii.gz`), `open_ms/subjects_mni`
            and `mslesseg` (a folder for each scan: `flair`, `t1`, `t2`, `lesion` and `brainmask.nii.gz`).
    """
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


def main(data: tyro.conf.Positional[Path], output: tyro.conf.Positional[Path]) -> None:
    """Fit the packaged prior to the data named in its card.

    Args:
        data: Folder as `packaged_prior` describes it.
        output: JSON file to write.
    """
    packaged_prior(data).save(output)


if __name__ == "__main__":
    tyro.cli(main)
