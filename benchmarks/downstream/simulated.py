"""A cohort whose truth is known because it was made: anatomy and lesion masks are real, what they look like is not.

    SynthSeg label map ──► canvas in atlas position ─┐
    real lesion mask ──► this brain's white matter ──┴► `appearance` ──► Case

Differences between arms can be resolved here, since cases cost nothing. They are no clinical evidence: no patient looks
like this, lesions are mixtures and have a halo by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from benchmarks.downstream.appearance import CONTRASTS, Scanner, scanned
from benchmarks.downstream.cases import Case, Cohort, Fold, remembering
from benchmarks.downstream.lesions import MIN_MM3, components
from benchmarks.realism.hosts import load_mask_paths, shared
from lesionaug.anatomy import anatomy_from_labels
from lesionaug.anatomy.atlas import packaged_atlas
from lesionaug.anatomy.labels import TISSUES
from lesionaug.assemble import assemble_scan
from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError
from lesionaug.io import read_nifti

Array = np.ndarray
CANVAS = (160, 192, 160)
CANVAS_START_MM = (-80.0, -112.0, -70.0)  # world position of the first voxel
FLUID_RIM = 3  # voxels of fluid that brain extraction leaves around the brain
OUTER_FLUID = 24
LEAST_LESIONS = 3


@dataclass(frozen=True)
class Simulation:
    """Who is simulated, and how.

    Args:
        channels: Contrasts, from `appearance.CONTRASTS`.
        pool: Cases that training may draw from.
        test: Cases to test on; other brains, other lesions.
        healthy_hosts: Brains of the pool without lesions, to train on.
        healthy_test: Other brains without lesions.
        scanner: What scans look like.
        seed: Of all looks.
    """

    channels: tuple[str, ...] = ("flair",)
    pool: int = 6
    test: int = 10
    healthy_hosts: int = 2
    healthy_test: int = 3
    scanner: Scanner = field(default_factory=Scanner)
    seed: int = 0

    def __post_init__(self) -> None:
        check_known("channel", self.channels, CONTRASTS)
        if self.healthy_hosts > self.pool:
            raise LesionAugError(
                f"Expected as many healthy hosts as brains in the pool, {self.pool}, or fewer, got "
                f"{self.healthy_hosts}; they are the same brains"
            )


def simulated_cohort(simulation: Simulation) -> Cohort:
    """Pool, test cases and healthy scans, no brain and no lesion in two of these three.

    Raises:
        LesionAugError: There are fewer label maps or masks than asked for.
    """
    brains, masks = label_map_paths(), load_mask_paths("masks_mni")
    counts = {"case": simulation.pool + simulation.test, "healthy": simulation.healthy_test}
    _check_enough("label maps", len(brains), sum(counts.values()))
    _check_enough("lesion masks", len(masks), counts["case"])
    diseased = [f"sim{number:02d}" for number in range(counts["case"])]
    pool, test = diseased[: simulation.pool], diseased[simulation.pool :]

    def load(name: str) -> Case:
        number = int(name[-2:])
        lesions = list(masks.values())[number] if name.startswith("sim") else None
        return simulated_case(name, brains[number], lesions, simulation)

    return Cohort(
        name="simulated truth (real anatomy and lesion masks, invented appearance; no clinical evidence)",
        load=remembering(load),
        patients={name: name for name in diseased},
        folds=(Fold("all", tuple(pool), tuple(test)),),
        healthy_hosts=tuple(f"host{number:02d}" for number in range(simulation.healthy_hosts)),
        healthy_test=tuple(f"healthy{counts['case'] + n:02d}" for n in range(simulation.healthy_test)),
    )


def simulated_case(name: str, labels_path: Path, lesions_path: Path | None, simulation: Simulation) -> Case:
    """One scan; the same name and simulation give the same voxels."""
    canvas = canvas_of(labels_path)
    lesions = placed_lesions(lesions_path, canvas) if lesions_path else np.zeros(CANVAS, bool)
    rng = np.random.default_rng([simulation.seed, *name.encode()])
    images = {
        channel: torch.from_numpy(scanned(canvas.labels, lesions, channel, simulation.scanner, rng))[None]
        for channel in simulation.channels
    }
    mask = torch.from_numpy(lesions)[None]
    anatomy = anatomy_from_labels(canvas.labels, canvas.affine, mask)
    return Case(name, name, assemble_scan(images, canvas.affine, mask, anatomy=anatomy), canvas.affine)


@dataclass(frozen=True)
class Canvas:
    """A label map where all label maps are, with its own size and tilt.

    Args:
        labels: FreeSurfer labels, 0 outside the brain, shape `CANVAS`, axes to right, anterior, superior.
        affine: Voxel to world in mm, the same for all.
        to_atlas: World to atlas position, 4 by 4.
    """

    labels: Int[Array, "i j k"]
    affine: Float[Array, "4 4"]
    to_atlas: Float[Array, "4 4"]


@lru_cache(maxsize=2)
def canvas_of(path: Path) -> Canvas:
    """The brain of a label map, shifted to the atlas' place."""
    image = nib.as_closest_canonical(nib.load(path))
    labels = _extracted(np.asarray(image.dataobj).astype(np.int32))
    to_atlas = packaged_atlas().place(ndimage.binary_fill_holes(labels > 0), image.affine)
    middle = image.affine[:3, :3] @ ndimage.center_of_mass(labels > 0) + image.affine[:3, 3]
    shift = np.round(to_atlas[:3, :3] @ middle + to_atlas[:3, 3] - middle)
    affine = np.eye(4)
    affine[:3, 3] = CANVAS_START_MM
    moved = np.eye(4)
    moved[:3, 3] = -shift
    start = np.round(affine[:3, 3] - shift - image.affine[:3, 3]).astype(int)
    return Canvas(_cut(labels, start), affine, to_atlas @ moved)


def _extracted(labels: Int[Array, "i j k"]) -> Int[Array, "i j k"]:
    """Labels of the brain and of a little fluid around it, as skull stripping leaves them."""
    solid = np.isin(labels, TISSUES["brain"]) & (labels != OUTER_FLUID)
    kept = np.isin(labels, TISSUES["brain"]) & ndimage.binary_dilation(solid, iterations=FLUID_RIM)
    return np.where(kept, labels, 0)


def _cut(labels: Int[Array, "i j k"], start: Int[Array, " 3"]) -> Int[Array, "i j k"]:
    """`CANVAS` voxels from a first voxel on; 0 where there were none."""
    result = np.zeros(CANVAS, labels.dtype)
    sides = [(max(-a, 0), max(a, 0), n, m) for a, n, m in zip(start.tolist(), CANVAS, labels.shape, strict=True)]
    lengths = [min(n - to, m - source) for to, source, n, m in sides]
    target = tuple(slice(to, to + size) for (to, *_), size in zip(sides, lengths, strict=True))
    origin = tuple(slice(source, source + size) for (_, source, *_), size in zip(sides, lengths, strict=True))
    result[target] = labels[origin]
    return result


def placed_lesions(path: Path, canvas: Canvas) -> Bool[Array, "i j k"]:
    """Lesions of a patient at the same place of another brain, as far as that is white matter there.

    Raises:
        LesionAugError: Next to nothing is left of them.
    """
    image = read_nifti(path)
    matrix = np.linalg.inv(image.affine) @ canvas.to_atlas @ canvas.affine
    looked_up = ndimage.affine_transform(image.data, matrix, output_shape=CANVAS, order=1)
    inside = (looked_up > 0.5) & np.isin(canvas.labels, TISSUES["white"])
    numbered, count = components(inside, int(MIN_MM3))
    if count < LEAST_LESIONS:
        raise LesionAugError(
            f"Expected {LEAST_LESIONS} or more lesions in white matter of {path}, got {count}; leave it out"
        )
    return numbered > 0


def label_map_paths() -> Sequence[Path]:
    """SynthSeg's label maps in the shared data.

    Raises:
        LesionAugError: There are none.
    """
    folder = shared() / "data" / "anatomy"
    paths = sorted(folder.glob("labels_*.nii.gz"))
    if not paths:
        raise LesionAugError(f"Expected label maps in {folder}, got none; set LESIONAUG_SHARED")
    return paths


def _check_enough(what: str, there: int, wanted: int) -> None:
    if there < wanted:
        raise LesionAugError(f"Expected {wanted} {what}, got {there}; simulate fewer cases")
