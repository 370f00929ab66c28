"""Sources for data sets, and what a data set holds."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scan_files import write_phantom


def write_patients(root: Path) -> Path:
    """Two time points of one patient, and somebody healthy; as folders."""
    for name in ("A_T1", "A_T2", "B"):
        (root / name).mkdir(parents=True)
        paths = write_phantom(root / name)
        paths["flair"].rename(root / name / "flair.nii.gz")
        paths["t1w"].rename(root / name / "t1w.nii.gz")
        paths["lesions"].rename(root / name / "lesion.nii.gz")
    (root / "B" / "lesion.nii.gz").unlink()
    return root


def stored(path: Path) -> np.ndarray:
    """Numbers in a file."""
    return np.asarray(nib.load(path).dataobj)


def manifest(output: Path) -> list[dict]:
    """Lines about the cases."""
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
