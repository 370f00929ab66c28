"""The anatomy of a whole head as one more entry of MONAI's dictionaries, for lesions in patches that are cut later."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from lesionaug.integrations.monai.items import Channels, Item, ItemKeys, contrasts
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.enums import TransformBackends


class AddAnatomyd(MapTransform):
    """Find where lesions may be in the whole head, and keep it in the dictionary as an image of several channels.

    Put it before whatever crops, and name its key in all later spatial transforms, with `mode="nearest"` in those that
    interpolate. `RandSyntheticMSLesiond(anatomy_key=...)` uses it in crops of any size.

    Args:
        keys: Of the images.
        label_key: Of existing lesions; may be missing.
        anatomy_key: Of what is added.
        channels: As for `RandSyntheticMSLesiond`.
        eligible_key: As for `RandSyntheticMSLesiond`.
        brain_mask_key: As for `RandSyntheticMSLesiond`.
        lesion_value: As for `RandSyntheticMSLesiond`.
        allow_missing_keys: As for `RandSyntheticMSLesiond`.

    Raises:
        LesionAugError: When called: a dictionary that lacks an image, or that cannot be worked with.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (the name and type that MONAI's base class has)

    def __init__(
        self,
        keys: KeysCollection,
        label_key: Hashable = "label",
        anatomy_key: Hashable = "anatomy",
        *,
        channels: Channels | None = None,
        eligible_key: Hashable | None = None,
        brain_mask_key: Hashable | None = None,
        lesion_value: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        images = contrasts(self.keys, channels)
        maps: dict[str, Any] = {"brain_mask": brain_mask_key, "lesion_value": lesion_value}
        self.names = ItemKeys(images, label_key, eligible_key, True, allow_missing_keys, **maps)
        self.anatomy_key = anatomy_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """The dictionary with the anatomy."""
        parts = self.names.parts(self.names.with_label(data))
        like = data[next(key for key in self.keys if key in data)]
        volume = MetaTensor(parts.found_anatomy.to(like.device), meta=dict(like.meta))
        return {**data, self.anatomy_key: volume}
