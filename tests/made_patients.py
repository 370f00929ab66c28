"""Patients who do not exist, as arrays and as files: soft, lumpy, textured lesions on a lattice in a ball of tissue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SIDE, RADIUS = 64, 30
AFFINE = np.diag((1.0, 1.0, 1.0, 1.0))
AFFINE[:3, 3] = -SIDE / 2
OLD, NEW = 2, 8  # where lattices start: lesions of either lie between those of the other
STEP = 12
BOX = 9  # voxels around a lesion
FARTHEST = 19  # from the middle, so that no lesion is near the cortex and all surroundings are alike


@dataclass(frozen=True)
class Patient:
    """A scan: channels, brain and lesions."""

    name: str
    images: dict[str, np.ndarray]
    brain: np.ndarray
    lesions: np.ndarray
    affine: np.ndarray


def lump(rng: np.random.Generator, radius: float, side: int = BOX) -> np.ndarray:
    """One piece with an uneven surface."""
    axis = np.arange(side) - side // 2
    stretch = rng.uniform(0.75, 1.35, 3)
    grids = np.meshgrid(*(axis / factor for factor in stretch), indexing="ij")
    uneven = ndimage.gaussian_filter(rng.standard_normal((side,) * 3), 1.3)
    inside = np.sqrt(sum(grid**2 for grid in grids)) + 4 * uneven < radius
    labels, count = ndimage.label(inside)
    return labels == np.bincount(labels[inside]).argmax() if count else inside


def lesions_on(first: int, rng: np.random.Generator, grow: float = 1.0) -> np.ndarray:
    """Lumps about the points of a lattice."""
    found = np.zeros((SIDE,) * 3, bool)
    for center in np.stack(np.meshgrid(*(np.arange(first, SIDE, STEP),) * 3, indexing="ij"), axis=-1).reshape(-1, 3):
        radius = grow * rng.uniform(1.7, 2.9)
        crop = lump(rng, radius)
        if np.linalg.norm(center - SIDE / 2) < FARTHEST:
            found[tuple(slice(a, a + BOX) for a in center - BOX // 2)] |= crop
    return found


def made_patient(seed: int, name: str = "", grow: float = 1.0, cortex: int = 2, levels: slice = slice(None)) -> Patient:
    """White matter with lesions, on some axial levels, in a shell of cortex."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(SIDE),) * 3, indexing="ij"), axis=-1)
    depth = np.linalg.norm(grid - SIDE / 2, axis=-1)
    brain, white = depth <= RADIUS, depth <= RADIUS - cortex
    texture = ndimage.gaussian_filter(rng.standard_normal(brain.shape), 0.6)
    images = {"flair": np.where(white, 100, 130) + 12 * texture, "t1w": np.where(white, 200, 140) + 12 * texture}
    images = {channel: (image * brain).astype(np.float32) for channel, image in images.items()}
    bare = Patient(name or f"P{seed:02d}", images, brain, np.zeros_like(brain), AFFINE)
    lesions, here = lesions_on(OLD, rng, grow), np.zeros_like(brain)
    here[:, :, levels] = True
    return with_lesions(bare, lesions & here, rng)


def with_lesions(patient: Patient, lesions: np.ndarray, rng: np.random.Generator) -> Patient:
    """Real-looking ones: soft border, texture of their own."""
    soft = ndimage.gaussian_filter(lesions.astype(float), 0.8)
    texture = ndimage.gaussian_filter(rng.standard_normal(lesions.shape), 0.6)
    changes = {"flair": soft * (70 + 60 * texture), "t1w": -soft * (50 + 20 * texture)}
    return _painted(patient, lesions, changes)


def with_flat_balls(patient: Patient, lesions: np.ndarray) -> Patient:
    """A ball of each lesion's volume, of one value."""
    grid = np.stack(np.meshgrid(*(np.arange(SIDE),) * 3, indexing="ij"), axis=-1)
    labels, count = ndimage.label(lesions, np.ones((3, 3, 3)))
    balls = np.zeros_like(lesions)
    for index, center in enumerate(ndimage.center_of_mass(lesions, labels, range(1, count + 1)), start=1):
        far = np.linalg.norm(grid - np.array(center), axis=-1)
        balls |= far <= np.partition(far, (labels == index).sum() - 1, axis=None)[(labels == index).sum() - 1]
    images = {channel: np.where(balls, value, patient.images[channel]) for channel, value in FLAT.items()}
    return replace(patient, images=images, lesions=patient.lesions | balls)


FLAT = {"flair": np.float32(170), "t1w": np.float32(150)}


def _painted(patient: Patient, lesions: np.ndarray, changes: dict[str, np.ndarray]) -> Patient:
    images = {
        channel: (image + changes[channel] * patient.brain).astype(np.float32)
        for channel, image in patient.images.items()
    }
    return replace(patient, images=images, lesions=patient.lesions | lesions)


def write_folders(root: Path, patients: Sequence[Patient]) -> Path:
    """A folder for each."""
    for patient in patients:
        for name, data in contents(patient).items():
            save(root / patient.name / f"{name}.nii.gz", data, patient.affine)
    return root


def write_nnunet(root: Path, patients: Sequence[Patient]) -> Path:
    """nnU-Net's raw format, which has no brain masks: those are found in the images."""
    for patient in patients:
        for number, channel in enumerate(("flair", "t1w")):
            save(root / f"imagesTr/{patient.name}_{number:04d}.nii.gz", patient.images[channel], patient.affine)
        save(root / f"labelsTr/{patient.name}.nii.gz", patient.lesions.astype(np.uint8), patient.affine)
    labels = {"background": 0, "lesion": 1}
    about = {"channel_names": {"0": "FLAIR", "1": "T1w"}, "labels": labels, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(about))
    return root


def write_generated(root: Path, made: Sequence[tuple[Patient, Patient]], *, new_only: bool = True) -> Path:
    """Cases with the manifest of a generator.

    Args:
        root: Of the data set.
        made: Hosts, and what was made of them.
        new_only: Whether there is a label of the new lesions alone.
    """
    lines = []
    for host, after in made:
        case = f"{host.name}_v000"
        files = {**contents(after), "new_lesion": (after.lesions & ~host.lesions).astype(np.uint8)}
        names = [name for name in files if name != "brainmask" and (new_only or name != "new_lesion")]
        for name in names:
            save(root / case / f"{name}.nii.gz", files[name], after.affine)
        places = {f"{name}.nii.gz": f"{case}/{name}.nii.gz" for name in names}
        lines.append({"case": case, "source": host.name, "patient": host.name, "files": places, "old": {"voxels": 9}})
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def contents(patient: Patient) -> dict[str, np.ndarray]:
    """Files of a scan, by name."""
    masks = {"lesion": patient.lesions.astype(np.uint8), "brainmask": patient.brain.astype(np.uint8)}
    return {**patient.images, **masks}


def save(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
