"""The ICBM 152 average brain with a FLAIR contrast simulated from its tissue maps: a scan that everybody has."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from lesionaug.errors import LesionAugError
from lesionaug.io import gzipped
from lesionaug.scan import LesionPlan, LesionSpec

UNITS = 1000  # of the brightest tissue, so that whole numbers do
WHITE, GREY, FLUID = 0.70, 0.86, 0.18  # FLAIR intensities, relative
BIAS = 0.04  # of the receiver, at the edge of the field of view
NOISE = 0.025  # of the brightest tissue
NOISE_SIGMA_MM = 0.6  # scanners interpolate, so neighbours share noise


def write_average_brain(folder: Path) -> dict[str, Path]:
    """Write `t1w.nii.gz` (real average) and `flair.nii.gz` (simulated) to a new folder.

    Returns:
        Channel to path.

    Raises:
        LesionAugError: nilearn is not installed.

    Reference:
        Fonov et al. 2011, Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54(1).
    """
    t1w, grey, white = _templates()
    images = {
        "t1w": t1w.get_fdata(),
        "flair": simulated_flair(t1w.get_fdata() > 0, grey.get_fdata(), white.get_fdata()),
    }
    folder.mkdir(parents=True)
    paths = {channel: folder / f"{channel}.nii.gz" for channel in images}
    for channel, values in images.items():
        image = nib.Nifti1Image(np.round(UNITS * values).astype(np.int16), t1w.affine)
        image.set_sform(t1w.affine, code="mni")
        image.set_qform(t1w.affine, code="mni")
        paths[channel].write_bytes(gzipped(image.to_bytes()))
    return paths


def joined(first: LesionPlan, rest: LesionPlan, spacing_mm: tuple[float, float, float], number: int) -> LesionPlan:
    """The lesions of one plan, and those of another that stay clear of them.

    Args:
        first: All of them are taken.
        rest: As many of these as are missing.
        spacing_mm: Voxel size.
        number: Of lesions altogether, at most.
    """

    def gap_mm(one: LesionSpec, other: LesionSpec) -> float:
        return (
            math.dist(*([c * mm for c, mm in zip(spec.center, spacing_mm, strict=True)] for spec in (one, other)))
            - (one.extent_mm + other.extent_mm) / 2
        )

    clear = [spec for spec in rest if all(gap_mm(spec, other) > 0 for other in first)]
    return LesionPlan((*first, *clear)[:number], rest.overlap)


def simulated_flair(brain: np.ndarray, grey: np.ndarray, white: np.ndarray, seed: int = 0) -> np.ndarray:
    """FLAIR contrast of tissue maps, with a receiver's bias and spatially correlated noise.

    Args:
        brain: Boolean, shape `(i, j, k)`; 0 outside.
        grey: Probability of grey matter.
        white: Probability of white matter.
        seed: Of the noise.
    """
    total = np.maximum(grey + white, 1)
    grey, white = grey / total, white / total
    clean = WHITE * white + GREY * grey + FLUID * (1 - white - grey)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(brain.shape), NOISE_SIGMA_MM)
    noisy = clean * _bias(brain.shape) + NOISE * noise / noise.std()
    return np.where(brain, np.maximum(noisy, 1 / UNITS), 0)


def _bias(shape: tuple[int, ...]) -> np.ndarray:
    """A smooth gain that brightens the front and the left."""
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij", sparse=True)
    return 1 + BIAS * (0.5 * j - 0.3 * i + 0.4 * (i**2 - k**2))


def _templates() -> tuple[nib.Nifti1Image, nib.Nifti1Image, nib.Nifti1Image]:
    try:
        from nilearn import datasets
    except ImportError as error:
        raise LesionAugError(
            "Expected nilearn, which brings the brain, got none; pip install 'lesionaug[demo]'"
        ) from error
    return (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
