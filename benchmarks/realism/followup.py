"""Lesions that were not there a year before: the only real pairs of a place without a lesion and with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Bool, Float

from benchmarks.realism.appearance import MAD_TO_SD, MARGIN_MM, channel_features, robust_units
from benchmarks.realism.hosts import MAX_MM3, shared
from benchmarks.realism.shape import MIN_VOXELS, lesions_with_boxes
from lesionaug.anatomy import brain_from_images
from lesionaug.models.base import PATCH_SHAPES, MaskConditions
from lesionaug.patches import PatchGrid, cut_mask
from lesionaug.prior import LesionPrior
from lesionaug.prior_fit import control_extent_mm
from lesionaug.rendering import DiffusionRenderer
from lesionaug.scan import CHANNELS, LesionPlan, LesionSpec, Scan
from lesionaug.synthesis import LesionSynthesizer
from lesionaug.types import PatchMasks

Array = np.ndarray
BEFORE = (-1.0, 0.3)  # robust units above the tissue around: neither fluid nor a lesion yet
AFTER, RISE = 0.8, 0.8  # at least
RULE = (
    f"FLAIR above the tissue around (robust units) {BEFORE[0]} to {BEFORE[1]} in study 1, {AFTER} or more in study 2, "
    f"{RISE} or more higher than before; {MIN_VOXELS} voxels or more, {MAX_MM3:.0f} mm3 or less"
)


@dataclass(frozen=True)
class Pair:
    """Two FLAIR studies of a patient on one grid.

    Args:
        patient: Name.
        study1: Scanner units.
        study2: Scanner units.
        brain: Brain tissue and ventricles.
        change: Lesion that is new, larger, smaller or gone.
        spacing_mm: Voxel size.
    """

    patient: str
    study1: Float[Array, "i j k"]
    study2: Float[Array, "i j k"]
    brain: Bool[Array, "i j k"]
    change: Bool[Array, "i j k"]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def load(cls, patient: str) -> Pair:
        """Of the shared data; the brain is found in study 1 where no mask was published.

        Raises:
            FileNotFoundError: The data or one of the studies is not there.
        """
        folder = shared() / "data" / "open_ms" / "longitudinal" / patient
        studies = [nib.load(folder / f"study{number}_flair.nii.gz") for number in (1, 2)]
        first, second = (np.asarray(study.dataobj, np.float32) for study in studies)
        affine = studies[0].affine
        published = folder / "brainmask.nii.gz"
        if published.exists():
            brain = np.asarray(nib.load(published).dataobj) > 0
        else:
            brain = brain_from_images(torch.from_numpy(first)[None], affine)[0].numpy()
        change = np.asarray(nib.load(folder / "change.nii.gz").dataobj) > 0
        i, j, k = (float(size) for size in studies[0].header.get_zooms()[:3])
        return cls(patient, first, second, brain, change & brain, (i, j, k))

    @property
    def scan(self) -> Scan:
        """Study 1 as the synthesiser sees it."""
        brain = torch.from_numpy(self.brain)[None]
        image = torch.from_numpy(self.study1)[None]
        nothing = torch.zeros_like(brain)
        return Scan(image, ("flair",), nothing, brain, brain.float(), nothing.byte(), self.spacing_mm)

    def in_own_units(self, image: Float[Array, "i j k"]) -> Float[Array, "i j k"]:
        """Study 1 with new lesions, in the units of study 1 without."""
        values = self.study1[self.brain].astype(np.float64)
        center = np.median(values)
        return ((image - center) / (MAD_TO_SD * np.median(np.abs(values - center)))).astype(np.float32)


@dataclass(frozen=True)
class Appeared:
    """A component of the change that was clearly not there in study 1.

    Args:
        pair: Where.
        box: Around the lesion and its ring.
        mask: In the box.
        center: Voxel in the middle of the lesion.
    """

    pair: Pair
    box: tuple[slice, slice, slice]
    mask: Bool[Array, "a b c"]
    center: tuple[int, int, int]

    @property
    def volume_mm3(self) -> float:
        """Of the component."""
        return float(self.mask.sum() * np.prod(self.pair.spacing_mm))

    @property
    def extent_mm(self) -> float:
        """Of a control sphere about the middle voxel."""
        return control_extent_mm(np.argwhere(self.mask), np.array(self.pair.spacing_mm)) + max(self.pair.spacing_mm)

    @property
    def whole(self) -> Bool[Array, "i j k"]:
        """The component in its scan."""
        mask = np.zeros_like(self.pair.change)
        mask[self.box] = self.mask
        return mask

    def features(self, image: Float[Array, "i j k"]) -> dict[str, float]:
        """Of the lesion in an image in robust units; no changing tissue counts as surroundings."""
        tissue = self.pair.brain[self.box] & ~self.pair.change[self.box]
        return channel_features(image[self.box], self.mask, tissue, self.pair.spacing_mm)


def appeared(pair: Pair) -> Iterator[Appeared]:
    """Components that meet `RULE`."""
    first, second = (robust_units(image, pair.brain) for image in (pair.study1, pair.study2))
    for crop, box in lesions_with_boxes(pair.change):
        lesion = _with_margin(pair, crop, box)
        before, after = (lesion.features(image)["contrast"] for image in (first, second))
        new = BEFORE[0] <= before <= BEFORE[1] and after >= AFTER and after - before >= RISE
        if new and lesion.volume_mm3 <= MAX_MM3:
            yield lesion


def _with_margin(pair: Pair, crop: Array, box: tuple[slice, ...]) -> Appeared:
    margin = [int(np.ceil(MARGIN_MM / spacing)) for spacing in pair.spacing_mm]
    i, j, k = (
        slice(max(b.start - m, 0), min(b.stop + m, n)) for b, m, n in zip(box, margin, pair.brain.shape, strict=True)
    )
    wide = (i, j, k)
    mask = np.zeros([part.stop - part.start for part in wide], bool)
    mask[tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))] = crop
    a, b, c = (round(m) + w.start for m, w in zip(np.argwhere(mask).mean(axis=0), wide, strict=True))
    return Appeared(pair, wide, mask, (a, b, c))


@dataclass(frozen=True)
class GivenPatches:
    """A `MaskGenerator` that hands out masks at its own spacing, by the seed of the lesion's specification."""

    masks: Mapping[int, PatchMasks]
    spacing_mm: float = 1.0
    patch_shapes: tuple[tuple[int, int, int], ...] = PATCH_SHAPES

    def __call__(self, conditions: MaskConditions, generators: Sequence[torch.Generator]) -> PatchMasks:
        """See `MaskGenerator`."""
        return torch.cat([self.masks[generator.initial_seed()] for generator in generators]) & conditions.allowed


def painted(
    synthesizer: LesionSynthesizer, pair: Pair, lesions: Sequence[Appeared], contrasts: Sequence[float], *, halo: bool
) -> Float[Array, "i j k"]:
    """Study 1 with the lesions of study 2 painted in, in robust units of study 1.

    Args:
        synthesizer: Its inpainter paints.
        pair: Where.
        lesions: Of this pair; the number of each is its seed.
        contrasts: Of each.
        halo: Whether they may show their partial volume around the label.
    """
    renderer, scan = synthesizer.renderer, pair.scan
    specs = tuple(
        replace(_spec(lesion, contrast, seed), halo=halo)
        for seed, (lesion, contrast) in enumerate(zip(lesions, contrasts, strict=True))
    )
    masks = {spec.seed: _patch(lesion, spec, renderer) for lesion, spec in zip(lesions, specs, strict=True)}
    given = DiffusionRenderer(GivenPatches(masks), renderer.inpainter, renderer.device)
    after = replace(synthesizer, renderer=given).render(scan, LesionPlan(specs))
    return pair.in_own_units(after.image[0].numpy())


def _spec(lesion: Appeared, contrast: float, seed: int) -> LesionSpec:
    diameter = (6 * lesion.volume_mm3 / np.pi) ** (1 / 3)
    return LesionSpec(lesion.center, diameter, max(lesion.extent_mm, diameter), (("flair", contrast),), seed)


def _patch(lesion: Appeared, spec: LesionSpec, renderer: DiffusionRenderer) -> PatchMasks:
    shape = renderer.patch_shape(spec.extent_mm)
    grid = PatchGrid.around(lesion.center, shape, lesion.pair.spacing_mm, renderer.spacing_mm)
    return cut_mask(torch.from_numpy(lesion.whole)[None], grid)[None]


def prior_contrasts(prior: LesionPrior, pair: Pair, lesions: Sequence[Appeared], seed: int) -> list[float]:
    """As a plan would draw them: an offset of the scan, then each lesion about its size's mean."""
    generator, rows = torch.Generator().manual_seed(seed), [CHANNELS.index("flair")]
    own = prior.contrast.draw_scan(pair.scan, rows, generator)
    return [float(prior.contrast.draw_lesion(lesion.volume_mm3, rows, own, generator)[0]) for lesion in lesions]
