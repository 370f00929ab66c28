"""From delineated lesions to the tables of a prior."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np
import torch

from lesionaug.anatomy.atlas import MAPS, packaged_atlas
from lesionaug.anatomy.grids import checked_spacing
from lesionaug.anatomy.regions import DEEP, INFRATENTORIAL, JUXTACORTICAL, PERIVENTRICULAR, distance_mm
from lesionaug.checks import binary_mask
from lesionaug.contrast import REFERENCE_MM3, ContrastModel, measure
from lesionaug.distributions import ConditionalQuantiles, Quantiles
from lesionaug.errors import LesionAugError
from lesionaug.io import read_nifti
from lesionaug.prior_tables import PriorTables
from lesionaug.scan import CHANNELS, REGIONS, Scan
from lesionaug.types import triple

MIN_MM3 = 3.0
SURE_MM3 = 14.0  # a ball of 3 mm; below, raters differ on whether there is a lesion
MIN_IN_REGION = 30  # lesions, below which a region takes the sizes of all
VENTRICLE_SHARE = 0.3  # probability in the atlas from which a voxel counts as ventricle
NEAR_VENTRICLE_MM = 5.0
CORTEX_SHARE = 0.35
ENOUGH = 5  # lesions for a patient's mean to say something on the spread between patients
BETWEEN_FLOOR = 0.15  # robust units: standard deviation between scans that few patients cannot rule out


@dataclass(frozen=True)
class ObservedScan:
    """Delineated lesions of one scan.

    Args:
        lesions: Mask, shape `(i, j, k)`.
        affine: Voxel to world in mm.
        brain: Mask; tells where in the brain a lesion is, so that size may depend on region.
        images: Per channel; tell how bright lesions are.
        patient: Scans of one patient count as one.
    """

    lesions: np.ndarray
    affine: np.ndarray
    brain: np.ndarray | None = None
    images: dict[str, np.ndarray] = field(default_factory=dict)
    patient: str = ""

    @classmethod
    def read(
        cls,
        lesions: str | Path,
        brain: str | Path | None = None,
        images: dict[str, Path] | None = None,
        patient: str = "",
    ) -> ObservedScan:
        """From NIfTI files on one grid.

        Raises:
            LesionAugError: A file cannot be read or is no mask.
        """
        image = read_nifti(lesions)
        return cls(
            lesions=binary_mask(image.data, str(lesions))[0],
            affine=image.affine,
            brain=None if brain is None else read_nifti(brain).data > 0,
            images={channel: read_nifti(path).data for channel, path in (images or {}).items()},
            patient=patient,
        )


@dataclass(frozen=True)
class _Lesions:
    """Measures of the lesions of one scan, one row each."""

    volume_mm3: np.ndarray
    extent_mm: np.ndarray
    centroid: np.ndarray  # voxels


def fit_tables(masks: Sequence[str | Path | ObservedScan], contrast: ContrastModel, source: str = "") -> PriorTables:
    """Sizes and numbers from masks.

    Args:
        masks: Paths of NIfTI masks, or scans; with a brain mask, sizes depend on region.
        contrast: How bright lesions are, which masks do not tell.
        source: Said in the tables.

    Raises:
        LesionAugError: There are no lesions to fit to.
    """
    scans = [scan if isinstance(scan, ObservedScan) else ObservedScan.read(scan) for scan in masks]
    measured = [measure_lesions(scan) for scan in scans]
    volume = np.concatenate([lesions.volume_mm3 for lesions in measured]) if measured else np.zeros(0)
    extent = np.concatenate([lesions.extent_mm for lesions in measured]) if measured else np.zeros(0)
    if len(volume) < 2:
        raise LesionAugError(f"Expected at least two lesions to fit to, got {len(volume)}; hand in more masks")
    region = np.concatenate([lesion_regions(scan, lesions) for scan, lesions in zip(scans, measured, strict=True)])
    stretch = np.log(extent) - np.log((6 * volume / np.pi) ** (1 / 3))
    return PriorTables(
        count=Quantiles.of([len(lesions.volume_mm3) for lesions in measured]),
        region_share=_region_share(region[volume >= SURE_MM3]),
        log_volume=tuple(_log_volume(volume, region == index + 1) for index in range(len(REGIONS))),
        log_stretch=ConditionalQuantiles.of(np.log(volume), stretch),
        contrast=contrast,
        source=source or f"{len(scans)} masks, {len(volume)} lesions",
    )


def _region_share(region: np.ndarray) -> tuple[float, ...]:
    """Even where no lesion's region is known; every region has some share."""
    counts = np.bincount(region, minlength=len(REGIONS) + 1)[1:] + 1.0
    return _row(counts / counts.sum())


def measure_lesions(scan: ObservedScan) -> _Lesions:
    """Volume, control sphere and centroid of each lesion of 3 mm3 or more."""
    spacing = checked_spacing(scan.affine)
    parts = cc3d.connected_components(np.ascontiguousarray(scan.lesions), connectivity=26)
    voxels = np.argwhere(parts)
    order = np.argsort(parts[tuple(voxels.T)], kind="stable")
    groups = np.split(voxels[order], np.cumsum(np.bincount(parts.ravel())[1:])[:-1])
    groups = [group for group in groups if len(group) * spacing.prod() >= MIN_MM3]
    return _Lesions(
        volume_mm3=np.array([len(group) * spacing.prod() for group in groups]),
        extent_mm=np.array([control_extent_mm(group, spacing) for group in groups]),
        centroid=np.array([group.mean(axis=0) for group in groups]).reshape(-1, 3),
    )


def control_extent_mm(voxels: np.ndarray, spacing: np.ndarray) -> float:
    """Diameter of a lesion's control sphere: twice the way from centroid to farthest voxel's centre, and a voxel.

    Args:
        voxels: Indices, shape `(n, 3)`.
        spacing: Voxel size in mm, shape `(3,)`.
    """
    offsets = (voxels - voxels.mean(axis=0)) * spacing
    return float(2 * np.linalg.norm(offsets, axis=1).max() + spacing.prod() ** (1 / 3))


def lesion_regions(scan: ObservedScan, lesions: _Lesions) -> np.ndarray:
    """Region in which each lesion is centred, by the atlas; 0 where there is no brain mask to place it with."""
    if scan.brain is None or not len(lesions.centroid):
        return np.zeros(len(lesions.centroid), np.uint8)
    atlas = packaged_atlas()
    image = nib.as_closest_canonical(nib.Nifti1Image(scan.brain.astype(np.uint8), scan.affine))
    to_voxel = np.linalg.inv(atlas.affine) @ atlas.place(np.asarray(image.dataobj) > 0, image.affine) @ scan.affine
    places = np.rint(lesions.centroid @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    places = tuple(np.clip(places, 0, np.array(atlas.maps.shape[1:]) - 1).T)
    return atlas_regions()[places]


def atlas_regions() -> np.ndarray:
    """Region of each atlas voxel, whatever its tissue."""
    atlas = packaged_atlas()
    maps = dict(zip(MAPS, atlas.maps, strict=True))
    near = distance_mm(maps["ventricles"] > VENTRICLE_SHARE, np.full(3, 4.0)) <= NEAR_VENTRICLE_MM
    regions = np.where(maps["cortex"] > CORTEX_SHARE, JUXTACORTICAL, DEEP)
    regions[near] = PERIVENTRICULAR
    regions[maps["infratentorial"] > 0.5] = INFRATENTORIAL
    return regions.astype(np.uint8)


def _log_volume(volume: np.ndarray, chosen: np.ndarray) -> Quantiles:
    """Quantiles of log volume, with whole voxels spread over their neighbourhood."""
    sample = np.sort(volume[chosen] if chosen.sum() >= MIN_IN_REGION else volume)
    spread = (np.arange(len(sample)) * 0.618034) % 1 - 0.5  # even, and the same each time
    return Quantiles.of(np.log(np.maximum(sample + spread, MIN_MM3)))


def fit_contrast(scans: Sequence[ObservedScan]) -> ContrastModel:
    """Regression on log volume; what is left over split into between and within patients.

    Raises:
        LesionAugError: A channel's lesions are too few to tell.
    """
    rows, patients = [], []
    for scan in scans:
        rows.extend(_contrasts(scan))
        patients.extend([scan.patient] * (len(rows) - len(patients)))
    values, log_volume = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    weight = _weights(patients)
    fits = [_line(log_volume, values[:, c], weight) for c in range(len(CHANNELS))]
    mean, slope = np.array(fits).T
    between, within = _split(values - mean - slope * log_volume[:, None], np.array(patients))
    return ContrastModel(_row(mean), _row(slope), tuple(map(_row, between)), tuple(map(_row, within)))


def _row(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _contrasts(scan: ObservedScan) -> list[tuple[np.ndarray, float]]:
    """Contrast per channel, not a number where there is no image, and log volume of each lesion."""
    names = tuple(scan.images)
    image = torch.stack([torch.from_numpy(scan.images[name].astype(np.float32)) for name in names])
    mask, brain = torch.from_numpy(scan.lesions)[None], torch.from_numpy(scan.brain)[None]
    spacing = triple(float(s) for s in checked_spacing(scan.affine))
    nothing = torch.zeros(brain.shape)
    seen = Scan(image, names, mask, brain, nothing, nothing.byte(), spacing)
    result = []
    for contrast, volume in zip(*measure(seen, limit=None, at_least=1), strict=True):
        row = np.full(len(CHANNELS), np.nan)
        row[[CHANNELS.index(name) for name in names]] = contrast
        result.append((row, float(np.log(volume / REFERENCE_MM3))))
    return result


def _weights(patients: list[str]) -> np.ndarray:
    """Patients with many lesions count more, but not in proportion."""
    number = defaultdict(int)
    for patient in patients:
        number[patient] += 1
    return np.array([number[patient] ** -0.5 for patient in patients])


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    known = np.isfinite(y)
    if known.sum() < 3:
        raise LesionAugError(f"Expected three lesions or more in each channel, got {known.sum()}; hand in more scans")
    x, y, weight = x[known], y[known], weight[known] / weight[known].sum()
    offset = x - weight @ x
    # The small term leaves the slope at zero where all lesions have one size.
    slope = (weight * offset) @ y / ((weight * offset) @ offset + 0.01)
    return float(weight @ y - slope * (weight @ x)), float(slope)


def _split(residual: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of patients' means, and of lesions about them."""
    names = np.unique(patients)
    means = np.array([_known_mean(residual[patients == name]) for name in names])
    inner = residual - means[np.searchsorted(names, patients)]
    number = np.array([(patients == name).sum() for name in names])
    within = _covariance(inner * np.sqrt(number / np.maximum(number - 1, 1))[np.searchsorted(names, patients), None])
    enough = number >= min(ENOUGH, number.max())
    between = _covariance(means[enough]) - within / number[enough].mean()
    # Few patients: correlations between scans are taken from those within, variances from the data, with a floor.
    sd = np.sqrt(np.maximum(np.diag(between), BETWEEN_FLOOR**2))
    correlation = within / np.sqrt(np.outer(np.diag(within), np.diag(within)))
    return correlation * np.outer(sd, sd), within


def _known_mean(sample: np.ndarray) -> np.ndarray:
    known = np.isfinite(sample)
    total = np.where(known, sample, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _covariance(sample: np.ndarray) -> np.ndarray:
    """About zero, from pairs where both are known, made positive definite."""
    known = np.isfinite(sample)
    filled = np.where(known, sample, 0)
    count = np.maximum(known.T.astype(float) @ known, 1)
    values, vectors = np.linalg.eigh(filled.T @ filled / count)
    return (vectors * np.maximum(values, 1e-3)) @ vectors.T
