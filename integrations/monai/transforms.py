"""MONAI's dictionary transforms: a random half, and a deterministic half that repeats it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
from lesionaug.integrations.monai.items import Channels, Item, ItemKeys, contrasts
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils.enums import TransformBackends

from lesionaug.augmenter import lesion_augmenter, lesion_rendering
from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice
from lesionaug.scan import LesionPlan


class RandSyntheticMSLesiond(RandomizableTransform, MapTransform):
    """Add random multiple-sclerosis lesions to a dictionary's images and to its label.

    Images are `MetaTensor`s (channels, i, j, k) on one grid, with any orientation and intensity unit and spacings from
    0.4 to 3.5 mm. They keep type, device and metadata, and every voxel outside the new lesions its value. What the
    dictionary held before is not written into, so `CacheDataset` and others may keep it.

    All that is random comes from the transform's own `R`, so `set_random_state` and MONAI's `DataLoader` seed it. Put
    it before random spatial transforms: it finds its way by the affine, and a `cache` knows a scan by its voxels.

    Args:
        keys: Of the images.
        label_key: Of the binary lesion label, one channel.
        prob: Probability that a dictionary gets lesions.
        channels: Key to contrast (`flair`, `t1w`, `t2w`), or to a tuple of them for an image of several channels, None
            for one that stays as it is; where it is not given the key tells (`flair`, `T1`, ...).
        eligible_key: Of a map: relative probability that a lesion is centred at a voxel. Without it the map is found
            in the images at every call.
        brain_mask_key: Of a brain mask (brain tissue and ventricles, not 0), taken as it is.
        anatomy_key: Of what `AddAnatomyd` has added before the head was cropped.
        lesion_value: Which value of a label of several classes is lesion; new lesions get it, other voxels keep theirs.
        plan_key: Under which the dictionary gets what was done, a line of JSON that `RenderMSLesionsd` repeats.
        create_label: Add an empty label to dictionaries that have none, also to those that `prob` leaves alone.
        allow_missing_keys: Whether an image may be missing as long as there is another.
        **options: As for `lesionaug.augmenter.lesion_augmenter`, which are those of `SyntheticMSLesion`: `num_lesions`,
            `model`, `device`, `cache`, `variants`, `on_late`, `on_bad_scan` and others.

    Raises:
        LesionAugError: A contrast, region or model that is not known, or options of a cache without one. When called:
            a dictionary that lacks an image or the label, images that do not match, one that cannot be worked with, or
            with `cache_only` one that is not in the cache.

    Example:
        >>> from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandFlipd
        >>> keys = ["flair", "t1", "label"]
        >>> transform = Compose([
        ...     LoadImaged(keys),
        ...     EnsureChannelFirstd(keys),
        ...     RandSyntheticMSLesiond(["flair", "t1"], label_key="label", prob=0.5, num_lesions=(1, 10)),
        ...     RandFlipd(keys, prob=0.5, spatial_axis=0),
        ... ])
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (the name and type that MONAI's base class has)

    def __init__(
        self,
        keys: KeysCollection,
        label_key: Hashable = "label",
        prob: float = 0.1,
        *,
        channels: Channels | None = None,
        eligible_key: Hashable | None = None,
        brain_mask_key: Hashable | None = None,
        anatomy_key: Hashable | None = None,
        lesion_value: float | None = None,
        plan_key: Hashable | None = None,
        create_label: bool = False,
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        images = contrasts(self.keys, channels)
        maps = (brain_mask_key, anatomy_key, lesion_value)
        self.names = ItemKeys(images, label_key, eligible_key, create_label, allow_missing_keys, *maps)
        self.augmenter = lesion_augmenter(**options)
        self.plan_key = plan_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """The dictionary with new lesions, or with probability `1 - prob` without."""
        item = self.names.with_label(data)
        self.randomize(None)
        plan = LesionPlan()
        if self._do_transform:
            parts = self.names.parts(item)
            plan, change = self.augmenter(parts, self._draw)
            item = self.names.written(item, parts, change)
        if self.plan_key is not None:
            item[self.plan_key] = plan_line(plan, self.augmenter.rendering.choice)
        return item

    def fill(self, data: Mapping[Hashable, Any]) -> Iterator[bool]:
        """Put the variants of a scan into the cache, one at a time, where they are not there yet.

        Args:
            data: As this transform will get it, after whatever comes before; not changed.

        Yields:
            For each variant, whether it was rendered now.

        Raises:
            LesionAugError: There is no cache, or the scan cannot be worked with.
        """
        yield from self.augmenter.fill(self.names.parts(self.names.with_label(data)))

    def _draw(self, count: int) -> int:
        return int(self.R.randint(count, dtype=np.int64))


class RenderMSLesionsd(MapTransform):
    """Render planned lesions: repeats what `RandSyntheticMSLesiond` did, into the dictionary as it was before.

    Args:
        keys: As for `RandSyntheticMSLesiond`, like all that follow.
        label_key: Likewise.
        plan_key: Of the line of JSON that the random transform left.
        channels: Likewise.
        eligible_key: Likewise.
        brain_mask_key: Likewise.
        anatomy_key: Likewise.
        lesion_value: Likewise.
        create_label: Likewise.
        allow_missing_keys: Likewise.
        **rendering: As for `lesionaug.augmenter.lesion_rendering`; the models must be those that the plan was made
            with.

    Raises:
        LesionAugError: As `RandSyntheticMSLesiond`, for a missing plan, and for other models.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (the name and type that MONAI's base class has)

    def __init__(
        self,
        keys: KeysCollection,
        label_key: Hashable = "label",
        plan_key: Hashable = "lesion_plan",
        *,
        channels: Channels | None = None,
        eligible_key: Hashable | None = None,
        brain_mask_key: Hashable | None = None,
        anatomy_key: Hashable | None = None,
        lesion_value: float | None = None,
        create_label: bool = False,
        allow_missing_keys: bool = False,
        **rendering: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        images = contrasts(self.keys, channels)
        maps = (brain_mask_key, anatomy_key, lesion_value)
        self.names = ItemKeys(images, label_key, eligible_key, create_label, allow_missing_keys, *maps)
        self.rendering = lesion_rendering(**rendering)
        self.plan_key = plan_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """The dictionary with the plan's lesions."""
        item = self.names.with_label(data)
        if self.plan_key not in item:
            raise LesionAugError(
                f"Expected a plan under {self.plan_key!r}, got none; name it in RandSyntheticMSLesiond(plan_key=...)"
            )
        fields = json.loads(item[self.plan_key])
        self.rendering.check_digests(fields["digests"])
        parts = self.names.parts(item)
        return self.names.written(item, parts, self.rendering.change(parts, LesionPlan.from_dict(fields["plan"])))


def plan_line(plan: LesionPlan, choice: ModelChoice) -> str:
    """What was done, in a line: the plan, and the digests of the models that it was rendered with."""
    return json.dumps({"plan": plan.to_dict(), "digests": choice.digests()})
