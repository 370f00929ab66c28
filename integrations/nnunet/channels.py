"""Which channel of an nnU-Net dataset is which contrast, and which label is the lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lesionaug.integrations.nnunet.settings import CONFIG, NnunetSettings

from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import channel_of
from lesionaug.layouts.nnunet import is_lesion
from lesionaug.scan import CHANNELS
from lesionaug.types import Mask, Volume


@dataclass(frozen=True)
class Roles:
    """What the channels and labels of a dataset are for the synthesiser.

    Args:
        channels: Pairs of model channel and its index in nnU-Net's data, in the order of `lesionaug.scan.CHANNELS`.
        lesion: Value that voxels of new lesions get.
        lesions: Values of lesions that are there already.
        ignore: Value of voxels that nobody has labelled, if there is one.
    """

    channels: tuple[tuple[str, int], ...]
    lesion: int
    lesions: tuple[int, ...]
    ignore: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Model channels."""
        return tuple(name for name, _ in self.channels)

    @property
    def indices(self) -> list[int]:
        """Their places in nnU-Net's data."""
        return [index for _, index in self.channels]

    def lesion_mask(self, segmentation: torch.Tensor) -> Mask:
        """Existing lesions in a segmentation of shape `(1, i, j, k)`."""
        return torch.stack([segmentation == value for value in self.lesions]).any(dim=0)  # isin takes ten times as long

    def writable(self, segmentation: torch.Tensor) -> Mask:
        """Where a segmentation may become lesion: not outside the scan, and not where it is to be ignored."""
        inside = segmentation >= 0
        return inside if self.ignore is None else inside & (segmentation != self.ignore)

    def images(self, data: Volume | np.ndarray) -> dict[str, torch.Tensor]:
        """Image of shape `(1, i, j, k)` for each model channel."""
        return {name: torch.as_tensor(data[index])[None].float() for name, index in self.channels}


def roles_of(dataset: Mapping[str, Any], settings: NnunetSettings) -> Roles:
    """Roles in a dataset, by the names in its dataset.json and what the settings say otherwise.

    Args:
        dataset: Content of dataset.json.
        settings: With `channels` and `lesion_label`.

    Raises:
        LesionAugError: No channel or no label can be told, or the settings name one that is not there.
    """
    values = _lesion_values(dataset.get("labels", {}), settings.lesion_label)
    ignore = dataset.get("labels", {}).get("ignore")
    return Roles(_channels(dataset, settings), values[0], values, None if ignore is None else int(ignore))


def _channels(dataset: Mapping[str, Any], settings: NnunetSettings) -> tuple[tuple[str, int], ...]:
    names = {int(number): str(name) for number, name in _channel_names(dataset).items()}
    if settings.channels:
        found = {channel: _index(names, wanted) for channel, wanted in settings.channels.items()}
    else:
        recognised = [(channel_of(name), number) for number, name in sorted(names.items())]
        found = {channel: number for channel, number in recognised if channel}
        _check_told(recognised, names)
    return tuple((channel, found[channel]) for channel in CHANNELS if channel in found)


def _channel_names(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    return dataset.get("channel_names") or dataset.get("modality") or {}


def _check_told(recognised: Sequence[tuple[str | None, int]], names: Mapping[int, str]) -> None:
    known = [channel for channel, _ in recognised if channel]
    if not known or len(set(known)) < len(known):
        raise LesionAugError(
            f"Expected channels called FLAIR, T1 or T2 in dataset.json, each once, got {_listed(names)}; say which is "
            f'which in the file that {CONFIG} names, such as {{"channels": {{"flair": 0}}}}; others stay as they are'
        )


def _index(names: Mapping[int, str], wanted: str | int) -> int:
    """Number of a channel that settings name by number or name."""
    found = [number for number, name in names.items() if str(wanted) in (name, str(number))]
    if len(found) != 1:
        raise LesionAugError(
            f"Expected a channel of dataset.json ({_listed(names)}), got {wanted!r}; correct channels in the settings"
        )
    return found[0]


def _lesion_values(labels: Mapping[str, Any], chosen: str | None) -> tuple[int, ...]:
    """Values of the lesion label, the one to write first; a region lists several."""
    foreground = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    named = [chosen] if chosen else [name for name in foreground if is_lesion(name)] or list(foreground)
    if len(named) != 1 or named[0] not in foreground:
        raise LesionAugError(
            f"Expected one label of lesions among {', '.join(foreground) or 'none'} in dataset.json, got "
            f'{", ".join(named) or "none"}; name it in the file that {CONFIG} names: {{"lesion_label": "..."}}'
        )
    value = foreground[named[0]]
    return tuple(int(number) for number in value) if isinstance(value, Sequence) else (int(value),)


def _listed(names: Mapping[int, str]) -> str:
    return ", ".join(f"{number}: {name}" for number, name in names.items()) or "none"
