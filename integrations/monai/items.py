"""From one of MONAI's dictionaries to `ScanParts` and back: which of its entries play which part."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import SpaceKeys

from lesionaug.checks import check_known, check_same_grid
from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import channel_of
from lesionaug.scan import CHANNELS
from lesionaug.scan_parts import ScanParts
from lesionaug.variants import VoxelChange

Item = dict[Hashable, Any]
Channels = Mapping[Hashable, str | tuple[str | None, ...]]

LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


@dataclass(frozen=True)
class ItemKeys:
    """Which entries of a dictionary play which part.

    Args:
        images: Key to the contrast of each of the image's channels; None for one that stays as it is.
        label: Key of the lesion label.
        eligible: Key of a map of where lesions may be centred, if there is one.
        create_label: Whether to add an empty label to dictionaries without one.
        allow_missing: Whether an image may be missing as long as there is another.
        brain_mask: Key of a brain mask, if there is one.
        anatomy: Key of what `AddAnatomyd` has added, if it did.
        lesion_value: Value that stands for lesions in a label of several classes.

    Raises:
        LesionAugError: An unknown contrast, one that is there twice, or none.
    """

    images: Mapping[Hashable, tuple[str | None, ...]]
    label: Hashable = "label"
    eligible: Hashable | None = None
    create_label: bool = False
    allow_missing: bool = False
    brain_mask: Hashable | None = None
    anatomy: Hashable | None = None
    lesion_value: float | None = None

    def __post_init__(self) -> None:
        named = [name for names in self.images.values() for name in names if name is not None]
        check_known("channel", named, CHANNELS)
        if not named or len(set(named)) < len(named):
            got = ", ".join(named) or "none"
            raise LesionAugError(f"Expected each contrast once, and at least one, got {got}; correct channels={{...}}")

    def parts(self, item: Mapping[Hashable, Any]) -> ScanParts:
        """What plays a part in a dictionary, which is not changed.

        Raises:
            LesionAugError: An image or the label is missing, or they do not match.
        """
        first = _volume(item, next(iter(self._keys(item))))
        images: dict[str, torch.Tensor] = {}
        for key, index, channel in self._places(item):
            volume = _volume(item, key)
            _check_grid(volume, repr(key), first)
            images[channel] = _plain(volume)[index : index + 1]
        label = self._map(item, self.label, first)
        maps = {
            role: None if key is None else self._map(item, key, first, several=role == "anatomy")
            for role, key in (("eligible", self.eligible), ("brain_mask", self.brain_mask), ("anatomy", self.anatomy))
        }
        return ScanParts(images, _affine(first), label, name=str(self.label), lesion_value=self.lesion_value, **maps)

    def written(self, item: Mapping[Hashable, Any], parts: ScanParts, change: VoxelChange) -> Item:
        """A dictionary whose images and label have the new lesions; the tensors of the one given stay as they are."""
        after = dict(item)
        images, label = parts.written(change)
        for key in {key: None for key, *_ in self._places(item)}:
            after[key] = item[key].clone()
        for key, index, channel in self._places(item):
            after[key].as_tensor()[index] = images[channel][0].to(after[key].device)
        after[self.label] = item[self.label].clone()
        after[self.label].as_tensor()[:] = label.to(after[self.label].device)
        return after

    def with_label(self, item: Mapping[Hashable, Any]) -> Item:
        """A copy of the dictionary, with an empty label if it needs one."""
        after = dict(item)
        if self.create_label and self.label not in item:
            like = _volume(item, next(iter(self._keys(item))))
            empty = torch.zeros((1, *like.shape[1:]), dtype=torch.uint8, device=like.device)
            after[self.label] = MetaTensor(empty, meta=deepcopy(like.meta))
        return after

    def _keys(self, item: Mapping[Hashable, Any]) -> list[Hashable]:
        """Of images that are there.

        Raises:
            LesionAugError: One is missing that may not be, or all are.
        """
        there = [key for key in self.images if key in item]
        if not there or (len(there) < len(self.images) and not self.allow_missing):
            missing = ", ".join(repr(key) for key in self.images if key not in item)
            raise LesionAugError(
                f"Expected images {missing} in the dictionary, got {_names(item)}; "
                "check keys, or allow_missing_keys=True"
            )
        return there

    def _places(self, item: Mapping[Hashable, Any]) -> Iterator[tuple[Hashable, int, str]]:
        """Key, index of the channel and its contrast, of all that lesions are painted into."""
        for key in self._keys(item):
            names, found = self.images[key], _volume(item, key).shape[0]
            if found != len(names):
                raise LesionAugError(
                    f"Expected {len(names)} channels in {key!r}, got {found}; "
                    f"say what they are: channels={{{key!r}: ...}}"
                )
            yield from ((key, index, name) for index, name in enumerate(names) if name is not None)

    def _map(
        self, item: Mapping[Hashable, Any], key: Hashable, like: MetaTensor, *, several: bool = False
    ) -> torch.Tensor:
        if key not in item:
            raise LesionAugError(
                f"Expected {key!r} in the dictionary, got {_names(item)}; "
                "give its key; a label is added to healthy scans by RandSyntheticMSLesiond(create_label=True)"
            )
        volume = _volume(item, key)
        if volume.shape[0] != 1 and not several:
            raise LesionAugError(f"Expected one channel in {key!r}, got {volume.shape[0]}; choose one of them")
        _check_grid(volume, repr(key), like)
        return _plain(volume)


def contrasts(keys: tuple[Hashable, ...], channels: Channels | None) -> dict[Hashable, tuple[str | None, ...]]:
    """The contrast of each channel of each image; where nothing is said, its key tells.

    Raises:
        LesionAugError: A key that tells nothing, or channels of what is no key.

    Example:
        >>> contrasts(("FLAIR", "t1"), None)
        {'FLAIR': ('flair',), 't1': ('t1w',)}
        >>> contrasts(("image",), {"image": ("flair", None)})
        {'image': ('flair', None)}
    """
    said: dict[Hashable, str | tuple[str | None, ...]] = dict(channels or {})
    check_known("key of channels", [str(key) for key in said], [str(key) for key in keys])
    found: dict[Hashable, tuple[str | None, ...]] = {}
    for key in keys:
        names = said.get(key, channel_of(str(key)))
        if names is None:
            raise LesionAugError(
                f"Expected the contrast of {key!r} (one of {', '.join(CHANNELS)}), got a key that does not tell; "
                f"say it: channels={{{key!r}: 'flair'}}, or a tuple for an image of several channels"
            )
        found[key] = (names,) if isinstance(names, str) else tuple(names)
    return found


def _volume(item: Mapping[Hashable, Any], key: Hashable) -> MetaTensor:
    volume = item[key]
    if not isinstance(volume, MetaTensor):
        raise LesionAugError(
            f"Expected a MetaTensor, which knows its affine, got {type(volume).__name__} in {key!r}; "
            "load it with LoadImaged, or wrap it: MetaTensor(array, affine=...)"
        )
    if volume.ndim != 4:
        raise LesionAugError(
            f"Expected a volume (channels, i, j, k), got the shape {tuple(volume.shape)} in {key!r}; "
            "put EnsureChannelFirstd before this transform"
        )
    if volume.has_pending_operations:
        raise LesionAugError(
            f"Expected voxels, got operations that are pending in {key!r}; "
            "call this transform inside Compose, which applies them, or put ApplyPendingd before it"
        )
    return volume


def _plain(volume: MetaTensor) -> torch.Tensor:
    return volume.as_tensor().detach().cpu()


def _affine(volume: MetaTensor) -> np.ndarray:
    """Voxel to world in RAS, whatever the reader said."""
    affine = volume.affine.double().cpu().numpy()
    return LPS_TO_RAS @ affine if volume.meta.get("space") == SpaceKeys.LPS else affine


def _check_grid(volume: MetaTensor, what: str, like: MetaTensor) -> None:
    check_same_grid(
        tuple(volume.shape[1:]), _affine(volume), what, tuple(like.shape[1:]), _affine(like), "the first image"
    )


def _names(item: Mapping[Hashable, Any]) -> str:
    return ", ".join(repr(key) for key in item) or "nothing"
