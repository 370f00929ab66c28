"""The one reader: files of any layout to a scan to learn from, in canonical orientation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import nibabel as nib
import numpy as np
import torch
from lesionaug.pretrain.labelled import LabelledScan
from lesionaug.pretrain.layouts.core import ScanFiles
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lesionaug.anatomy import anatomy_from_images
from lesionaug.anatomy.morphology import filled, largest
from lesionaug.checks import binary_mask, check_affine, check_same_grid
from lesionaug.errors import LesionAugError
from lesionaug.io import NiftiImage, read_intensities, read_nifti
from lesionaug.types import triple

STRIPPED = 1.15  # voxels that are not zero over those of the brain found, at most, where there is no skull


def read_scan(files: ScanFiles, scale: float = 1.0) -> LabelledScan:
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
    if files.lesions is None:
        raise LesionAugError(f"Expected a lesion label, got none for {files.subject}; leave the scan out")
    label = read_nifti(files.lesions)
    images = {channel: read_intensities(path) for channel, path in files.images.items()}
    given = None if files.brain is None else read_nifti(files.brain)
    like = next((image for image in (*images.values(), given) if image is not None), label)
    for image in (label, *images.values(), *([] if given is None else [given])):
        _check_grid(image, like, files.apart_mm)
    frame = _Frame.of(like.affine)
    lesions = frame.turned(_lesions(label, files.lesion_values))
    stack = [frame.turned(image.data) for image in images.values()]
    image = np.stack(stack) if stack else np.zeros((0, *lesions.shape), np.float32)
    affine = frame.affine(like.affine, like.data.shape)
    mask = None if given is None else frame.turned(given.data > 0)
    brain, brain_from = _brain(mask, image, tuple(images), affine, lesions)
    return LabelledScan(
        subject=files.subject,
        patient=files.patient,
        channels=tuple(images),
        image=image,
        lesions=lesions,
        brain=brain,
        spacing_mm=triple(size * scale for size in check_affine(affine, str(files.lesions))),
        affine=affine,
        brain_from=brain_from,
        complete=not files.partial,
    )


@dataclass(frozen=True)
class _Frame:
    """How axes are turned to right, anterior, superior."""

    orientation: np.ndarray

    @classmethod
    def of(cls, affine: np.ndarray) -> _Frame:
        return cls(nib.orientations.io_orientation(affine))

    def turned(self, data: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(apply_orientation(data, self.orientation))

    def affine(self, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return affine @ inv_ornt_aff(self.orientation, shape)


def _check_grid(image: NiftiImage, like: NiftiImage, apart_mm: float) -> None:
    """On one grid, up to what the headers of a source are known to disagree by."""
    if image.data.shape != like.data.shape or _apart_mm(image, like) > apart_mm:
        check_same_grid(image.data.shape, image.affine, image.name, like.data.shape, like.affine, like.name)


def _apart_mm(image: NiftiImage, like: NiftiImage) -> float:
    corners = np.array(list(product(*((0, n - 1) for n in image.data.shape), (1,))))
    return float(np.linalg.norm((corners @ (image.affine - like.affine).T)[:, :3], axis=1).max())


def _lesions(label: NiftiImage, values: tuple[int, ...] | None) -> np.ndarray:
    return binary_mask(label.data, label.name)[0] if values is None else np.isin(label.data, values)


def _brain(
    given: np.ndarray | None, image: np.ndarray, channels: tuple[str, ...], affine: np.ndarray, lesions: np.ndarray
) -> tuple[np.ndarray, str]:
    """Brain mask, and where it is from."""
    if given is not None:
        return given, "file"
    if not channels:
        return np.zeros(lesions.shape, bool), "unknown"
    found = anatomy_from_images(torch.from_numpy(image), channels, affine, torch.from_numpy(lesions)[None])
    brain, signal = found.brain[0].numpy(), (image != 0).all(axis=0)
    if signal.sum() <= STRIPPED * brain.sum():
        return filled(largest(signal)), "voxels that are not zero"
    return brain, "found in the images"
