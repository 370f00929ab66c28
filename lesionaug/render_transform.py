"""The deterministic half of `SyntheticMSLesion`: a plan in, lesions in the subject, the same each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torchio as tio

from lesionaug.augmenter import lesion_rendering
from lesionaug.scan import LesionPlan
from lesionaug.subjects import IMAGES, SubjectKeys
from lesionaug.torchio1 import IntensityTransform

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
        brain_mask: Likewise.
        anatomy: Likewise.
        lesion_value: Likewise.
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
        brain_mask: str | None = None,
        anatomy: str | None = None,
        lesion_value: float | None = None,
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
        self.brain_mask, self.anatomy, self.lesion_value = brain_mask, anatomy, lesion_value
        self.model, self.diffmask, self.lefusion = model, diffmask, lefusion
        self.device, self.num_steps = device, num_steps
        self.cache, self.cache_only, self.cache_gb = cache, cache_only, cache_gb
        self.args_names = [
            *("plan", "digests", "images", "label", "eligible", "model", "diffmask", "lefusion"),
            *("device", "num_steps", "create_label", "brain_mask", "anatomy", "lesion_value"),
            *("cache", "cache_only", "cache_gb"),
        ]
        self.keys = SubjectKeys(self.images, label, eligible, create_label, brain_mask, anatomy, lesion_value)
        # With all the patience there is: a replay is not in a hurry.
        self.rendering = lesion_rendering(
            model=model,
            diffmask=diffmask,
            lefusion=lefusion,
            device=device,
            num_steps=num_steps,
            cache=cache,
            cache_only=cache_only,
            cache_gb=cache_gb,
        )

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Render, or look up, and write into the images and the label."""
        self.rendering.check_digests(self.digests)
        with np.errstate(**FLOATING):
            parts = self.keys.parts(subject, self.get_images_dict(subject))
            change = self.rendering.change(parts, LesionPlan.from_dict(self.plan))
            self.keys.write(subject, parts, change, in_place=self.copy)
        return subject
