"""The anatomy of a whole head as one more image of a TorchIO 1.x subject, for lesions in patches that are cut later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torchio as tio

from lesionaug.render_transform import FLOATING
from lesionaug.subjects import IMAGES, SubjectKeys, images_by_channel
from lesionaug.torchio1 import Transform


class AddAnatomy(Transform):
    """Find where lesions may be in the whole head, and keep it in the subject as a label of several channels.

    Put it before whatever crops. All later steps move it like a label, and `SyntheticMSLesion(anatomy=...)` uses it,
    so crops of any size get lesions where the head has its white matter, its regions and its usual places of lesions.

    Args:
        images: As for `SyntheticMSLesion`.
        label: Of existing lesions; may be missing in the subject.
        anatomy: Name of the image that is added.
        eligible: As for `SyntheticMSLesion`.
        brain_mask: As for `SyntheticMSLesion`.
        lesion_value: As for `SyntheticMSLesion`.
        **kwargs: Of every TorchIO transform.

    Raises:
        LesionAugError: When applied: a subject that lacks an image, or that cannot be worked with.

    Example:
        >>> import torchio as tio
        >>> from lesionaug import AddAnatomy, SyntheticMSLesion
        >>> transform = tio.Compose([
        ...     AddAnatomy(images=["flair"]),
        ...     tio.CropOrPad(96),
        ...     SyntheticMSLesion(images=["flair"], anatomy="anatomy", num_lesions=(1, 4)),
        ... ])
    """

    def __init__(
        self,
        images: Mapping[str, str] | Sequence[str] = IMAGES,
        label: str = "lesion",
        anatomy: str = "anatomy",
        *,
        eligible: str | None = None,
        brain_mask: str | None = None,
        lesion_value: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.images, self.label, self.anatomy = images_by_channel(images), label, anatomy
        self.eligible, self.brain_mask, self.lesion_value = eligible, brain_mask, lesion_value
        self.keys = SubjectKeys(
            self.images, label, eligible, create_label=True, brain_mask=brain_mask, lesion_value=lesion_value
        )
        self.args_names = ["images", "label", "anatomy", "eligible", "brain_mask", "lesion_value"]

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Find it, and add it."""
        with np.errstate(**FLOATING):
            parts = self.keys.parts(subject, self.images.values())
            volume = parts.found_anatomy
        subject.add_image(tio.LabelMap(tensor=volume, affine=parts.affine), self.anatomy)
        return subject
