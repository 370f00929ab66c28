"""Small scans as the files of each layout."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (52, 56, 48)
LESIONS = ((18, 18, 18), (30, 32, 24))
ORIGIN = (-20.0, -24.0, -18.0)


def arrays(lesions=LESIONS, seed=0) -> dict[str, np.ndarray]:
    """Channels, lesion and brain: noise in an ellipsoid, with cubes of two voxels for lesions."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / (0.46 * n) for n in SHAPE), indexing="ij")
    brain = x**2 + y**2 + z**2 <= 1
    lesion = np.zeros(SHAPE, bool)
    for i, j, k in lesions:
        lesion[i : i + 2, j : j + 2, k : k + 2] = True
    images = {name: ((rng.normal(150, 20, SHAPE) + 60 * lesion) * brain).astype(np.float32) for name in CHANNELS}
    return {**images, "lesion": lesion.astype(np.uint8), "brain": brain.astype(np.uint8)}


CHANNELS = ("flair", "t1w", "t2w")


def affine(spacing=(1.0, 1.0, 1.0)) -> np.ndarray:
    matrix = np.diag((*spacing, 1.0))
    matrix[:3, 3] = ORIGIN
    return matrix


def save(path: Path, data: np.ndarray, matrix: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine() if matrix is None else matrix), path)
    return path


def save_named(root: Path, names: dict[str, str], content: dict[str, np.ndarray] | None = None, matrix=None) -> Path:
    """Files by what they hold, e.g. `{"flair": "P1_T1_FLAIR"}`."""
    content = arrays() if content is None else content
    for what, name in names.items():
        save(root / f"{name}.nii.gz", content[what], matrix)
    return root


def plain(root: Path, subject: str, what=("flair", "t1w", "lesion", "brain"), content=None, matrix=None) -> Path:
    names = {"brain": "brainmask"}
    return save_named(root, {w: f"{subject}/{names.get(w, w)}" for w in what}, content, matrix)


def as_mslesseg(root: Path) -> Path:
    for scan in ("P1/T1/P1_T1", "P1/T2/P1_T2", "P2/T1/P2_T1"):
        save_named(root / "train", {"flair": f"{scan}_FLAIR", "t1w": f"{scan}_T1", "t2w": f"{scan}_T2"})
        save_named(root / "train", {"lesion": f"{scan}_MASK"})
    save_named(root / "test", {"flair": "P54/P54_FLAIR", "t1w": "P54/P54_T1"})
    return root


def as_open_ms(root: Path) -> Path:
    cross = root / "open_ms_data-master/cross_sectional"
    names = {"flair": "FLAIR", "t1w": "T1W", "t2w": "T2W", "lesion": "consensus_gt", "brain": "brainmask"}
    save_named(cross / "coregistered/patient01", names)
    save_named(cross / "raw/patient01", {"flair": "FLAIR", "lesion": "consensus_gt"})
    save_named(cross / "raw/patient02", {k: f"patient02_{n}" for k, n in names.items() if k != "brain"})
    tail = "N4_noneck_reduced_winsor_regtoFLAIR"
    mni = {"flair": f"FLAIR_{tail}_brain_N4_regtoMNI", "lesion": f"GOLD_STANDARD_{tail}_regtoMNI"}
    save_named(cross / "MNI/patient03", mni)
    pair = {"flair": "study1_FLAIR", "t1w": "study2_T1W", "lesion": "gt", "brain": "brainmask"}
    longitudinal = root / "open_ms_data-master/longitudinal/coregistered/patient01"
    save_named(longitudinal, pair)
    save_named(longitudinal, {"flair": "study2_FLAIR"})
    return root


def as_nnunet(root: Path) -> Path:
    for case in ("MS_001_T1", "MS_001_T2", "MS_002_T1"):
        save_named(
            root, {"t1w": f"imagesTr/{case}_0000", "flair": f"imagesTr/{case}_0001", "lesion": f"labelsTr/{case}"}
        )
    save_named(root, {"flair": "imagesTr/MS_003_T1_0001"})
    names = {"0": "T1", "1": "FLAIR"}
    dataset = {"channel_names": names, "labels": {"background": 0, "MS lesion": 1, "ventricle": 2}}
    (root / "dataset.json").write_text(json.dumps({**dataset, "numTraining": 3, "file_ending": ".nii.gz"}))
    return root


def as_bids(root: Path) -> Path:
    for session in ("sub-01_ses-01", "sub-01_ses-02", "sub-02_ses-01"):
        folder = session.replace("_", "/") + "/anat"
        save_named(root, {"flair": f"{folder}/{session}_FLAIR", "t1w": f"{folder}/{session}_T1w"})
        derived = root / "derivatives/manual" / folder
        save_named(derived, {"lesion": f"{session}_label-lesion_mask", "brain": f"{session}_desc-brain_mask"})
    return root


def as_table(root: Path) -> Path:
    plain(root, "a")
    plain(root, "b", ("flair", "lesion"))
    rows = [("a1", "a", "a/flair.nii.gz", "a/t1w.nii.gz", "a/lesion.nii.gz", "a/brainmask.nii.gz")]
    rows += [("b1", "", "b/flair.nii.gz", "", "b/lesion.nii.gz", "")]
    with (root / "scans.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("subject", "patient", "flair", "t1w", "lesion", "brain"), *rows])
    return root / "scans.csv"


def as_folders(root: Path) -> Path:
    plain(root, "P1_T1")
    save_named(root, {"lesion": "masks/patient02_lesion", "brain": "masks/patient02_brainmask"})
    return plain(root, "P9_T1", ("flair",))
