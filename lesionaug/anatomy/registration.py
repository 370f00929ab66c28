"""The slower, better way to an anatomy: affine registration to MNI space, once per subject, saved beside the scan.

Needs `lesionaug[anatomy]`: dipy registers, nilearn brings the ICBM 152 template.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from lesionaug.anatomy.atlas import packaged_atlas
from lesionaug.anatomy.background import reduced_image
from lesionaug.anatomy.brain import brain_of
from lesionaug.anatomy.core import Anatomy
from lesionaug.anatomy.grids import ReducedGrid
from lesionaug.anatomy.images import anatomy_from_images
from lesionaug.anatomy.labels import anatomy_from_labels
from lesionaug.errors import LesionAugError
from lesionaug.folders import complete_folder
from lesionaug.io import NiftiImage, gzipped, read_intensities, read_mask, read_nifti
from lesionaug.types import Mask, Volume, triple

TEMPLATE_MM = 2
LEVELS = ((100, 50), (3.0, 1.0), (4, 2))  # iterations, smoothing and subsampling, coarse to fine
MAX_SHIFT_MM = 20.0  # of any part of the brain, against the placement by its outline


def register_to_mni(image: Volume, affine: np.ndarray, brain_mask: Mask | None = None) -> np.ndarray:
    """World position of a scan to MNI position, 4 by 4, by mutual information with the ICBM 152 template.

    Args:
        image: Shape `(channels, i, j, k)`; the first channel is registered.
        affine: Voxel to world (right, anterior, superior) in mm, 4 by 4.
        brain_mask: Instead of the brain that is found.

    Raises:
        LesionAugError: dipy or nilearn is not installed, or the registration failed.
    """
    affine_registration, template = _tools()
    grid = ReducedGrid.of(triple(image.shape[1:]), affine)
    reduced = np.stack([reduced_image(grid, channel) for channel in image])
    brain, placed = brain_of(reduced, grid, packaged_atlas(), brain_mask)
    iterations, sigmas, factors = LEVELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dipy's own, on the optimiser's steps
        registration = affine_registration(
            reduced[0] * brain,
            np.asarray(template.dataobj, np.float32),
            moving_affine=grid.affine,
            static_affine=template.affine,
            starting_affine=np.linalg.inv(placed),
            pipeline=["affine"],
            level_iters=list(iterations),
            sigmas=list(sigmas),
            factors=list(factors),
        )
    registered = np.linalg.inv(registration[1])  # from MNI to the scan
    _check_shift(_mni_to_atlas() @ registered, placed, brain, grid.affine)
    return registered


def prepare_anatomy(
    images: dict[str, NiftiImage],
    lesion_mask: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    brain_mask: np.ndarray | None = None,
) -> Anatomy:
    """Anatomy from labels where there are any, else from the images and their registration.

    Args:
        images: By channel, on one grid.
        lesion_mask: Old lesions, shape `(i, j, k)`.
        labels: FreeSurfer or SynthSeg labels, shape `(i, j, k)`.
        brain_mask: Brain tissue and ventricles, shape `(i, j, k)`.
    """
    affine = next(iter(images.values())).affine
    old = None if lesion_mask is None else torch.from_numpy(np.asarray(lesion_mask, bool))[None]
    if labels is not None:
        return anatomy_from_labels(labels, affine, old)
    stacked = torch.stack([torch.from_numpy(image.data) for image in images.values()])
    brain = None if brain_mask is None else torch.from_numpy(np.asarray(brain_mask, bool))[None]
    world_to_mni = register_to_mni(_t1w_first(stacked, images), affine, brain)
    return anatomy_from_images(stacked, tuple(images), affine, old, _mni_to_atlas() @ world_to_mni, brain)


def prepare(
    images: dict[str, Path],
    output: Path,
    lesions: Path | None = None,
    labels: Path | None = None,
    brain: Path | None = None,
) -> dict[str, Path]:
    """Write `brain.nii.gz`, `eligible.nii.gz` and `regions.nii.gz`.

    Args:
        images: Files by channel, on one grid.
        output: Folder; other files in it stay.
        lesions: Old lesions.
        labels: FreeSurfer or SynthSeg segmentation, instead of registration.
        brain: Brain mask.

    Returns:
        The files by what they hold.

    Raises:
        LesionAugError: A file cannot be used, or `lesionaug[anatomy]` is not installed.
    """
    if not images:
        raise LesionAugError("Expected at least one image, got none; give --flair or --t1w")
    scans = {channel: read_intensities(path) for channel, path in images.items()}
    like = next(iter(scans.values()))
    lesion, mask = (None, None) if lesions is None else read_mask(lesions)
    label = None if labels is None else read_nifti(labels)
    brain_file = None if brain is None else read_nifti(brain)
    for other in (*scans.values(), lesion, label, brain_file):
        if other is not None:
            other.check_same_grid(like)
    segmentation = None if label is None else label.data.astype(np.int32)
    anatomy = prepare_anatomy(scans, mask, segmentation, None if brain_file is None else brain_file.data != 0)
    volumes = {
        "brain": anatomy.brain[0].numpy().astype(np.uint8),
        "eligible": anatomy.eligible[0].numpy(),
        "regions": anatomy.regions[0].numpy(),
    }
    with complete_folder(output, overwrite=True) as folder:
        for name, volume in volumes.items():
            content = nib.Nifti1Image(volume, like.affine).to_bytes()
            (folder / f"{name}.nii.gz").write_bytes(gzipped(content))
    return {name: Path(output) / f"{name}.nii.gz" for name in volumes}


def _tools():
    try:
        from dipy.align import affine_registration
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise LesionAugError(
            f"Expected dipy and nilearn for the registration, got {error}; pip install 'lesionaug[anatomy]'"
        ) from None
    return affine_registration, load_mni152_template(resolution=TEMPLATE_MM)


def _mni_to_atlas() -> np.ndarray:
    """The atlas is near MNI, and as far from it as the template's outline is from the mean outline."""
    template = nib.as_closest_canonical(_tools()[1])
    return packaged_atlas().place(np.asarray(template.dataobj) > 0, template.affine)


def _t1w_first(stacked: Volume, images: dict[str, NiftiImage]) -> Volume:
    """Channels with the one that is like the template in front."""
    names = list(images)
    order = sorted(range(len(names)), key=lambda index: names[index] != "t1w")
    return stacked[order]


def _check_shift(registered: np.ndarray, placed: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> None:
    """A registration that leaves the outline's placement far behind has gone astray."""
    voxels = np.argwhere(brain)[::97]
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    change = registered - placed
    shift = np.linalg.norm(world @ change[:3, :3].T + change[:3, 3], axis=1)
    if not np.quantile(shift, 0.9) < MAX_SHIFT_MM:
        raise LesionAugError(
            f"Expected a registration within {MAX_SHIFT_MM:g} mm of the brain's outline, "
            f"got {np.quantile(shift, 0.9):.0f} mm; check orientation and field of view, or hand in labels"
        )
