"""New lesions as a transform of TorchIO 2: `make_params` plans, `apply_transform` renders."""

# pyright: reportAttributeAccessIssue=false
# because what is installed where types are checked is TorchIO 1.x.
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torchio as tio
from lesionaug.integrations.torchio2.batches import BatchKeys
from torchio.transforms.transform import IntensityTransform

from lesionaug.augmenter import lesion_augmenter
from lesionaug.scan import LesionPlan
from lesionaug.scan_parts import ScanParts
from lesionaug.subjects import IMAGES, images_by_channel

PARTS = "_parts"
"""Among the parameters, on their way from `make_params` to `apply_transform`: the anatomy is found once."""


class SyntheticMSLesion(IntensityTransform):
    """Add random multiple-sclerosis lesions to the images and labels of a subject or a batch of them.

    What is recorded in the history is the plan: `apply_transform(batch, params)` with recorded parameters gives the
    same lesions again. Each subject of a batch has its own; `p` holds for each. Images may have any orientation and
    intensity unit and spacings from 0.4 to 3.5 mm, but share one grid; they keep type and device, and every voxel
    outside the new lesions its value. Random numbers come from torch's global generator.

    Args:
        images: Channel (`flair`, `t1w`, `t2w`) to the name of the image in the subject, or a list of names that tell
            the channel.
        label: Name of the lesion label in the subject: 0 and one other whole number, or several with `lesion_value`.
        eligible: Name of a map in the subject: relative probability that a lesion is centred at a voxel.
        brain_mask: Name of a brain mask in the subject (brain tissue and ventricles, not 0), taken as it is.
        anatomy: Name of a label map that holds `ScanParts.found_anatomy` of the whole head, where this is a crop.
        lesion_value: Which value of a label of several classes is lesion; new lesions get it, other voxels keep theirs.
        create_label: Add an empty label to subjects that have none, also to those that `p` leaves alone.
        p: Probability that a subject gets lesions.
        copy: Whether the subject is copied before it is changed.
        include: Names of the only images to paint into; the label always changes.
        exclude: Names of images that stay as they are.
        **options: As for `lesionaug.augmenter.lesion_augmenter`: `num_lesions`, `model`, `device`, `cache`,
            `variants`, `on_late`, `on_bad_scan` and others.

    Raises:
        LesionAugError: As `lesionaug.SyntheticMSLesion`.
    """

    def __init__(
        self,
        images: Mapping[str, str] | Sequence[str] = IMAGES,
        label: str = "lesion",
        *,
        eligible: str | None = None,
        brain_mask: str | None = None,
        anatomy: str | None = None,
        lesion_value: float | None = None,
        create_label: bool = False,
        p: float = 1.0,
        copy: bool = True,
        include: list[str] | None = None,
        exclude: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(p=p, copy=copy, include=include, exclude=exclude)
        names = (images_by_channel(images), label, eligible, create_label)
        self.keys = BatchKeys(*names, brain_mask, anatomy, lesion_value)
        self.augmenter = lesion_augmenter(**options)

    def forward(self, data: Any) -> Any:
        """Apply to a subject or a batch, with probability `p`; see `torchio.Transform`."""
        # Also subjects that `p` skips need the label: a loader stacks the images of a batch's first subject.
        batch, unwrap = self._wrap(data)
        return unwrap(super().forward(self.keys.with_label(batch)))

    @property
    def supports_per_instance_params(self) -> bool:
        """Subjects differ in anatomy, so their plans do."""
        return True

    @property
    def supports_per_instance_p(self) -> bool:
        """Shapes stay as they are."""
        return True

    def make_params(self, batch: tio.SubjectsBatch) -> dict[str, Any]:
        """Plan each subject's lesions.

        Returns:
            `plan`: `LesionPlan.to_dict()`, in a batch of several subjects a list of them; `digests` of the models.
        """
        n = self._resolve_n(batch)
        keep = self._keep_mask(batch, n)
        kept = [True] * batch.batch_size if keep is None else keep.tolist()
        parts = [self._parts(batch, index) if kept[index] else None for index in range(batch.batch_size)]
        plans = [LesionPlan() if part is None else self.augmenter.drawn(part, _draw) for part in parts]
        written = [plan.to_dict() for plan in plans]
        params = {"plan": written[0] if n is None else written, "digests": self.augmenter.rendering.choice.digests()}
        self._tag_batched(params, batch, n, keep, ["plan"])
        return {**params, PARTS: parts}

    def apply_transform(self, batch: tio.SubjectsBatch, params: dict[str, Any]) -> tio.SubjectsBatch:
        """Render the plans, and write the lesions into images and labels.

        Args:
            batch: Changed.
            params: Of `make_params`, or recorded ones. If a render server is late, `plan` is changed to what was done.

        Raises:
            LesionAugError: Other models than those that the plans were made with.
        """
        self.augmenter.rendering.check_digests(params["digests"])
        found = params.pop(PARTS, [None] * batch.batch_size)
        several = isinstance(params["plan"], list)
        for name in self.keys.names(batch, self._get_images(batch)):
            batch.images[name].data = batch.images[name].data.clone()
        for index in range(batch.batch_size):
            fields = params["plan"][index] if several else params["plan"]
            done = self._paint(batch, index, found[index], LesionPlan.from_dict(fields)).to_dict()
            if several:
                params["plan"][index] = done
            else:
                params["plan"] = done
        return batch

    def fill(self, subject: tio.Subject) -> Iterator[bool]:
        """Put the variants of a subject into the cache, one at a time, where they are not there yet.

        Args:
            subject: As this transform will get it, after whatever comes before; not changed.

        Yields:
            For each variant, whether it was rendered now.

        Raises:
            LesionAugError: There is no cache, or the subject cannot be worked with.
        """
        batch = self.keys.with_label(tio.SubjectsBatch.from_subjects([subject]))
        yield from self.augmenter.fill(self._parts(batch, 0))

    def _paint(self, batch: tio.SubjectsBatch, index: int, parts: ScanParts | None, plan: LesionPlan) -> LesionPlan:
        if not plan.lesions:
            return plan
        parts = parts or self._parts(batch, index)
        plan, change = self.augmenter.rendered(parts, plan, _draw)
        self.keys.write(batch, index, parts, change)
        return plan

    def _parts(self, batch: tio.SubjectsBatch, index: int) -> ScanParts:
        return self.keys.parts(batch, self._get_images(batch), index)


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))
