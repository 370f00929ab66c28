"""What is planned before anything is drawn: how many lesions, how large, how much in all, and where.

half of the patients ──► prior, location map ──► plans on hosts ─┐
the other half ──────────────────────────────────────────────────┴─► distances; half against half is the floor
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float

from benchmarks.realism.generator import scan_of
from benchmarks.realism.hosts import HostScan, load_mask_paths, shared
from benchmarks.realism.location import correlation, jensen_shannon, map_of_points
from benchmarks.realism.shape import ks_distance
from benchmarks.realism.yardsticks import Yardstick, middle_and_worst
from lesionaug.anatomy.atlas import MAPS, Atlas, packaged_atlas
from lesionaug.anatomy.atlas_fit import location_map
from lesionaug.anatomy.location import location_weight
from lesionaug.prior import LesionPrior
from lesionaug.prior_fit import ObservedScan, measure_lesions
from lesionaug.scan import Scan

Array = np.ndarray
SMALL_MM3 = 50.0
AIMS = {"volume KS": 0.10, "share under 50 mm3, difference": 0.05, "location Jensen-Shannon": 0.115, "location r": 0.75}


@dataclass(frozen=True)
class Lesions:
    """Lesions of several scans, planned or real.

    Args:
        volumes_mm3: Of each lesion, by scan.
        points_mm: Centre of each in the atlas' space, by scan.
    """

    volumes_mm3: tuple[Float[Array, " lesions"], ...]
    points_mm: tuple[Float[Array, "lesions 3"], ...]

    @cached_property
    def map(self) -> Float[Array, "x y z"]:
        """Where they are."""
        return map_of_points(np.concatenate(self.points_mm))

    def of(self, scans: Sequence[int]) -> Lesions:
        """Those of some of the scans."""
        return Lesions(tuple(self.volumes_mm3[i] for i in scans), tuple(self.points_mm[i] for i in scans))


def distances(a: Lesions, b: Lesions) -> dict[str, float]:
    """How far two sets of scans are apart."""
    return {**size_distances(a, b), **place_distances(a, b)}


def size_distances(a: Lesions, b: Lesions) -> dict[str, float]:
    """How far they are apart in number and size."""
    (every_a, count_a, load_a), (every_b, count_b, load_b) = (_sizes(side) for side in (a, b))
    return {
        "volume KS": ks_distance(every_a, every_b),
        "count KS": ks_distance(count_a, count_b),
        "load KS": ks_distance(load_a, load_b),
        "share under 50 mm3, difference": abs(float((every_a < SMALL_MM3).mean() - (every_b < SMALL_MM3).mean())),
    }


def place_distances(a: Lesions, b: Lesions) -> dict[str, float]:
    """How far they are apart in the atlas."""
    return {
        "location Jensen-Shannon": jensen_shannon(a.map, b.map),
        "location r": correlation(a.map, b.map),
    }


def _sizes(lesions: Lesions) -> tuple[Array, Array, Array]:
    parts = lesions.volumes_mm3
    return np.concatenate(parts), np.array([len(part) for part in parts]), np.array([part.sum() for part in parts])


@dataclass(frozen=True)
class Patients:
    """Real lesions of patients, with all that a prior is fitted from.

    Args:
        names: Of the patients.
        scans: Masks of lesions and brain, in this order.
        lesions: Measures of them.
    """

    names: tuple[str, ...]
    scans: tuple[ObservedScan, ...]
    lesions: Lesions

    @classmethod
    def load(cls) -> Patients:
        """All of the shared data."""
        paths = load_mask_paths("masks_1mm")
        scans = tuple(
            ObservedScan.read(path, path.with_name(path.name.replace("_lesion", "_brainmask")), patient=name)
            for name, path in paths.items()
        )
        measured = [measure_lesions(scan) for scan in scans]
        points = tuple(to_atlas(m.centroid, scan.brain, scan.affine) for m, scan in zip(measured, scans, strict=True))
        return cls(tuple(paths), scans, Lesions(tuple(m.volume_mm3 for m in measured), points))

    def index(self, names: Sequence[str]) -> list[int]:
        """Places of patients.

        Raises:
            ValueError: One is not there.
        """
        unknown = set(names) - set(self.names)
        if unknown:
            raise ValueError(f"Expected patients among {', '.join(self.names)}, got {', '.join(sorted(unknown))}")
        return [self.names.index(name) for name in names]


def to_atlas(
    voxels: Float[Array, "n 3"], brain: Bool[Array, "i j k"], affine: Float[Array, "4 4"]
) -> Float[Array, "n 3"]:
    """Positions in the atlas' space, by the outline of the brain, as the package does it."""
    matrix = _placed(brain, affine) @ affine
    return voxels @ matrix[:3, :3].T + matrix[:3, 3]


def _placed(brain: Array, affine: Array) -> Float[Array, "4 4"]:
    image = nib.as_closest_canonical(nib.Nifti1Image(brain.astype(np.uint8), affine))
    return packaged_atlas().place(np.asarray(image.dataobj) > 0, image.affine)


@dataclass(frozen=True)
class Site:
    """A host that plans are made for: its scan, without the lesions that it has."""

    host: HostScan
    scan: Scan

    @classmethod
    def of(cls, host: HostScan) -> Site:
        """With the anatomy that the package finds; old lesions are no obstacle, healthy brains have none."""
        healthy = replace(host, lesions=np.zeros_like(host.lesions))
        return cls(host, scan_of(healthy))

    def plans(self, prior: LesionPrior, count: int, seed: int, density: Array | None = None) -> Lesions:
        """So many plans; with a location map of the atlas in place of the packaged one where it is given."""
        scan = self.scan if density is None else self._relocated(density)
        plans = [prior.sample(scan, torch.Generator().manual_seed(seed + k)) for k in range(count)]
        centers = [np.array([spec.center for spec in plan], float).reshape(-1, 3) for plan in plans]
        return Lesions(
            tuple(np.array([spec.volume_mm3 for spec in plan]) for plan in plans),
            tuple(to_atlas(points, self.host.brain, self.host.affine) for points in centers),
        )

    def _relocated(self, density: Array) -> Scan:
        """Eligible voxels weighted by another location map; tissue and regions stay."""
        atlas = packaged_atlas()
        maps = atlas.maps.copy()
        maps[MAPS.index("lesions")] = density / density.max()
        weights = [self._weights(one) for one in (Atlas(maps, atlas.affine), atlas)]
        return replace(self.scan, eligible=self.scan.eligible * (weights[0] / weights[1]).to(self.scan.eligible))

    def _weights(self, atlas: Atlas) -> torch.Tensor:
        brain, affine = self.host.brain, self.host.affine
        maps = atlas.resample(affine, brain.shape, _placed(brain, affine))
        return torch.from_numpy(location_weight(dict(zip(MAPS, maps, strict=True))))[None]


def pooled(parts: Sequence[Lesions]) -> Lesions:
    """All scans of several sets."""
    return Lesions(
        tuple(v for part in parts for v in part.volumes_mm3), tuple(p for part in parts for p in part.points_mm)
    )


def plans_on(
    sites: Sequence[Site], prior: LesionPrior, count: int, seed: int, density: Array | None = None
) -> list[Lesions]:
    """So many plans for each site, from seeds of their own: the same ones would give all sites the same few numbers."""
    return [site.plans(prior, count, seed + 1000 * index, density) for index, site in enumerate(sites)]


def split_half_plans(patients: Patients, sites: Sequence[Site], splits: int, plans: int, seed: int) -> list[Yardstick]:
    """Prior and location map of one half of the patients against the other half, which they never saw."""
    rng, found, floor = np.random.default_rng(seed), [], []
    half = len(patients.names) // 2
    for split in range(splits):
        order = rng.permutation(len(patients.names))
        own, other = order[:half], order[half : 2 * half]
        prior = LesionPrior.fit([patients.scans[i] for i in own])
        density = location_map(packaged_atlas(), shared() / "data", [patients.names[i] for i in own])
        made = plans_on(sites, prior, plans, 100_000 * (seed + split), density)
        found.append(distances(pooled(made), patients.lesions.of(other)))
        floor.append(distances(patients.lesions.of(own), patients.lesions.of(other)))
    note = f"{splits} halvings, {half} patients fitted, {half} compared with, {plans} plans on {len(sites)} hosts"
    return _yardsticks(found, floor, note)


def given_prior_plans(
    prior: LesionPrior, patients: Patients, held: Sequence[str], sites: Sequence[Site], plans: int, seed: int
) -> list[Yardstick]:
    """A prior that is there already against held-out patients; the location map is the packaged one."""
    unseen = patients.index(held)
    seen = [index for index in range(len(patients.names)) if index not in unseen]
    made = pooled(plans_on(sites, prior, plans, 100_000 * seed))
    floor = [distances(patients.lesions.of(seen), patients.lesions.of(unseen))]
    note = f"{len(unseen)} held patients, {plans} plans on {len(sites)} hosts; real: the {len(seen)} others"
    return _yardsticks([distances(made, patients.lesions.of(unseen))], floor, note)


def _yardsticks(found: list[dict], floor: list[dict], note: str) -> list[Yardstick]:
    rows = []
    for name in found[0]:
        at_least = name == "location r"
        real = middle_and_worst([row[name] for row in floor], at_least=at_least)
        value = float(np.mean([row[name] for row in found]))
        rows.append(Yardstick(name, value, AIMS.get(name), at_least, note=note, **real))
    return rows
