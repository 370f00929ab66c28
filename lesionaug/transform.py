"""New lesions as TorchIO transforms: a random half that plans, and a deterministic half that renders.

SyntheticMSLesion ──seed──► plan ──► RenderMSLesions ──► history: replays the same voxels
        └─────────variant──► cache of plans, and of what rendering them changes
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchio as tio
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.intensity_transform import IntensityTransform

from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.loaded import loaded_prior
from lesionaug.prior import PlanOptions
from lesionaug.render_transform import FLOATING, RenderMSLesions, cache_choice, model_choice, subject_keys
from lesionaug.scan import LesionPlan
from lesionaug.serving.errors import LateRenderError
from lesionaug.serving.late import OnLate, Patience
from lesionaug.subjects import IMAGES, SubjectParts
from lesionaug.variants import plan_bytes, plan_from_bytes, plan_key, plan_seed

__all__ = ["RenderMSLesions", "SyntheticMSLesion"]


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
        on_late: What to do when a render server gives no answer in time: `wait`, take a variant that is in the
            `cache` already, `skip` the lesions, or stop with an `error`.
        deadline_s: Seconds after which the server counts as late.
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
        on_late: OnLate = "wait",
        deadline_s: float = 60.0,
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
        self.choice, self.keys = model_choice(self.rendering), subject_keys(self.rendering)
        self.cached, self.patience = cache_choice(self.rendering), Patience(on_late, deadline_s)
        if variants < 1:
            raise LesionAugError(f"Expected 1 variant or more, got {variants}; leave it out for 20")
        if on_late == "cache" and self.cached is None:
            raise LesionAugError("Expected a cache for on_late='cache', got none; name its folder: cache='...'")
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
            try:
                self._write(render, subject, parts)
            except LateRenderError:
                if self.patience.on_late not in ("cache", "skip"):
                    raise
                self._write_instead(render, subject, parts)
        # Not called but applied, because TorchIO's call would copy the subject once more.
        subject.add_transform(render, render._get_reproducing_arguments())
        return subject

    def _write(self, render: RenderMSLesions, subject: tio.Subject, parts: SubjectParts) -> None:
        plan = self._variant(parts, _draw(self.variants)) if self.cached else self._plan(parts, self._get_random_seed())
        render.planned(plan).write(subject, parts)

    def _write_instead(self, render: RenderMSLesions, subject: tio.Subject, parts: SubjectParts) -> None:
        """Do what there is to do without the server; it has told that it was late."""
        there = [] if self.patience.on_late == "skip" else [*self._there(render, parts)]
        if not there and self.patience.on_late == "cache":
            warnings.warn(
                "Expected a cached variant in place of the render server's answer, got none yet for this scan; "
                "no lesions were added. Fill the cache before: lesionaug cache fill",
                LesionAugWarning,
                stacklevel=2,
            )
        plan = there[_draw(len(there))] if there else LesionPlan()
        render.planned(plan).write(subject, parts)

    def _there(self, render: RenderMSLesions, parts: SubjectParts) -> Iterator[LesionPlan]:
        """Plans that are in the cache together with what they change."""
        assert self.cached is not None
        for variant in range(self.variants):
            payload = self.cached.found(self._key(parts, variant))
            if payload is not None and render.planned(plan_from_bytes(payload)).is_there(parts):
                yield plan_from_bytes(payload)

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
            render.planned(self._variant(parts, variant))
            new = not render.is_there(parts)
            if new:
                render.change(parts)
            yield new

    def _render(self) -> RenderMSLesions:
        base: dict[str, Any] = self._get_base_args()
        render = RenderMSLesions(digests=self.choice.digests(), **self.rendering, **base)
        render.patience = self.patience
        return render

    def _plan(self, parts: SubjectParts, seed: int) -> LesionPlan:
        return loaded_prior(self.prior).sample(parts.scan, torch.Generator().manual_seed(seed), self.options)

    def _variant(self, parts: SubjectParts, variant: int) -> LesionPlan:
        assert self.cached is not None
        key = self._key(parts, variant)
        payload = self.cached.remembered(
            key, lambda: plan_bytes(self._plan(parts, plan_seed(key))), f"variant {variant} of this scan"
        )
        return plan_from_bytes(payload)

    def _key(self, parts: SubjectParts, variant: int) -> str:
        return plan_key(parts.content, self.options, self.prior, self.choice, variant)


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))


def _plain(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
