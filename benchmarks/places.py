"""Brains in which lesions are placed, and a judge of their tissue that shares nothing with the generator's anatomy.

    ICBM maps ──► affine, then demons, on T1w ──► tissue     of every voxel, whatever a lesion did to it
    T1w ──► bias field ──► mixture of 3 Gaussians ──► seen   of voxels without lesion ──► ventricles, cortex

A real lesion is dark in T1w, so its own voxels do not say what they were. The maps do, blurred by what a registration
misses; real and synthetic lesions are sorted by the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from sklearn.mixture import GaussianMixture

from benchmarks.realism.hosts import HostScan, shared
from lesionaug.assemble import assemble_scan
from lesionaug.errors import LesionAugError
from lesionaug.scan import Scan

Array = np.ndarray
WHITE, GREY, FLUID, UNSEEN = 0, 1, 2, -1
CORTEX_MM = 5.0  # no cortex is thicker
WANDER_MM = 8.0  # a patient's ventricles lie within this distance of the registered template's
BETWEEN_PERCENTILES = (0.5, 99.5)  # vessels and air would take one of three Gaussians for themselves
SHRINK = 4  # for the bias field, which is smooth
DEMONS = ((4, 60), (2, 30))  # voxels taken together, iterations
SMOOTH = 1.5  # voxels; of the displacement


@dataclass(frozen=True)
class Place:
    """A brain with its tissues, at 1 mm.

    Args:
        scan: For the synthesiser; with the real lesions, where there are any.
        tissue: `WHITE`, `GREY` or `FLUID`, by the template's maps.
        seen: The same by the scan's own T1w, `UNSEEN` in lesions and outside of the brain.
        ventricles: Lateral ones.
        cortex: Grey matter within `CORTEX_MM` of what is outside; the wall of the third ventricle is among it.
    """

    scan: Scan
    tissue: Int[Array, "i j k"]
    seen: Int[Array, "i j k"]
    ventricles: Bool[Array, "i j k"]
    cortex: Bool[Array, "i j k"]

    @cached_property
    def to_ventricles_mm(self) -> Float[Array, "i j k"]:
        """Distance of each voxel to the lateral ventricles."""
        return ndimage.distance_transform_edt(~self.ventricles)

    @cached_property
    def to_cortex_mm(self) -> Float[Array, "i j k"]:
        """Distance of each voxel to the cortex."""
        return ndimage.distance_transform_edt(~self.cortex)


@dataclass(frozen=True)
class Maps:
    """The ICBM template.

    Args:
        t1w: Brain only.
        white: Probability of white matter.
        grey: Probability of grey matter.
        affine: Voxel to world in mm.
    """

    t1w: Float[Array, "i j k"]
    white: Float[Array, "i j k"]
    grey: Float[Array, "i j k"]
    affine: Float[Array, "4 4"]

    @cached_property
    def brain(self) -> Bool[Array, "i j k"]:
        """Brain with ventricles."""
        return ndimage.binary_fill_holes(self.t1w > 0)

    @cached_property
    def tissue(self) -> Int[Array, "i j k"]:
        """What is likeliest."""
        return likeliest(self.white, self.grey)

    @cached_property
    def ventricles(self) -> Bool[Array, "i j k"]:
        """Fluid in one piece around the middle of the brain, once thin bridges to the sulci are cut."""
        fluid = (self.tissue == FLUID) & self.brain
        parts, _ = ndimage.label(ndimage.binary_erosion(fluid))
        middle = parts[80:100, 100:125, 80:95]
        return ndimage.binary_dilation(parts == np.bincount(middle[middle > 0]).argmax()) & fluid


def likeliest(white: Float[Array, "i j k"], grey: Float[Array, "i j k"]) -> Int[Array, "i j k"]:
    """Tissue of two maps; what is neither is fluid."""
    return np.argmax(np.stack([white, grey, np.clip(1 - white - grey, 0, 1)]), axis=0)


@lru_cache
def icbm() -> Maps:
    """From the shared data."""
    folder = shared() / "data/healthy/icbm2009a"
    white, grey = (_read(folder / f"{name}_mni.nii.gz") / 255 for name in ("wm", "gm"))
    return Maps(_read(folder / "t1_mni.nii.gz"), white, grey, nib.load(folder / "t1_mni.nii.gz").affine)


def _read(path: Path) -> Float[Array, "i j k"]:
    return np.asarray(nib.load(path).dataobj, np.float32)


def template() -> Place:
    """The ICBM brain, whose own maps are the judge."""
    maps = icbm()
    t1w = torch.from_numpy(maps.t1w)[None]
    scan = assemble_scan({"t1w": t1w}, maps.affine, torch.zeros(t1w.shape, dtype=torch.bool))
    seen = np.where(maps.brain, maps.tissue, UNSEEN)
    return Place(scan, maps.tissue, seen, maps.ventricles, cortex_of(seen, maps.ventricles))


def patient(host: HostScan) -> Place:
    """A patient's brain.

    Raises:
        LesionAugError: There is no T1w, or voxels are not of 1 mm: a lesion of two thick slices has no shape.
    """
    if "t1w" not in host.images or not np.allclose(host.spacing_mm, 1, atol=0.01):
        got = f"{', '.join(host.images)} at {' x '.join(f'{mm:.1f}' for mm in host.spacing_mm)} mm"
        raise LesionAugError(f"Expected T1w with voxels of 1 mm, got {got} of {host.name}; leave it out")
    images = {name: torch.from_numpy(image.astype(np.float32))[None] for name, image in host.images.items()}
    scan = assemble_scan(images, host.affine, torch.from_numpy(host.lesions)[None])
    t1w = without_bias(np.clip(host.images["t1w"], 0, None), host.brain)
    seen, white_level = seen_in(t1w, host.brain, host.lesions)
    # Filled, or demons would pull fluid and grey matter of the template into dark lesions.
    filled = np.where(ndimage.binary_dilation(host.lesions) & host.brain, white_level, t1w * host.brain)
    white, grey, near = registered(icbm(), filled)
    ventricles = own_ventricles(seen == FLUID, near > 0.5)
    return Place(scan, likeliest(white, grey), seen, ventricles, cortex_of(seen, ventricles))


def without_bias(t1w: Float[Array, "i j k"], brain: Bool[Array, "i j k"]) -> Float[Array, "i j k"]:
    """T1w over its bias field.

    Reference:
        Tustison et al., N4ITK: improved N3 bias correction, IEEE Trans. Med. Imaging 29 (2010).
    """
    _one_thread()
    image, mask = _image(t1w), _image(brain)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(sitk.Shrink(image, [SHRINK] * 3), sitk.Cast(sitk.Shrink(mask, [SHRINK] * 3) > 0.5, sitk.sitkUInt8))
    return t1w / np.exp(_array(n4.GetLogBiasFieldAsImage(image)))


def seen_in(
    t1w: Float[Array, "i j k"], brain: Bool[Array, "i j k"], lesions: Bool[Array, "i j k"]
) -> tuple[Int[Array, "i j k"], float]:
    """Tissue by a mixture of three Gaussians, fitted to the brain away from lesions, and the mean of white matter."""
    values = t1w[brain & ~ndimage.binary_dilation(lesions)]
    low, high = np.percentile(values, BETWEEN_PERCENTILES)
    values = values[(values > low) & (values < high)][::7, None].astype(float)
    start = np.percentile(values, (85, 45, 5))[:, None]
    mixture = GaussianMixture(3, means_init=start, random_state=0).fit(values)
    order = np.argsort(-mixture.means_[:, 0])
    darkest, brightest = mixture.means_.min(), mixture.means_.max()
    # Beyond the outermost means the widest Gaussian would win on both sides.
    inside = np.clip(t1w[brain & ~lesions], darkest, brightest)[:, None]
    seen = np.full(t1w.shape, UNSEEN)
    seen[brain & ~lesions] = mixture.predict_proba(inside)[:, order].argmax(axis=1)
    return seen, float(brightest)


def own_ventricles(fluid: Bool[Array, "i j k"], template_ventricles: Bool[Array, "i j k"]) -> Bool[Array, "i j k"]:
    """The patient's fluid in one piece with the registered template's ventricles, and not far from them."""
    near = ndimage.distance_transform_edt(~template_ventricles) <= WANDER_MM
    return ndimage.binary_propagation(fluid & template_ventricles, mask=fluid & near)


def cortex_of(seen: Int[Array, "i j k"], ventricles: Bool[Array, "i j k"]) -> Bool[Array, "i j k"]:
    """Grey matter near what is outside: air, or fluid that is not the ventricles'. Deep grey matter is farther in."""
    brain = ndimage.binary_fill_holes(seen != UNSEEN)
    outside = ~brain | ((seen == FLUID) & ~ventricles)
    # Fluid of a voxel or two is noise, not a sulcus: one within deep grey matter would make it cortex.
    parts, _ = ndimage.label(outside)
    outside = parts == parts[0, 0, 0]
    return (seen == GREY) & (ndimage.distance_transform_edt(~outside) <= CORTEX_MM)


def registered(maps: Maps, t1w: Float[Array, "i j k"]) -> tuple[Array, Array, Array]:
    """White matter, grey matter and ventricles of the template, where a patient's T1w (its grid, near MNI) has them."""
    _one_thread()
    fixed, moving = _image(t1w), _image(maps.t1w)
    affine = _affine(fixed, moving)
    transform = sitk.CompositeTransform([affine, _demons(fixed, sitk.Resample(moving, fixed, affine))])
    white, grey, ventricles = (
        _array(sitk.Resample(_image(volume), fixed, transform)) for volume in (maps.white, maps.grey, maps.ventricles)
    )
    return white, grey, ventricles


def _affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """By mutual information, from where the outlines have their centres.

    Reference:
        Mattes et al., PET-CT image registration in the chest, IEEE Trans. Med. Imaging 22 (2003).
    """
    outlines = [sitk.Cast(image > 0, sitk.sitkFloat32) for image in (fixed, moving)]
    by = sitk.CenteredTransformInitializerFilter.MOMENTS
    start = sitk.CenteredTransformInitializer(*outlines, sitk.AffineTransform(3), by)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.05, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2, 1])
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(fixed, moving)


def _demons(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """What is left after the affine.

    Reference:
        Vercauteren et al., Diffeomorphic demons, NeuroImage 45 (2009).
    """
    moving = sitk.HistogramMatching(moving, fixed, 256, 15, True)
    field = None
    for factor, iterations in DEMONS:
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(SMOOTH)
        coarse = [
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, factor / 2), [factor] * 3) for image in (fixed, moving)
        ]
        field = demons.Execute(*coarse, *([] if field is None else [sitk.Resample(field, coarse[0])]))
    return sitk.DisplacementFieldTransform(sitk.Cast(sitk.Resample(field, fixed), sitk.sitkVectorFloat64))


def _one_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums in one order: the same bits everywhere


def _image(volume: Array) -> sitk.Image:
    """Voxels as they are: both grids are 1 mm and near MNI, so the affine need not know of the world."""
    return sitk.GetImageFromArray(np.ascontiguousarray(volume.T, dtype=np.float32))


def _array(image: sitk.Image) -> Array:
    return np.ascontiguousarray(sitk.GetArrayFromImage(image).T)
