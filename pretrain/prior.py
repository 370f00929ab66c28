"""The prior that comes with the package: `python -m lesionaug.pretrain.prior DATA OUTPUT.json`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

from lesionaug.prior import LesionPrior
from lesionaug.prior_fit import ObservedScan, fit_contrast

SAME_PERSON = {"ms3_14": "ms3_11"}

DATABASE_SHARE = (0.23, 0.28, 0.05, 0.44)
"""Share of regions among the 2,126 lesions of the database in the ICBM template's own anatomy: within 2 mm of the
ventricles, within 2 mm of the cortex, infratentorial, none of these. The atlas, by which the patients' masks are
sorted, is too blurred to tell what touches a ventricle; the prior has the mean of both."""


def packaged_prior(data: Path) -> LesionPrior:
    """The prior that comes with the package.

    Args:
        data: Folder with `open_ms/masks_1mm` (`NAME_lesion.nii.gz` and `NAME_brainmask.nii.gz`),
            `open_ms/subjects_mni`, `mslesseg` and `ms3seg` (a folder for each scan: `flair`, `t1`, `t2`, `lesion` and
            `brainmask.nii.gz`).
    """
    masks = sorted((data / "open_ms/masks_1mm").glob("*_lesion.nii.gz"))
    sized = [ObservedScan.read(path, str(path).replace("_lesion", "_brainmask")) for path in masks]
    folders = [data / "open_ms/subjects_mni/patient07", data / "open_ms/subjects_mni/patient19"]
    folders += [data / "mslesseg" / name for name in ("P14_T1", "P14_T2", "P14_T3", "P18_T1")]
    thick = sorted(folder for folder in (data / "ms3seg").iterdir() if folder.is_dir())
    imaged, thick_ones = [*map(_imaged, folders)], [_without_t1w(_imaged(folder)) for folder in thick]
    source = (
        f"sizes: {len(sized)} patients of open_ms; contrast: open_ms 07 and 19, MSLesSeg P14 and P18, nine of MS3SEG"
    )
    fitted = LesionPrior.fit(sized, imaged, source)
    shares = np.mean([fitted.region_share, DATABASE_SHARE], axis=0)
    # In thick slices small lesions are dim for being small; what these scans tell is how much scanners differ.
    contrast = replace(fitted.contrast, between=fit_contrast([*imaged, *thick_ones]).between)
    return replace(fitted, contrast=contrast, region_share=tuple(round(float(share), 4) for share in shares))


def _without_t1w(scan: ObservedScan) -> ObservedScan:
    """2-D spin echo shows few lesions in T1w; what users have beside FLAIR is mostly a 3-D gradient echo."""
    return replace(scan, images={channel: image for channel, image in scan.images.items() if channel != "t1w"})


def _imaged(folder: Path) -> ObservedScan:
    files = {"flair": folder / "flair.nii.gz", "t1w": folder / "t1.nii.gz", "t2w": folder / "t2.nii.gz"}
    present = {channel: path for channel, path in files.items() if path.exists()}
    patient = SAME_PERSON.get(folder.name, folder.name.split("_T")[0])
    return ObservedScan.read(folder / "lesion.nii.gz", folder / "brainmask.nii.gz", present, patient)


def main(data: tyro.conf.Positional[Path], output: tyro.conf.Positional[Path]) -> None:
    """Fit the packaged prior to the data named in its card.

    Args:
        data: Folder as `packaged_prior` describes it.
        output: JSON file to write.
    """
    packaged_prior(data).save(output)


if __name__ == "__main__":
    tyro.cli(main)
