"""The deterministic half of `SyntheticMSLesion`: a plan in, lesions in the subject, the same each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torchio as tio
from torchio.transforms.intensity_transform import IntensityTransform

from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice, loaded_synthesizer
from lesionaug.scan import LesionPlan
from lesionaug.serving.late import Patience
from lesionaug.subjects import IMAGES, SubjectKeys, SubjectParts
from lesionaug.variants import CacheChoice, VoxelChange, change_key

FLOATING: Any = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""TorchIO makes NumPy raise at underflow and division by zero, which libraries handle by themselves."""


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
        self.choice, self.keys, self.cached = model_choice(arguments), subject_keys(arguments), cache_choice(arguments)
        self.patience = Patience()  # a replay has all the time there is

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
        self.keys.write(subject, parts, self.change(parts), in_place=self.copy)

    def change(self, parts: SubjectParts) -> VoxelChange:
        """What rendering changes; out of the cache, if there is one, and otherwise into it."""
        if not self.plan["lesions"]:
            return VoxelChange.none(parts.images)
        if self.cached is None:
            return self._rendered(parts)
        payload = self.cached.remembered(
            self._key(parts), lambda: self._rendered(parts).to_bytes(), "these lesions of this scan"
        )
        return VoxelChange.from_bytes(payload)

    def is_there(self, parts: SubjectParts) -> bool:
        """Whether nothing need be rendered: what it changes is in the cache, or nothing."""
        return not self.plan["lesions"] or (self.cached is not None and self._key(parts) in self.cached)

    def _key(self, parts: SubjectParts) -> str:
        return change_key(parts.content, self.plan, self.choice)

    def _rendered(self, parts: SubjectParts) -> VoxelChange:
        plan = LesionPlan.from_dict(self.plan)
        return parts.change_to(loaded_synthesizer(self.choice, patience=self.patience).render(parts.scan, plan))

    def _check_digests(self) -> None:
        found = self.choice.digests()
        if self.digests and found != self.digests:
            raise LesionAugError(
                f"Expected the models that the plan was made with, {self.digests}, got {found}; use those or plan again"
            )


def model_choice(arguments: Mapping[str, Any]) -> ModelChoice:
    """The models among a transform's arguments."""
    return ModelChoice(**{name: arguments[name] for name in ("model", "diffmask", "lefusion", "device", "num_steps")})


def subject_keys(arguments: Mapping[str, Any]) -> SubjectKeys:
    """Names of images among a transform's arguments."""
    return SubjectKeys(**{name: arguments[name] for name in ("images", "label", "eligible", "create_label")})


def cache_choice(arguments: Mapping[str, Any]) -> CacheChoice | None:
    """The cache among a transform's arguments, if there is one.

    Raises:
        LesionAugError: There is none, but options of one.
    """
    path, only, limit_gb = arguments["cache"], arguments["cache_only"], arguments["cache_gb"]
    if path is None and (only or limit_gb is not None):
        raise LesionAugError("Expected a cache for cache_only and cache_gb, got none; name its folder: cache='...'")
    return None if path is None else CacheChoice(path, limit_gb, only)
