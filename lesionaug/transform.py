"""New lesions as TorchIO transforms: a random half that plans, and a deterministic half that renders.

SyntheticMSLesion ──seed──► plan ──► RenderMSLesions ──► history: replays the same voxels
        └─────────variant──► cache of plans, and of what rendering them changes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torchio as tio
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.intensity_transform import IntensityTransform

from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice, loaded_prior, loaded_synthesizer
from lesionaug.prior import PlanOptions
from lesionaug.scan import LesionPlan
from lesionaug.subjects import IMAGES, SubjectKeys, SubjectParts
from lesionaug.variants import (
    CacheChoice,
    VoxelChange,
    change_key,
    plan_bytes,
    plan_from_bytes,
    plan_key,
    plan_seed,
)

FLOATING: Any = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""TorchIO makes NumPy raise at underflow and division by zero, which libraries handle by themselves."""


class SyntheticMSLesion(RandomTransform, IntensityTransform):
    """Add random multiple-sclerosis lesions to a subject's images and to its label.

    Everything random is drawn while planning, from one integer out of torch's global generator; what is recorded in
    the subject's history is the `RenderMSLesions` that replays it exactly.

    Images may have any orientation and intensity unit and spacings from 0.4 to 3.5 mm, but share one grid. They keep
    their type, and every voxel outside the new lesions its value. The label keeps its type and gains the new lesions.
    With `include` or `exclude`, lesions are painted only into the images that remain; the label always changes.

    With a `cache`, each scan has `variants` sets of lesions, of which one is drawn each time. The first time it is
    rendered and kept; later it is read and pasted, with the same bits. What comes before this transform must then be
    the same each time, or no scan is ever seen twice: put random transforms after it.

    Args:
        images: Channel (`flair`, `t1w`, `t2w`) to the name of the image in the subject.
        label: Name of the binary lesion label in the subject.
        num_lesions: Number of lesions, or a `(low, high)` range to draw it from; the prior's when not given.
        load_ml: Total lesion volume to add in ml, or a range; excludes `num_lesions`.
        diameter_mm: Range of the diameter of the ball that has the lesion's volume.
        regions: Names from `lesionaug.scan.REGIONS` to which lesions are confined.
        contrast: Factor on the contrast that the prior draws, or a range to draw the factor from.
        overlap: Whether new lesions may touch old ones.
        eligible: Name of a map in the subject: relative probability that a lesion is centred at a voxel. Without it
            the map is found in the images at every call.
        model: Packaged pair of models: `default` (diffusion) or `parametric` (the baseline without a network).
        diffmask: Folder of another mask model.
        lefusion: Folder of another inpainting model.
        prior: File written by `lesionaug prior fit`.
        device: Where the networks run. The result is always on the CPU.
        num_steps: Network calls per lesion, instead of each model's own number.
        create_label: Add an empty label to subjects that have none, also to those that `p` leaves alone.
        cache: Folder for results, which any number of processes may share.
        variants: Sets of lesions per scan when there is a cache.
        cache_only: Use nothing but the cache: what is not there is an error, and models are never loaded.
        cache_gb: Size of the cache beyond which the longest unused results go; no limit if not given.
        **kwargs: `p`, `copy`, `include`, `exclude`, `keep` and others of every TorchIO transform.

    Raises:
        LesionAugError: An unknown channel, region or model, or options of a cache without one. When applied: a subject
            that lacks an image or the label, images that do not match, one that cannot be worked with, or with
            `cache_only` one that is not in the cache.

    Example:
        >>> import torchio as tio
        >>> from lesionaug import SyntheticMSLesion
        >>> transform = tio.Compose([
        ...     tio.ToCanonical(),
        ...     SyntheticMSLesion(images={"flair": "flair"}, num_lesions=(1, 10), p=0.5),
        ...     tio.RandomAffine(),
        ... ])
    """

    def __init__(
        self,
        images: Mapping[str, str] = IMAGES,
        label: str = "lesion",
        *,
        num_lesions: int | tuple[int, int] | None = None,
        load_ml: float | tuple[float, float] | None = None,
        diameter_mm: tuple[float, float] | None = None,
        regions: Sequence[str] | None = None,
        contrast: float | tuple[float, float] = 1.0,
        overlap: bool = False,
        eligible: str | None = None,
        model: str = "default",
        diffmask: str | Path | None = None,
        lefusion: str | Path | None = None,
        prior: str | Path | None = None,
        device: str = "cpu",
        num_steps: int | None = None,
        create_label: bool = False,
        cache: str | Path | None = None,
        variants: int = 20,
        cache_only: bool = False,
        cache_gb: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options = PlanOptions(
            num_lesions=num_lesions,
            load_ml=load_ml,
            diameter_mm=diameter_mm,
            regions=None if regions is None else tuple(regions),
            contrast=contrast,
            overlap=overlap,
        )
        self.prior = _plain(prior)
        self.rendering: dict[str, Any] = {
            "images": dict(images),
            "label": label,
            "eligible": eligible,
            "model": model,
            "diffmask": _plain(diffmask),
            "lefusion": _plain(lefusion),
            "device": str(device),
            "num_steps": num_steps,
            "create_label": create_label,
            "cache": _plain(cache),
            "cache_only": cache_only,
            "cache_gb": cache_gb,
        }
        self.choice, self.keys, self.cached = _choice(self.rendering), _keys(self.rendering), _cached(self.rendering)
        if variants < 1:
            raise LesionAugError(f"Expected 1 variant or more, got {variants}; leave it out for 20")
        self.variants = variants

    def __call__(self, data: Any) -> Any:
        """Apply with probability `p`; see `torchio.Transform`."""
        # Also subjects that `p` skips need the label: a loader collates the keys of a batch's first subject.
        return super().__call__(self.keys.with_label(data) if isinstance(data, tio.Subject) else data)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Plan, and hand the plan to `RenderMSLesions`."""
        render = self._render()
        with np.errstate(**FLOATING):
            parts = render.parts(subject)
            plan = self._drawn(parts) if self.cached is None else self._variant(parts, _draw(self.variants))
            render.planned(plan).write(subject, parts)
        # Called directly, because TorchIO's own call would copy the subject once more.
        subject.add_transform(render, render._get_reproducing_arguments())
        return subject

    def fill(self, subject: tio.Subject) -> Iterator[bool]:
        """Put the variants of a subject into the cache, one at a time, where they are not there yet.

        Args:
            subject: As this transform will get it, after whatever comes before; not changed.

        Yields:
            For each variant, whether it was rendered now.

        Raises:
            LesionAugError: There is no cache, or the subject cannot be worked with.
        """
        if self.cached is None:
            raise LesionAugError("Expected a cache to fill, got none; name its folder: cache='...'")
        render, subject = self._render(), self.keys.with_label(subject)
        parts = render.parts(subject)
        for variant in range(self.variants):
            yield render.planned(self._variant(parts, variant)).fill(parts)

    def _render(self) -> RenderMSLesions:
        base: dict[str, Any] = self._get_base_args()
        return RenderMSLesions(digests=self.choice.digests(), **self.rendering, **base)

    def _drawn(self, parts: SubjectParts) -> LesionPlan:
        return self._plan(parts, self._get_random_seed())

    def _plan(self, parts: SubjectParts, seed: int) -> LesionPlan:
        return loaded_prior(self.prior).sample(parts.scan, torch.Generator().manual_seed(seed), self.options)

    def _variant(self, parts: SubjectParts, variant: int) -> LesionPlan:
        assert self.cached is not None
        key = plan_key(parts.content, self.options, self.prior, self.choice, variant)
        payload = self.cached.remembered(
            key, lambda: plan_bytes(self._plan(parts, plan_seed(key))), f"variant {variant} of this scan"
        )
        return plan_from_bytes(payload)


class RenderMSLesions(IntensityTransform):
    """Render planned lesions into a subject: the deterministic half of `SyntheticMSLesion`.

    Args:
        plan: `LesionPlan.to_dict()`.
        digests: What the models must have been when the plan was made, `ModelChoice.digests()`; not checked when empty.
        images: As for `SyntheticMSLesion`, like all that follow.
        label: Likewise.
        eligible: Likewise.
        model: Likewise.
        diffmask: Likewise.
        lefusion: Likewise.
        device: Likewise.
        num_steps: Likewise.
        create_label: Likewise.
        cache: Likewise; it keeps what rendering this plan changes in a scan.
        cache_only: Likewise.
        cache_gb: Likewise.
        **kwargs: Likewise.

    Raises:
        LesionAugError: As `SyntheticMSLesion`, and for models other than those of `digests`.
    """

    def __init__(
        self,
        plan: Mapping[str, Any] | None = None,
        digests: Mapping[str, str] | None = None,
        images: Mapping[str, str] = IMAGES,
        label: str = "lesion",
        *,
        eligible: str | None = None,
        model: str = "default",
        diffmask: str | None = None,
        lefusion: str | None = None,
        device: str = "cpu",
        num_steps: int | None = None,
        create_label: bool = False,
        cache: str | None = None,
        cache_only: bool = False,
        cache_gb: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = dict(plan) if plan else LesionPlan().to_dict()
        self.digests = dict(digests or {})
        self.images = dict(images)
        self.label, self.eligible, self.create_label = label, eligible, create_label
        self.model, self.diffmask, self.lefusion = model, diffmask, lefusion
        self.device, self.num_steps = device, num_steps
        self.cache, self.cache_only, self.cache_gb = cache, cache_only, cache_gb
        self.args_names = [
            *("plan", "digests", "images", "label", "eligible", "model", "diffmask", "lefusion"),
            *("device", "num_steps", "create_label", "cache", "cache_only", "cache_gb"),
        ]
        arguments = self._get_named_arguments()
        self.choice, self.keys, self.cached = _choice(arguments), _keys(arguments), _cached(arguments)

    def planned(self, plan: LesionPlan) -> Self:
        """Take a plan."""
        self.plan = plan.to_dict()
        return self

    def parts(self, subject: tio.Subject) -> SubjectParts:
        """What plays a part in a subject."""
        return self.keys.parts(subject, self.get_images_dict(subject))

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Render, and write into the images and the label."""
        with np.errstate(**FLOATING):
            self.write(subject, self.parts(subject))
        return subject

    def write(self, subject: tio.Subject, parts: SubjectParts) -> None:
        """Render, or look up, and write into a subject with these parts."""
        self._check_digests()
        change = VoxelChange.from_bytes(self._remembered(parts)) if self.cached else self._rendered(parts)
        self.keys.write(subject, parts, change, in_place=self.copy)

    def fill(self, parts: SubjectParts) -> bool:
        """Put what rendering changes into the cache; whether it was not there."""
        there = self.cached is not None and change_key(parts.content, self.plan, self.choice) in self.cached
        if not there:
            self._remembered(parts)
        return not there

    def _remembered(self, parts: SubjectParts) -> bytes:
        assert self.cached is not None
        key = change_key(parts.content, self.plan, self.choice)
        return self.cached.remembered(key, lambda: self._rendered(parts).to_bytes(), "these lesions of this scan")

    def _rendered(self, parts: SubjectParts) -> VoxelChange:
        return parts.change_to(loaded_synthesizer(self.choice).render(parts.scan, LesionPlan.from_dict(self.plan)))

    def _check_digests(self) -> None:
        found = self.choice.digests()
        if self.digests and found != self.digests:
            raise LesionAugError(
                f"Expected the models that the plan was made with, {self.digests}, got {found}; use those or plan again"
            )


def _choice(arguments: Mapping[str, Any]) -> ModelChoice:
    return ModelChoice(**{name: arguments[name] for name in ("model", "diffmask", "lefusion", "device", "num_steps")})


def _keys(arguments: Mapping[str, Any]) -> SubjectKeys:
    return SubjectKeys(**{name: arguments[name] for name in ("images", "label", "eligible", "create_label")})


def _cached(arguments: Mapping[str, Any]) -> CacheChoice | None:
    path, only, limit_gb = arguments["cache"], arguments["cache_only"], arguments["cache_gb"]
    if path is None and (only or limit_gb is not None):
        raise LesionAugError("Expected a cache for cache_only and cache_gb, got none; name its folder: cache='...'")
    return None if path is None else CacheChoice(path, limit_gb, only)


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))


def _plain(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
