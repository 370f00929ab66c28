"""NIfTI files in and out, and everything that can be wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from lesionaug.checks import binary_mask, check_affine, check_intensities, check_same_grid
from lesionaug.errors import LesionAugError

UNREADABLE = (OSError, EOFError, ValueError, TypeError, MemoryError, zlib.error, ImageFileError, HeaderDataError)
"""What nibabel and zlib raise at damaged files."""


@dataclass(frozen=True)
class NiftiImage:
    """A three-dimensional NIfTI file, which may have further axes of length 1.

    Args:
        name: For messages.
        data: Intensities, shape `(i, j, k)`, as float32.
        stored: The numbers in the file, before slope and intercept, shape `(i, j, k)`.
        affine: Voxel to world in mm, 4 by 4.
        header: As in the file, whose shape it has.
        slope: Intensity per stored unit.
        intercept: Intensity of a stored zero.
    """

    name: str
    data: np.ndarray
    stored: np.ndarray
    affine: np.ndarray
    header: nib.Nifti1Header
    slope: float
    intercept: float

    def check_same_grid(self, other: NiftiImage) -> None:
        """See `lesionaug.checks.check_same_grid`."""
        check_same_grid(self.data.shape, self.affine, self.name, other.data.shape, other.affine, other.name)


def read_nifti(path: str | Path) -> NiftiImage:
    """A NIfTI file whose header makes sense.

    Raises:
        LesionAugError: The file cannot be read, is no NIfTI file or truncated, is not three-dimensional but for axes of
            length 1 after the third, or its affine is singular or its spacing out of range.
    """
    image = _open(Path(path))
    if len(image.shape) < 3 or any(n != 1 for n in image.shape[3:]):
        got = " x ".join(str(n) for n in image.shape)
        raise LesionAugError(f"Expected a 3-D image, got {len(image.shape)}-D ({got}) in {path}; save one volume of it")
    affine = np.array(image.affine, dtype=float)
    check_affine(affine, str(path))
    proxy = cast(ArrayProxy, image.dataobj)
    stored, slope, intercept = _stored(proxy, path), float(proxy.slope), float(proxy.inter)
    stored = stored.reshape(stored.shape[:3])
    data = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    return NiftiImage(str(path), data, stored, affine, image.header.copy(), slope, intercept)


def read_intensities(path: str | Path) -> NiftiImage:
    """A NIfTI file with finite, varying intensities.

    Raises:
        LesionAugError: As `read_nifti`, and for other intensities.
    """
    image = read_nifti(path)
    check_intensities(image.data, image.name)
    return image


def read_mask(path: str | Path, value: float | None = None) -> tuple[NiftiImage, np.ndarray]:
    """A NIfTI file with a label, and where it is set.

    Args:
        path: Of the file.
        value: That counts, in a label of several classes.

    Raises:
        LesionAugError: As `read_nifti`, and for a label with other values.
    """
    image = read_nifti(path)
    return image, binary_mask(image.data, image.name, value)[0]


def nifti_bytes(image: NiftiImage, data: np.ndarray, where: np.ndarray) -> bytes:
    """A gzipped NIfTI file like `image`, with other intensities at some voxels.

    Header, affine, type and slope stay; the same input makes the same bytes.

    Args:
        image: What the file is like.
        data: Intensities, shape `(i, j, k)`.
        where: Voxels that are to have them; the others keep their stored bits.
    """
    values = (data[where].astype(np.float64) - image.intercept) / image.slope
    if np.issubdtype(image.stored.dtype, np.integer):
        limits = np.iinfo(image.stored.dtype)
        values = np.clip(np.round(values), limits.min, limits.max)
    stored = image.stored.copy()
    stored[where] = values.astype(stored.dtype)
    kind = nib.Nifti2Image if isinstance(image.header, nib.Nifti2Header) else nib.Nifti1Image
    written = kind(stored.reshape(image.header.get_data_shape()), None, image.header)
    # A slope that is set keeps nibabel from choosing another and rounding every voxel anew.
    written.header.set_slope_inter(image.slope, image.intercept)
    return gzipped(written.to_bytes())


def mask_like(image: NiftiImage, kind: type = np.uint8) -> NiftiImage:
    """An empty label, of bytes if not told otherwise, on the grid of an image."""
    header = image.header.copy()
    header.set_data_dtype(kind)
    header["cal_min"], header["cal_max"] = 0, 0
    empty = np.zeros(image.data.shape, kind)
    return NiftiImage("new label", empty.astype(np.float32), empty, image.affine, header, slope=1.0, intercept=0.0)


def gzipped(content: bytes) -> bytes:
    """Compressed without name and date, so that the same content makes the same file."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=buffer, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _open(path: Path) -> nib.Nifti1Image:
    if not path.is_file():
        raise LesionAugError(f"Expected a NIfTI file, got no file at {path}; check the path")
    try:
        image = nib.load(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if not isinstance(image, nib.Nifti1Image):
        raise LesionAugError(f"Expected a NIfTI file, got {type(image).__name__} in {path}; convert it to .nii.gz")
    return image


def _stored(proxy: ArrayProxy, path: str | Path) -> np.ndarray:
    try:
        stored = np.array(proxy.get_unscaled())
        _check_gzip(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if stored.dtype.kind not in "iuf":
        raise LesionAugError(
            f"Expected real numbers, got voxels of type {stored.dtype} in {path}; convert it to greyscale"
        )
    return stored


def _check_gzip(path: str | Path) -> None:
    """Read to the end, where the checksum is: nibabel stops at the last voxel."""
    with open(path, "rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    if compressed:
        with gzip.open(path) as stream:
            while stream.read(1 << 22):
                pass


def _unreadable(path: str | Path, error: Exception) -> LesionAugError:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return LesionAugError(
        f"Expected a readable NIfTI file, got a damaged one at {path} ({reason}); copy or export it again"
    )
