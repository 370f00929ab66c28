"""All that is compared of a scan, measured once: plain arrays that a worker process can send.

Real and synthetic lesions go through the same function. A case that was made from a real scan at hand is measured in
that scan's units and brain, so that new lesions move neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float
from lesionaug.pretrain.labelled import LabelledScan
from lesionaug.pretrain.reading import read_label, read_scan
from scipy import ndimage

from benchmarks.realism.appearance import MAD_TO_SD, scan_features
from benchmarks.realism.hosts import MAX_MM3
from benchmarks.realism.memorisation import MIN_MM3
from benchmarks.realism.plans import to_atlas
from benchmarks.realism.scan_sets import GeneratedScan
from benchmarks.realism.shape import MIN_VOXELS, lesions_of, shape_table
from benchmarks.realism.textures import lesion_cubes
from lesionaug.checks import check_same_grid
from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan
from lesionaug.prior_fit import ObservedScan, measure_lesions

Array = np.ndarray
SAME_MM = 0.1  # of 1 mm: within it voxels count as such


@dataclass(frozen=True)
class ScanMeasures:
    """The lesions of one scan as numbers.

    Args:
        subject: Name of the scan.
        patient: Whose it is; no patient is ever on both sides of a split.
        host: The real scan that its tissue is of; its own name where it is real, or nothing is known.
        spacing_mm: Voxel size.
        volumes_mm3: Of every lesion of 3 mm3 or more.
        points_mm: Centre of each in the atlas' space; none without a brain or without an orientation.
        shapes: `shape_table` of lesions of `MIN_VOXELS` or more.
        masks: Those of 50 mm3 or more, at 1 mm.
        features: `scan_features` of those from `MIN_VOXELS` to `MAX_MM3`; none without images.
        cubes: Around lesions, first channel; none without images of 1 mm.
    """

    subject: str
    patient: str
    host: str
    spacing_mm: tuple[float, float, float]
    volumes_mm3: Float[Array, " lesions"]
    points_mm: Float[Array, "lesions 3"] | None
    shapes: dict[str, Float[Array, " large"]]
    masks: tuple[Bool[Array, "a b c"], ...]
    features: Float[Array, "large features"] | None
    cubes: Float[Array, "n a a a"] | None


def measure_real(files: SourceScan, channels: Sequence[str]) -> ScanMeasures:
    """A real scan.

    Args:
        files: Of it.
        channels: Whose appearance is measured; none if it has no images.

    Raises:
        LesionAugError: Files that cannot be read, or do not fit to each other.
    """
    scan = read_scan(only_channels(files, channels))
    return _measures(files, scan, scan, scan.lesions, scan.lesions)


def measure_group(
    host: SourceScan | None, scans: Sequence[GeneratedScan], channels: Sequence[str]
) -> list[ScanMeasures]:
    """Generated scans that were made from one real scan, or from none that is at hand.

    Raises:
        LesionAugError: As `measure_real`; or a scan is not on its host's grid.
    """
    under = None if host is None else read_scan(only_channels(host, channels))
    return [_measure_generated(scan, under, channels) for scan in scans]


def only_channels(files: SourceScan, channels: Sequence[str]) -> SourceScan:
    """A scan with images of these channels alone, in their order."""
    return replace(files, images={channel: files.images[channel] for channel in channels})


def _measure_generated(scan: GeneratedScan, host: LabelledScan | None, channels: Sequence[str]) -> ScanMeasures:
    after = read_scan(only_channels(scan.files, channels))
    if host is not None:
        names = after.subject, f"its source {host.subject}"
        check_same_grid(after.lesions.shape, after.to_world, names[0], host.lesions.shape, host.to_world, names[1])
    lesions = after.lesions
    if scan.new:
        lesions = read_label(scan.new).lesions
    elif scan.minus_host and host is not None:
        lesions = lesions & ~host.lesions
    every = after.lesions | lesions | (host.lesions if host is not None else False)
    return _measures(scan.files, after, host or after, lesions, every)


def _measures(
    files: SourceScan, scan: LabelledScan, under: LabelledScan, lesions: Array, every_lesion: Array
) -> ScanMeasures:
    """Measures of some of the lesions of a scan, in units and brain of the scan that lies under them."""
    observed = measure_lesions(ObservedScan(lesions, scan.to_world))
    placed = under.brain.any() and has_orientation(files)
    crops, spacing = lesions_of(lesions), scan.spacing_mm
    images = images_in_units(scan, under) if under.brain.any() else {}
    return ScanMeasures(
        subject=scan.subject,
        patient=scan.patient,
        host=under.subject,
        spacing_mm=spacing,
        volumes_mm3=observed.volume_mm3,
        points_mm=to_atlas(observed.centroid, under.brain, scan.to_world) if placed else None,
        shapes=shape_table(crops, spacing),
        masks=tuple(at_1_mm(crop, spacing) for crop in crops if crop.sum() * np.prod(spacing) >= MIN_MM3),
        features=_features(scan, under, images, lesions, every_lesion) if images else None,
        cubes=lesion_cubes(next(iter(images.values())), lesions) if images and is_1_mm(spacing) else None,
    )


def images_in_units(scan: LabelledScan, under: LabelledScan) -> dict[str, Float[Array, "i j k"]]:
    """Channels in robust units of the scan that lies under them: of itself, or of its host.

    Raises:
        LesionAugError: An image is constant in the brain.
    """
    found = {}
    for channel, image, original in zip(scan.channels, scan.image, under.image, strict=True):
        values = original[under.brain].astype(np.float64)
        center = np.median(values)
        spread = MAD_TO_SD * np.median(np.abs(values - center))
        if not spread > 0:
            raise LesionAugError(
                f"Expected varying intensities in the brain, got a constant {channel} image of {under.subject}; "
                "check image and brain mask"
            )
        found[channel] = ((image - center) / spread).astype(np.float32)
    return found


def _features(scan: LabelledScan, under: LabelledScan, images: dict, lesions: Array, every: Array) -> Array:
    try:
        table = scan_features(images, under.brain, lesions, every, scan.spacing_mm, MIN_VOXELS)
    except ValueError as error:
        raise LesionAugError(f"{error} of {scan.subject}") from error
    return table[table[:, -1] <= np.log(MAX_MM3) + 1e-6]


def has_orientation(files: SourceScan) -> bool:
    """Whether the header of a scan's label says where right, anterior and superior are."""
    header = nib.load(files.lesions).header
    return bool(header["sform_code"] > 0 or header["qform_code"] > 0)


def is_1_mm(spacing_mm: Sequence[float]) -> bool:
    """Whether voxels are cubes of 1 mm."""
    return all(abs(size - 1) <= SAME_MM for size in spacing_mm)


def at_1_mm(crop: Bool[Array, "a b c"], spacing_mm: Sequence[float]) -> Bool[Array, "i j k"]:
    """A lesion with voxels of 1 mm, whatever it had."""
    if is_1_mm(spacing_mm):
        return crop
    smooth = ndimage.zoom(np.pad(crop, 1).astype(np.float32), spacing_mm, order=1)
    return smooth > 0.5
