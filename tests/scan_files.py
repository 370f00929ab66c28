"""The phantom as NIfTI files, and helpers to call the command line in this process."""

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
from phantoms import Phantom, brain_phantom

from lesionaug.cli import main

SHAPE, SPACING = (50, 60, 50), (3.0, 3.0, 3.0)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def phantom() -> Phantom:
    return brain_phantom(SHAPE, SPACING)


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def write_phantom(folder: Path) -> dict[str, Path]:
    """`flair`, `t1w` and `lesions` of the phantom."""
    scan = phantom()
    paths = {
        channel: write_nifti(folder / f"{channel}_scan.nii.gz", np.round(image.numpy()).astype(np.int16), scan.affine)
        for channel, image in scan.images.items()
    }
    lesions = scan.lesion_mask[0].numpy().astype(np.uint8)
    return {**paths, "lesions": write_nifti(folder / "old.nii.gz", lesions, scan.affine)}


def arguments(paths: dict[str, Path], output: Path, *more: object) -> list[str]:
    files = [part for role, path in paths.items() for part in (f"--{role}", str(path))]
    return ["synthesize", *files, "--output", str(output), "--model", "parametric", *map(str, more)]


def call(capsys: pytest.CaptureFixture[str], *words: object) -> Outcome:
    """Exit code and output of `lesionaug WORDS`."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in words])
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    return Outcome(code, *capsys.readouterr())


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stored(path: Path) -> np.ndarray:
    """Numbers as the file has them, before slope and intercept."""
    return np.asarray(nib.load(path).dataobj.get_unscaled())
