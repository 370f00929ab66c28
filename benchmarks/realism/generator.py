"""The package's own generator as a maker of test lesions: of the real lesions' volumes, in white matter of the host.

    volumes, extents of real lesions ─► places in white matter ─► LesionPlan ─► LesionSynthesizer.render ─► HostResult

The plan is made here and not by the prior, so that volume and place tell the two groups apart as little as they can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool

from benchmarks.realism.baselines import NEAREST, Donor, donors_of
from benchmarks.realism.hosts import HostResult, HostScan, wanted_volumes
from benchmarks.realism.placement import Room
from benchmarks.realism.shape import lesions_of
from lesionaug.anatomy import anatomy_from_images
from lesionaug.models.base import PATCH_SHAPES, MaskConditions
from lesionaug.plan_options import PlanOptions
from lesionaug.prior import LesionPrior
from lesionaug.prior_fit import control_extent_mm
from lesionaug.rendering import DiffusionRenderer
from lesionaug.scan import LesionPlan, LesionSpec, Scan
from lesionaug.synthesis import LesionSynthesizer
from lesionaug.types import PatchMasks

Array = np.ndarray
Contrasts = Literal["prior", "donors", "host"]


@dataclass(frozen=True)
class GivenMasks:
    """A `MaskGenerator` that hands out masks made before, to judge an inpainter apart from the masks.

    Args:
        masks: Crop of each lesion, by the seed of its specification; the voxel `n // 2` goes to the patch's.
    """

    masks: Mapping[int, Bool[Array, "a b c"]]
    spacing_mm: float = 1.0
    patch_shapes: tuple[tuple[int, int, int], ...] = PATCH_SHAPES

    def __call__(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> PatchMasks:
        """See `MaskGenerator`."""
        given = [
            self._in_patch(self.masks[generator.initial_seed()], tuple(allowed.shape[1:]))
            for generator, allowed in zip(generators, conditions.allowed, strict=True)
        ]
        return torch.stack(given).to(conditions.allowed.device) & conditions.allowed

    def _in_patch(self, crop: Bool[Array, "a b c"], shape: tuple[int, ...]) -> torch.Tensor:
        patch = np.zeros(shape, bool)
        for point in np.argwhere(crop):
            where = [int(p) - n // 2 + m // 2 for p, n, m in zip(point, crop.shape, shape, strict=True)]
            if all(0 <= w < m for w, m in zip(where, shape, strict=True)):
                patch[tuple(where)] = True
        return torch.from_numpy(patch)[None]


@dataclass(frozen=True)
class Wanted:
    """A lesion to be put somewhere: what it takes up, its control sphere, and its mask where that is given."""

    footprint: Bool[Array, "a b c"]
    diameter_mm: float
    extent_mm: float


def scan_of(host: HostScan) -> Scan:
    """The host as the synthesiser sees it; brain as given, eligible tissue as the package finds it."""
    image = torch.from_numpy(np.stack(list(host.images.values())).astype(np.float32))
    lesions = torch.from_numpy(host.lesions)[None]
    channels = tuple(host.images)
    anatomy = anatomy_from_images(image, channels, host.affine, lesions)
    brain = torch.from_numpy(host.brain)[None]
    return Scan(image, channels, lesions, brain, anatomy.eligible, anatomy.regions, host.spacing_mm)


def ball(diameter_mm: float, spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> Bool[Array, "a b c"]:
    """Voxels whose centres lie within a ball around the middle one's."""
    reach = [math.ceil(diameter_mm / 2 / side) for side in spacing_mm]
    axes = [side * np.arange(-n, n + 1) for n, side in zip(reach, spacing_mm, strict=True)]
    distance = np.sqrt(sum(part**2 for part in np.meshgrid(*axes, indexing="ij")))
    return distance <= max(diameter_mm / 2, 0.5)


def like_the_real(host: HostScan, rng: np.random.Generator) -> list[Wanted]:
    """Balls of the volumes of the host's real lesions, with the extents of those lesions."""
    sides = np.array(host.spacing_mm)
    real = [
        (float(crop.sum()) * host.voxel_mm3, control_extent_mm(np.argwhere(crop), sides))
        for crop, _ in host.test_lesions()
    ]
    wanted = []
    for volume in wanted_volumes(host, rng):
        extent = rng.choice([extent for size, extent in real if size == volume])
        diameter = (6 * volume / math.pi) ** (1 / 3)
        wanted.append(Wanted(ball(diameter, sides.tolist()), diameter, max(float(extent), diameter)))
    return wanted


def real_shapes(host: HostScan, masks: Mapping[str, Bool[Array, "i j k"]], rng: np.random.Generator) -> list[Wanted]:
    """Masks of other patients' lesions, each of about the volume of one of the host's real lesions."""
    foreign = [crop for patient, mask in masks.items() if patient != host.patient for crop in lesions_of(mask)]
    sizes = np.log([crop.sum() for crop in foreign])
    wanted = []
    for volume in wanted_volumes(host, rng):
        crop = foreign[rng.choice(np.argsort(np.abs(sizes - np.log(volume)))[:NEAREST])]
        crop = np.pad(crop, [(0, 1 - n % 2) for n in crop.shape])  # an odd crop has a middle voxel
        diameter = (6 * float(crop.sum()) / math.pi) ** (1 / 3)
        wanted.append(Wanted(crop, diameter, max(control_extent_mm(np.argwhere(crop), np.ones(3)), diameter)))
    return wanted


def prior_contrasts(prior: LesionPrior, scan: Scan, wanted: Sequence[Wanted], seed: int) -> list[tuple]:
    """Contrasts that the prior draws for as many lesions, given out by rank of volume."""
    options = PlanOptions(num_lesions=len(wanted))
    drawn = sorted(prior.sample(scan, torch.Generator().manual_seed(seed), options), key=lambda spec: spec.volume_mm3)
    if len(drawn) < len(wanted):
        raise ValueError(f"Expected {len(wanted)} contrasts from the prior, got {len(drawn)}; draw them from donors")
    ranks = np.argsort(np.argsort([item.diameter_mm for item in wanted]))
    return [drawn[rank].contrast for rank in ranks]


def donor_contrasts(
    donors: Sequence[Donor], host: HostScan, wanted: Sequence[Wanted], rng: np.random.Generator
) -> list[tuple]:
    """Contrasts of real lesions of about the same volume."""
    if not donors:
        raise ValueError("Expected lesions to take contrasts from, got none; pass donors")
    sizes = np.array([float(donor.mask.sum()) for donor in donors])
    contrasts = []
    for item in wanted:
        off = np.abs(np.log(sizes / (math.pi / 6 * item.diameter_mm**3)))
        donor = donors[rng.choice(np.argsort(off)[:NEAREST])]
        contrasts.append(tuple((channel, donor.contrast(channel)) for channel in host.images))
    return contrasts


def placed_plan(
    host: HostScan, scan: Scan, wanted: Sequence[Wanted], contrasts: Sequence[tuple], rng: np.random.Generator
) -> tuple[LesionPlan, dict[int, Bool[Array, "a b c"]]]:
    """Specifications of all that found a place, and their footprints by seed."""
    room = Room.of(host)
    room = replace(room, white=room.white & (scan.eligible[0] > 0).numpy())
    specs, footprints = [], {}
    for item, contrast in zip(wanted, contrasts, strict=True):
        box = room.place(item.footprint, rng)
        if box is not None:
            seed = int(rng.integers(2**31))
            center = tuple(part.start + n // 2 for part, n in zip(box, item.footprint.shape, strict=True))
            specs.append(LesionSpec(center, item.diameter_mm, item.extent_mm, contrast, seed))
            footprints[seed] = item.footprint
    return LesionPlan(tuple(specs)), footprints


@dataclass(frozen=True)
class GeneratorTest:
    """How the generator is put to the test.

    Args:
        synthesizer: What is tested.
        contrasts: `prior`: as the synthesiser's prior draws them; `donors`: those of other patients' real lesions;
            `host`: those of the host's own, which leaves edge and texture to tell the groups apart.
        donors: Real lesions whose contrasts are used.
        masks: Real masks by patient, used in place of those that the synthesiser draws; `None` draws them.
        halo: Whether lesions may show their partial volume around the label.
    """

    synthesizer: LesionSynthesizer
    contrasts: Contrasts = "prior"
    donors: tuple[Donor, ...] = ()
    masks: Mapping[str, Bool[Array, "i j k"]] | None = None
    halo: bool = False

    def populate(self, host: HostScan, seed: int = 0) -> HostResult:
        """Put 1.5 lesions per real one, of the same volumes, into the white matter of a host."""
        rng, scan = np.random.default_rng(seed), scan_of(host)
        wanted = like_the_real(host, rng) if self.masks is None else real_shapes(host, self.masks, rng)
        plan, footprints = placed_plan(host, scan, wanted, self._contrasts(host, scan, wanted, seed, rng), rng)
        plan = LesionPlan(tuple(replace(spec, halo=self.halo) for spec in plan))
        if self.masks is not None:
            scan = replace(scan, eligible=scan.brain.float())  # a real shape keeps the corner that leaves white matter
        rendered = self._synthesizer(footprints).render(scan, plan)
        images = {channel: image.numpy() for channel, image in zip(scan.channels, rendered.image, strict=True)}
        return HostResult(host, images, (rendered.lesion_mask & ~scan.lesion_mask)[0].numpy())

    def _contrasts(self, host: HostScan, scan: Scan, wanted, seed: int, rng: np.random.Generator) -> list[tuple]:
        if self.contrasts == "prior":
            return prior_contrasts(self.synthesizer.prior, scan, wanted, seed)
        own = self.contrasts == "host"
        donors = donors_of(host) if own else [donor for donor in self.donors if donor.patient != host.patient]
        return donor_contrasts(donors, host, wanted, rng)

    def _synthesizer(self, footprints: Mapping[int, Bool[Array, "a b c"]]) -> LesionSynthesizer:
        if self.masks is None:
            return self.synthesizer
        renderer = self.synthesizer.renderer
        given = DiffusionRenderer(GivenMasks(footprints), renderer.inpainter, renderer.device, renderer.max_batch)
        return replace(self.synthesizer, renderer=given)
