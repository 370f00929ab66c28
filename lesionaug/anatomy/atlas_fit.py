"""Fit the packaged atlas: `python -m lesionaug.anatomy.atlas_fit SHARED_DATA OUTPUT.npz`.

Every brain is laid over the atlas in the way a scan will be, so the maps are as blurred as that way is inexact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
import tyro
from scipy import ndimage

from lesionaug.anatomy.atlas import MAPS, Atlas
from lesionaug.anatomy.labels import TISSUES

AFFINE = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
SHAPE = (46, 55, 47)
TEMPLATE = "healthy/icbm2009a/t1_mni.nii.gz"
ROUNDS = 3
DATABASE_SHARE = 0.15  # of the location map: many lesions, but of unknown patients and none small
SMOOTHING_MM = 5.0


def fit_atlas(data: Path, patients: Sequence[str] | None = None) -> Atlas:
    """Atlas from label maps, a template's outline, and lesion masks.

    Args:
        data: Folder with `anatomy/labels_*.nii.gz`, `healthy/icbm2009a/t1_mni.nii.gz`, `lesion_db/lesions.npz` and
            `open_ms/masks_1mm`.
        patients: Of `open_ms`, whose lesions are used; all if not given.
    """
    template, template_affine = _canonical(data / TEMPLATE)
    outline = _to_atlas([template > 0], template_affine, np.eye(4))[0]
    atlas = Atlas(np.stack([outline] + [np.zeros(SHAPE, np.float32)] * (len(MAPS) - 1)), AFFINE)
    labels = [_canonical(path) for path in sorted((data / "anatomy").glob("labels_*.nii.gz"))]
    for _ in range(ROUNDS):
        atlas = Atlas(np.concatenate([_tissue_maps(atlas, labels), np.zeros((1, *SHAPE), np.float32)]), AFFINE)
    lesions = location_map(atlas, data, patients)
    return Atlas(np.concatenate([atlas.maps[:-1], (lesions / lesions.max())[None]]).astype(np.float32), AFFINE)


def location_map(atlas: Atlas, data: Path, patients: Sequence[str] | None = None) -> np.ndarray:
    """Density of lesions, each counted once, spread over its voxels; sums to one."""
    own = _smooth(np.sum([_patient_density(atlas, *scan) for scan in _scans(data, patients)], axis=0))
    template, template_affine = _canonical(data / TEMPLATE)
    # The atlas is near MNI, and as far from it as the template's outline is from the mean outline.
    from_mni = atlas.place(template > 0, template_affine)
    stored = np.load(data / "lesion_db/lesions.npz")
    index = np.repeat(np.arange(len(stored["offsets"]) - 1), np.diff(stored["offsets"]))
    database = _smooth(_density(stored["voxels"], index, from_mni @ stored["affine"]))
    return (1 - DATABASE_SHARE) * own / own.sum() + DATABASE_SHARE * database / database.sum()


def _scans(data: Path, patients: Sequence[str] | None) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for path in sorted((data / "open_ms/masks_1mm").glob("*_lesion.nii.gz")):
        name = path.name.removesuffix("_lesion.nii.gz")
        if patients is None or name in patients:
            brain, affine = _canonical(path.with_name(f"{name}_brainmask.nii.gz"))
            yield _canonical(path)[0] > 0, brain > 0, affine


def _patient_density(atlas: Atlas, lesion: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> np.ndarray:
    components = cc3d.connected_components(lesion, connectivity=26)
    voxels = np.argwhere(components)
    return _density(voxels, components[tuple(voxels.T)], atlas.place(brain, affine) @ affine)


def _density(voxels: np.ndarray, lesion: np.ndarray, voxel_to_mni: np.ndarray) -> np.ndarray:
    """Lesions per atlas voxel; `lesion` says which one each voxel belongs to."""
    to_atlas = np.linalg.inv(AFFINE) @ voxel_to_mni
    places = np.rint(voxels @ to_atlas[:3, :3].T + to_atlas[:3, 3]).astype(int)
    inside = ((places >= 0) & (places < SHAPE)).all(axis=1)
    density = np.zeros(SHAPE)
    np.add.at(density, tuple(places[inside].T), 1 / np.bincount(lesion)[lesion[inside]])
    return density


def _smooth(density: np.ndarray) -> np.ndarray:
    # Patients are few: what one side shows holds for the other.
    smooth = ndimage.gaussian_filter(density, SMOOTHING_MM / 4)
    mirrored = ndimage.affine_transform(smooth, np.diag((-1.0, 1, 1)), (45, 0, 0), order=1)
    return (smooth + mirrored) / 2


def _tissue_maps(atlas: Atlas, labels: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Mean over label maps; tissue probabilities are relative to the probability of brain."""
    mean = np.mean([_tissues(atlas, *one) for one in labels], axis=0)
    mean = (mean + ndimage.affine_transform(mean, np.diag((1.0, -1, 1, 1)), (0, 45, 0, 0), order=1)) / 2
    return np.concatenate([mean[:1], mean[1:] / np.maximum(mean[:1], 0.02)]).clip(0, 1).astype(np.float32)


def _tissues(atlas: Atlas, labels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    masks = [np.isin(labels, TISSUES[name]) for name in MAPS[:-1]]
    return _to_atlas(masks, affine, atlas.place(masks[0], affine))


def _to_atlas(masks: Sequence[np.ndarray], affine: np.ndarray, world_to_atlas: np.ndarray) -> np.ndarray:
    matrix = np.linalg.inv(world_to_atlas @ affine) @ AFFINE
    smooth = [ndimage.gaussian_filter(np.asarray(mask, np.float32), 1.5) for mask in masks]
    return np.stack(
        [ndimage.affine_transform(m, matrix[:3, :3], matrix[:3, 3], output_shape=SHAPE, order=1) for m in smooth]
    )


def _canonical(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj).astype(np.int16), image.affine


def main(data: tyro.conf.Positional[Path], output: tyro.conf.Positional[Path]) -> None:
    """Fit the packaged atlas to the data named in its card.

    Args:
        data: Folder as `fit_atlas` describes it.
        output: Numpy file to write.
    """
    fit_atlas(data).save(output)


if __name__ == "__main__":
    tyro.cli(main)
