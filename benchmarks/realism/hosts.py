"""Scans with real lesions, where synthetic ones may be put in them, and the test that tells the two apart."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from benchmarks.realism.appearance import robust_units, scan_features
from benchmarks.realism.shape import MIN_VOXELS, lesions_with_boxes
from benchmarks.realism.twosample import TwoSample, in_host_auc

Array = np.ndarray
PROJECT = Path(__file__).parents[2]
DEFAULT_HOSTS = ("patient07", "P18_T1")
HEALTHY = "flair_example"
"""Left out of the training of the packaged models."""
MAX_MM3 = 1500.0  # larger ones are confluent and fit nowhere else
THICK = 2.5  # times the other sides of a voxel: then only the plane that was scanned is worth looking at
CLEAR_MM = 5.0  # between lesions: neither lies in the other's ring
SYNTHETIC_PER_REAL = 1.5


def shared() -> Path:
    """Folder of the shared data: `LESIONAUG_SHARED`, or `shared` beside the project."""
    return Path(os.environ.get("LESIONAUG_SHARED", PROJECT.parent / "shared"))


SAME_PATIENT = {"ms3_14": "ms3_11"}
"""Scans of one patient under two names, the first looks like a later visit."""

FILES = {"flair": "flair", "t1w": "t1", "t2w": "t2"}


def patient_of(name: str) -> str:
    """Whose scan it is, from its name."""
    return SAME_PATIENT.get(name, re.sub(r"_T\d+$", "", name))


@dataclass(frozen=True)
class HostScan:
    """A scan with its real lesions.

    Args:
        name: Of the scan.
        images: Channels in scanner units.
        brain: Brain with ventricles.
        lesions: Real lesions.
        affine: Voxels to world.
    """

    name: str
    images: Mapping[str, Float[Array, "i j k"]]
    brain: Bool[Array, "i j k"]
    lesions: Bool[Array, "i j k"]
    affine: Float[Array, "4 4"] = field(default_factory=lambda: np.eye(4))

    @property
    def patient(self) -> str:
        """Scans of one patient at several times share it."""
        return patient_of(self.name)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along each axis."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return math.prod(self.spacing_mm)

    def robust_images(self) -> dict[str, Float[Array, "i j k"]]:
        """Channels in robust units of this scan."""
        return {channel: robust_units(image, self.brain) for channel, image in self.images.items()}

    def test_lesions(
        self, min_voxels: int = MIN_VOXELS
    ) -> list[tuple[Bool[Array, "a b c"], tuple[slice, slice, slice]]]:
        """Real lesions that take part in the test: from `MIN_VOXELS` to `MAX_MM3`."""
        largest = MAX_MM3 / self.voxel_mm3
        return [(crop, box) for crop, box in lesions_with_boxes(self.lesions, min_voxels) if crop.sum() <= largest]


@dataclass(frozen=True)
class HostResult:
    """A host before and after synthetic lesions were put in.

    Args:
        host: Before.
        rendered: Channels after, in scanner units.
        new_lesions: The synthetic lesions, which touch neither each other nor real ones.
    """

    host: HostScan
    rendered: Mapping[str, Float[Array, "i j k"]]
    new_lesions: Bool[Array, "i j k"]


def load_host(name: str, channels: Sequence[str] = ("flair", "t1w")) -> HostScan:
    """A scan of the shared data by the name of its folder (`patient07`, `P18_T1`, or `flair_example` without lesions).

    Some scans have no other contrast than FLAIR.

    Raises:
        FileNotFoundError: The data or the scan is not there.
    """
    if name == HEALTHY:
        return _load_healthy()
    folder = next((folder for folder in _imaged() if folder.name == name), None)
    if folder is None:
        raise FileNotFoundError(f"Expected a scan called {name} under {shared() / 'data'}; set LESIONAUG_SHARED")
    flair = nib.load(folder / "flair.nii.gz")
    paths = {channel: folder / f"{FILES[channel]}.nii.gz" for channel in channels}
    return HostScan(
        name=name,
        images={channel: _read(path).astype(np.float32) for channel, path in paths.items() if path.exists()},
        brain=_read(folder / "brainmask.nii.gz") > 0,
        lesions=_read(folder / "lesion.nii.gz") > 0,
        affine=flair.affine,
    )


def imaged_hosts() -> tuple[str, ...]:
    """Names of all scans of patients that have images, not only masks."""
    return tuple(folder.name for folder in _imaged())


def _imaged() -> list[Path]:
    data = shared() / "data"
    parents = (data / "open_ms" / "subjects_mni", data / "mslesseg", data / "ms3seg")
    return [path.parent for parent in parents for path in sorted(parent.glob("*/flair.nii.gz"))]


def _load_healthy() -> HostScan:
    folder = shared() / "data" / "healthy" / HEALTHY
    image = nib.load(folder / "flair_native.nii.gz")
    flair, brain = np.asarray(image.dataobj, np.float32), _read(folder / "brainmask_native.nii.gz") > 0
    return HostScan(HEALTHY, {"flair": flair}, brain, np.zeros_like(brain), image.affine)


def _read(path: Path) -> Array:
    return np.asarray(nib.load(path).dataobj)


def load_masks() -> dict[str, Bool[Array, "i j k"]]:
    """Lesion masks of the shared data by patient, 1 mm isotropic.

    Raises:
        FileNotFoundError: No mask is there.
    """
    return {patient: _read(path) > 0 for patient, path in load_mask_paths("masks_1mm").items()}


def load_mni_masks() -> dict[str, tuple[Bool[Array, "i j k"], Float[Array, "4 4"]]]:
    """Lesion masks in MNI orientation by patient, each with its affine.

    Raises:
        FileNotFoundError: No mask is there.
    """
    return {patient: (_read(path) > 0, nib.load(path).affine) for patient, path in load_mask_paths("masks_mni").items()}


def load_mask_paths(folder: str) -> dict[str, Path]:
    """File of each patient's lesion mask, in `masks_1mm` or `masks_mni`.

    Raises:
        FileNotFoundError: None is there.
    """
    where = shared() / "data" / "open_ms" / folder
    paths = sorted(where.glob("*_lesion.nii.gz"))
    if not paths:
        raise FileNotFoundError(f"Expected masks in {where}, got none; set LESIONAUG_SHARED")
    return {path.name.removesuffix("_lesion.nii.gz"): path for path in paths}


def white_matter(host: HostScan) -> Bool[Array, "i j k"]:
    """Normal-appearing white matter by thresholds: bright in T1w, neither dark nor bright in FLAIR, not near a lesion.

    Good enough to place test lesions; no segmentation to rely on.

    Raises:
        ValueError: The scan has no T1w image.
    """
    if "t1w" not in host.images:
        raise ValueError(f"Expected FLAIR and T1w, to find white matter, got {', '.join(host.images)} of {host.name}")
    sides, steps = np.array(host.spacing_mm), steps_within(host.spacing_mm)
    inner = ndimage.binary_erosion(host.brain, steps, iterations=4)
    smooth = {channel: ndimage.gaussian_filter(image, 0.7 / sides) for channel, image in host.images.items()}
    t1w = smooth["t1w"]
    tissue = inner & (t1w > otsu(t1w[inner]) * 0.8)
    found = tissue & (t1w > otsu(t1w[tissue]))
    level = np.median(smooth["flair"][found])
    spread = 1.4826 * np.median(np.abs(smooth["flair"][found] - level))
    found &= np.abs(smooth["flair"] - level) < 2.5 * spread
    found &= ndimage.distance_transform_edt(~host.lesions, sampling=sides) > 2
    return _largest(ndimage.binary_closing(ndimage.binary_opening(found, steps), steps) & inner & ~host.lesions)


def steps_within(spacing_mm: Sequence[float]) -> Bool[Array, "3 3 3"]:
    """Face neighbours of a voxel, without those in another thick slice, whose tissue says nothing about its own."""
    steps = ndimage.generate_binary_structure(3, 1)
    for axis, side in enumerate(spacing_mm):
        if side > THICK * min(spacing_mm):
            steps[tuple([0, 2] if other == axis else slice(None) for other in range(3))] = False
    return steps


def otsu(values: Float[Array, " n"]) -> float:
    """Threshold that parts values into the two groups farthest apart.

    Reference:
        Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9 (1979), equation 14.
    """
    counts, edges = np.histogram(values, 256)
    centers = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts), np.cumsum(counts * centers)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (total[-1] * below / below[-1] - total) ** 2 / (below * (below[-1] - below))
    return float(centers[np.nanargmax(between[:-1])])


def _largest(mask: Array) -> Array:
    labels, _ = ndimage.label(mask)
    return labels == np.bincount(labels[mask]).argmax()


def synthetic_count(host: HostScan) -> int:
    """How many synthetic lesions to put in: 1.5 for each real one."""
    return round(SYNTHETIC_PER_REAL * len(host.test_lesions()))


def wanted_volumes(host: HostScan, rng: np.random.Generator) -> Float[Array, " lesions"]:
    """Volumes of the synthetic lesions (mm3), largest first: those of the real ones, over and again."""
    volumes = np.array([float(crop.sum()) for crop, _ in host.test_lesions()]) * host.voxel_mm3
    count = synthetic_count(host)
    whole, rest = divmod(count, len(volumes))
    drawn = np.concatenate([np.tile(volumes, whole), rng.choice(volumes, rest, replace=False)])
    return np.sort(drawn)[::-1]


def evaluate_scan_pairs(
    results: Sequence[HostResult],
    channels: Sequence[str] = ("flair",),
    seed: int = 0,
    max_mm3: float = MAX_MM3,
    trees: int = 200,
) -> TwoSample:
    """In-host two-sample test over hosts.

    Features of the real lesions come from the scan as it was, those of the synthetic ones from the rendered scan; both
    in the robust units of the scan as it was, with rings free of old and new lesions.

    Args:
        results: Hosts before and after.
        channels: Whose features the classifier sees.
        seed: Of the classifiers.
        max_mm3: Larger lesions take no part.
        trees: Of the forest.
    """
    real, synthetic = zip(*(pair_features(result, channels, max_mm3) for result in results), strict=True)
    hosts = [
        np.concatenate([np.full(len(rows), result.host.name) for rows, result in zip(group, results, strict=True)])
        for group in (real, synthetic)
    ]
    return in_host_auc(np.concatenate(real), np.concatenate(synthetic), *hosts, seed=seed, trees=trees)


def pair_features(
    result: HostResult, channels: Sequence[str] = ("flair",), max_mm3: float = MAX_MM3
) -> tuple[Float[Array, "n features"], Float[Array, "m features"]]:
    """Features of the real and of the synthetic lesions of a host."""
    host, both = result.host, result.host.lesions | result.new_lesions
    before = {channel: robust_units(host.images[channel], host.brain) for channel in channels}
    after = {channel: in_units_before(result, channel) for channel in channels}
    groups = (before, host.lesions), (after, result.new_lesions)
    tables = [scan_features(images, host.brain, lesions, both, host.spacing_mm) for images, lesions in groups]
    real, synthetic = (table[table[:, -1] <= np.log(max_mm3) + 1e-6] for table in tables)
    return real, synthetic


def in_units_before(result: HostResult, channel: str) -> Float[Array, "i j k"]:
    """The rendered channel in units of the scan before, so that new lesions do not move the scale."""
    original, brain = result.host.images[channel], result.host.brain
    values = original[brain].astype(np.float64)
    center = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - center))
    return ((result.rendered[channel] - center) / spread).astype(np.float32)
