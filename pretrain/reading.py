"""The one reader: files of any layout to a scan to learn from, in canonical orientation."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from lesionaug.pretrain.labelled import NEAR_CORTEX, NEAR_VENTRICLES, TISSUE, LabelledScan
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from scipy import ndimage

from lesionaug.anatomy import Anatomy, anatomy_from_images, brain_from_images
from lesionaug.anatomy.morphology import filled, largest
from lesionaug.anatomy.regions import JUXTACORTICAL, PERIVENTRICULAR
from lesionaug.checks import binary_mask, check_affine, check_same_grid
from lesionaug.errors import LesionAugError
from lesionaug.io import NiftiImage, read_intensities, read_nifti
from lesionaug.layouts.core import SourceScan
from lesionaug.types import triple

GOES_ON_VOXELS = 1.5
STRIPPED = 1.15  # voxels that are not zero over those of the brain found, at most, where there is no skull


def read_scan(files: SourceScan, scale: float = 1.0) -> LabelledScan:
    """A scan with its lesion label.

    Axes are put in the order right, anterior, superior, without resampling. A brain mask that is missing is derived:
    the voxels that are not zero where the skull is stripped, else what `lesionaug.anatomy` finds; nothing is known of
    the brain where there are no images either.

    Args:
        files: Of a scan with a label.
        scale: Factor on the voxel size, for a source that is stretched: below 1 where brains are larger than life.

    Raises:
        LesionAugError: A file cannot be read or used, or the files are not on one grid.
    """
    label = read_nifti(_label_of(files))
    images = {channel: read_intensities(path) for channel, path in files.images.items()}
    given = None if files.brain is None else read_nifti(files.brain)
    like = next((image for image in (*images.values(), given) if image is not None), label)
    for image in (label, *images.values(), *([] if given is None else [given])):
        _check_grid(image, like, files.apart_mm)
    bare = _labelled(files, replace(label, affine=like.affine), scale)
    if not images:
        return bare if given is None else replace(bare, brain=_turned(given, like) > 0, brain_from="file")
    stack = np.stack([_turned(image, like) for image in images.values()])
    scan = replace(bare, channels=tuple(images), image=stack)
    brain, brain_from = _derived_brain(scan) if given is None else (_turned(given, like) > 0, "file")
    return replace(scan, brain=brain, brain_from=brain_from, anatomy=_anatomy_of(scan))


def read_label(files: SourceScan, scale: float = 1.0) -> LabelledScan:
    """Likewise, without images and brain.

    Raises:
        LesionAugError: There is no label, or it cannot be read.
    """
    return _labelled(files, read_nifti(_label_of(files)), scale)


def _label_of(files: SourceScan) -> Path:
    if files.lesions is None:
        raise LesionAugError(f"Expected a lesion label, got none for {files.subject}; leave the scan out")
    return files.lesions


def _labelled(files: SourceScan, label: NiftiImage, scale: float) -> LabelledScan:
    values = files.lesion_values
    mask = binary_mask(label.data, label.name)[0] if values is None else np.isin(label.data, values)
    lesions = _turned(replace(label, data=mask), label)
    affine = label.affine @ inv_ornt_aff(io_orientation(label.affine), label.data.shape)
    return LabelledScan(
        subject=files.subject,
        patient=files.patient,
        channels=(),
        image=np.zeros((0, *lesions.shape), np.float32),
        lesions=lesions,
        brain=np.zeros(lesions.shape, bool),
        spacing_mm=triple(size * scale for size in check_affine(affine, label.name)),
        affine=affine,
        brain_from="unknown",
        complete=not files.partial,
    )


def _turned(image: NiftiImage, like: NiftiImage) -> np.ndarray:
    """Data with the axes right, anterior, superior."""
    return np.ascontiguousarray(apply_orientation(image.data, io_orientation(like.affine)))


def _check_grid(image: NiftiImage, like: NiftiImage, apart_mm: float) -> None:
    """On one grid, up to what the headers of a source are known to disagree by."""
    if image.data.shape != like.data.shape or _apart_mm(image, like) > apart_mm:
        check_same_grid(image.data.shape, image.affine, image.name, like.data.shape, like.affine, like.name)


def _apart_mm(image: NiftiImage, like: NiftiImage) -> float:
    corners = np.array(list(product(*((0, n - 1) for n in image.data.shape), (1,))))
    return float(np.linalg.norm((corners @ (image.affine - like.affine).T)[:, :3], axis=1).max())


def _anatomy_of(scan: LabelledScan) -> np.ndarray | None:
    """As `anatomy_bits`; not known of a scan that cannot be laid over the atlas, whose lesions teach all the same."""
    lesions = torch.from_numpy(scan.lesions)[None]
    try:
        anatomy = anatomy_from_images(torch.from_numpy(scan.image), scan.channels, scan.to_world, lesions)
    except LesionAugError:
        return None
    return anatomy_bits(anatomy, scan.lesions)


def anatomy_bits(anatomy: Anatomy, lesions: np.ndarray) -> np.ndarray:
    """What DiffMask is told of the surroundings of a lesion, as the bits of a patch's label.

    What a lesion has taken was tissue where the tissue around it goes on through it. Were all of it called tissue, the
    map would give away where a lesion sticks out.

    Args:
        anatomy: Of the scan.
        lesions: Its lesions, shape `(i, j, k)`.
    """
    tissue, region = (anatomy.eligible[0] > 0).numpy(), anatomy.regions[0].numpy()
    goes_on = ndimage.gaussian_filter((tissue | lesions).astype(np.float32), GOES_ON_VOXELS) > 0.5
    tissue = np.where(lesions, goes_on, tissue)
    if lesions.any() and tissue.any():
        nearest = ndimage.distance_transform_edt(region == 0, return_distances=False, return_indices=True)
        region = np.where(lesions, region[tuple(nearest)], region)
    bits = TISSUE * tissue + NEAR_VENTRICLES * (region == PERIVENTRICULAR) + NEAR_CORTEX * (region == JUXTACORTICAL)
    return bits.astype(np.uint8)


def _derived_brain(scan: LabelledScan) -> tuple[np.ndarray, str]:
    """Brain mask from the images, and how it was made."""
    found = brain_from_images(torch.from_numpy(scan.image), scan.to_world)
    brain, signal = found[0].numpy(), (scan.image != 0).all(axis=0)
    if signal.sum() <= STRIPPED * brain.sum():
        return filled(largest(signal)), "voxels that are not zero"
    return brain, "found in the images"
