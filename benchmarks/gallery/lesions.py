"""Which lesions are shown: the real ones of a scan, and as many new ones of their sizes in the same scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from scipy import ndimage

from benchmarks.realism.generator import scan_of
from benchmarks.realism.hosts import HostResult, HostScan
from benchmarks.realism.shape import lesions_with_boxes, volume_bins
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import LesionPlan, LesionSpec, Scan
from lesionaug.synthesis import LesionSynthesizer

Array = np.ndarray
GAP_MM = 2.0  # between lesions of different sizes, which are planned one size after the other
ALIKE = 1.5  # volumes of a pair differ by no more than this factor


@dataclass(frozen=True)
class Shown:
    """A lesion that is shown.

    Args:
        center: Voxel of it that is nearest to its centroid.
        volume_mm3: Of its label.
        real: Whether it was in the scan.
    """

    center: tuple[int, int, int]
    volume_mm3: float
    real: bool


Pair = tuple[Shown | None, Shown | None]
"""A real lesion and a synthetic one of about its volume; none where there was no room for it, or no real one."""


def found(mask: Bool[Array, "i j k"], spacing_mm: Sequence[float], *, real: bool) -> list[Shown]:
    """Lesions of a mask, largest first."""
    voxel_mm3 = math.prod(spacing_mm)
    lesions = [
        Shown(_center(crop, box, spacing_mm), float(crop.sum() * voxel_mm3), real)
        for crop, box in lesions_with_boxes(mask, min_voxels=1)
    ]
    return sorted(lesions, key=lambda lesion: -lesion.volume_mm3)


def _center(crop: Array, box: tuple[slice, ...], spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    voxels = np.argwhere(crop)
    off = np.linalg.norm((voxels - voxels.mean(axis=0)) * spacing_mm, axis=1)
    i, j, k = (int(v) + part.start for v, part in zip(voxels[off.argmin()], box, strict=True))
    return i, j, k


def real_lesions(host: HostScan, diameter_mm: tuple[float, float], each: int | None) -> list[Shown]:
    """Real lesions of a range of sizes; of many, some of every size."""
    low, high = (math.pi / 6 * d**3 for d in diameter_mm)
    within = [lesion for lesion in found(host.lesions, host.spacing_mm, real=True) if low <= lesion.volume_mm3 <= high]
    if each is None or each >= len(within):
        return within
    return [within[index] for index in np.linspace(0, len(within) - 1, each).round().astype(int)]


def populate(
    synthesizer: LesionSynthesizer, host: HostScan, volumes_mm3: Sequence[float], options: PlanOptions, seed: int
) -> HostResult:
    """Put new lesions of these volumes where the synthesiser's own prior has them."""
    scan = scan_of(host)
    generator = torch.Generator().manual_seed(seed)
    after = synthesizer.render(scan, plan_of_sizes(synthesizer, scan, volumes_mm3, options, generator))
    images = {channel: image.numpy() for channel, image in zip(scan.channels, after.image, strict=True)}
    return HostResult(host, images, (after.lesion_mask & ~scan.lesion_mask)[0].numpy())


def plan_of_sizes(
    synthesizer: LesionSynthesizer,
    scan: Scan,
    volumes_mm3: Sequence[float],
    options: PlanOptions,
    generator: torch.Generator,
) -> LesionPlan:
    """As many lesions of every size as there are volumes of it, the largest placed first."""
    volumes = np.asarray(volumes_mm3, float)
    bins = volume_bins(volumes)
    lesions: list[LesionSpec] = []
    for level in sorted(set(bins.tolist()), reverse=True):
        diameters = np.cbrt(6 * volumes[bins == level] / math.pi)
        sizes = (0.98 * float(diameters.min()), 1.02 * float(diameters.max()))
        wanted = replace(options, num_lesions=len(diameters), diameter_mm=sizes)
        lesions += synthesizer.plan(_without(scan, lesions, sizes[1]), generator, wanted)
    return LesionPlan(tuple(lesions))


def _without(scan: Scan, lesions: Sequence[LesionSpec], diameter_mm: float) -> Scan:
    """The scan, not eligible where a lesion of this diameter would touch planned ones."""
    taken = torch.zeros(scan.shape, dtype=torch.bool)
    for lesion in lesions:
        radius = (lesion.diameter_mm + diameter_mm) / 2 + GAP_MM
        reach = [math.ceil(radius / mm) for mm in scan.spacing_mm]
        box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(lesion.center, reach, strict=True))
        around = np.ones(taken[box].shape, bool)
        around[tuple(c - part.start for c, part in zip(lesion.center, box, strict=True))] = False
        distance = ndimage.distance_transform_edt(around, sampling=scan.spacing_mm)
        taken[box] |= torch.from_numpy(distance <= radius)
    return replace(scan, eligible=scan.eligible.masked_fill(taken, 0))


def paired(real: Sequence[Shown], synthetic: Sequence[Shown]) -> list[Pair]:
    """Each real lesion, largest first, with the synthetic one that is nearest in volume and not taken yet."""
    left, pairs = list(synthetic), []
    for lesion in real:
        partner = min(left, key=lambda other: _apart(lesion, other), default=None)
        if partner is None or _apart(lesion, partner) > math.log(ALIKE):
            pairs.append((lesion, None))
            continue
        left.remove(partner)
        pairs.append((lesion, partner))
    return pairs + [(None, lesion) for lesion in left]


def _apart(one: Shown, other: Shown) -> float:
    return abs(math.log(one.volume_mm3 / other.volume_mm3))
