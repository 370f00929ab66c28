"""Cached mode: a variant's few voxels are laid over a case when it is loaded, while the case itself stays compressed.

load_case ──► probability ──► variant ──► FolderStore ──► image, segmentation: `PastedArray`
(numpy's generator, in the worker)                   └──► class_locations: foreground is looked for in new lesions too

Nothing is rendered here: neither weights nor a GPU are needed, and a variant that is not there is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.prepared import (
    Prepared,
    check_cases,
    check_complete,
    check_settings,
    is_prepared,
    overlays_folder,
    store_in,
)
from lesionaug.integrations.nnunet.settings import NnunetSettings
from lesionaug.integrations.nnunet.sparse import PastedArray

from lesionaug.cache import RENDER_VERSION
from lesionaug.errors import LesionAugError
from lesionaug.loaded import loaded_prior
from lesionaug.variants import VoxelChange

__all__ = ["Overlays", "is_prepared", "open_overlays", "overlays_folder", "with_overlays"]

Loaded = tuple[Any, Any, Any, dict[str, Any]]
"""What nnU-Net's `load_case` returns: image, segmentation, that of the previous stage of a cascade, properties."""

Chance = Callable[[], float]
Note = Callable[..., None]


def settings_identity(settings: NnunetSettings, roles: Roles) -> dict[str, Any]:
    """Plain data that is the same whenever a variant is: of the settings, what decides about lesions."""
    return {
        **_plain(settings.case_options()),
        "seed": settings.seed,
        "prior": loaded_prior(settings.prior).digest,
        **settings.choice().identity(),
        **_plain(roles),
        "rendering": RENDER_VERSION,
    }


@dataclass(frozen=True)
class Overlays:
    """Prepared variants of cases.

    Args:
        folder: Where they are.
        prepared: What is there.
        roles: Of channels and labels.
    """

    folder: Path
    prepared: Prepared
    roles: Roles

    def about(self) -> dict[str, Any]:
        """For the log and the output folder."""
        return {
            "folder": str(self.folder),
            "cases": len(self.prepared.lesions),
            "lesions": sum(map(sum, self.prepared.lesions.values())),
            "variants": self.prepared.variants,
            "untouched": list(self.prepared.untouched),
            "settings": self.prepared.settings,
        }

    def change(self, case: str, variant: int) -> VoxelChange:
        """What a variant changes in a case.

        Raises:
            LesionAugError: It is not there, or damaged.
        """
        payload = store_in(self.folder).get(self.prepared.key(case, variant))
        if payload is None:
            raise LesionAugError(
                f"Expected variant {variant} of {case} in {self.folder}, got none or a damaged one; "
                "run lesionaug nnunet prepare again, it renders what is missing, and resume with --c"
            )
        return VoxelChange.from_bytes(payload)

    def laid_over(self, case: str, variant: int, loaded: Loaded) -> Loaded:
        """A case with the lesions of a variant; what a cascade's previous stage said of it stays."""
        data, seg, seg_prev, properties = loaded
        change = self.change(case, variant)
        voxels = np.stack(np.unravel_index(change.indices, data.shape[1:]), axis=1)
        new = voxels[change.labelled]
        images = {index: change.values[channel] for channel, index in self.roles.channels}
        return (
            PastedArray(data, voxels, images),
            PastedArray(seg, new, {0: np.full(len(new), self.roles.lesion, seg.dtype)}),
            seg_prev,
            {**properties, "class_locations": extended(properties["class_locations"], new, self.roles.lesion)},
        )


class OverlaidDataset:
    """A dataset of nnU-Net's whose cases get prepared lesions when they are loaded; everything else is the dataset's.

    Args:
        dataset: Of preprocessed cases.
        overlays: Their variants.
        chance: The probability that a loaded case gets lesions, asked for each time.
        note: Told what each case got that did: `lesions=3, case="P14", variant=2`.
    """

    def __init__(self, dataset: Any, overlays: Overlays, chance: Chance, note: Note | None = None) -> None:
        self.dataset, self.overlays, self.chance, self.note = dataset, overlays, chance, note

    def load_case(self, identifier: str) -> Loaded:
        """As nnU-Net loads it, or with the lesions of a variant."""
        loaded = self.dataset.load_case(identifier)
        prepared = self.overlays.prepared
        # NumPy's generator: torch's is the same in all of nnU-Net's forked workers.
        if np.random.uniform() >= self.chance() or identifier in prepared.untouched:
            return loaded
        variant = int(np.random.randint(prepared.variants))
        if self.note:
            self.note(lesions=prepared.lesions[identifier][variant], case=identifier, variant=variant)
        return self.overlays.laid_over(identifier, variant, loaded)

    def __getitem__(self, identifier: str) -> Loaded:
        return self.load_case(identifier)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not there yet while this is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


def open_overlays(preprocessed: Path, cases: Iterable[str], settings: NnunetSettings, roles: Roles) -> Overlays:
    """Variants of the cases that a network is trained with.

    Args:
        preprocessed: Folder of the preprocessed cases.
        cases: Their names.
        settings: Of the training.
        roles: Of channels and labels.

    Raises:
        LesionAugError: None were prepared, or with other settings, or of another preprocessing, or not all.
    """
    folder, cases = overlays_folder(preprocessed), list(cases)
    prepared = Prepared.read(folder)
    check_settings(prepared.settings, settings_identity(settings, roles), folder)
    check_complete(prepared, cases)
    check_cases(prepared, preprocessed, cases)
    return Overlays(folder, prepared, roles)


def with_overlays(dataset: Any, overlays: Overlays, chance: Chance, note: Note | None = None) -> OverlaidDataset:
    """A training dataset whose cases get prepared lesions; never hand it validation cases. See `OverlaidDataset`."""
    return OverlaidDataset(dataset, overlays, chance, note)


def extended(locations: Mapping[Any, Any], voxels: np.ndarray, lesion: int) -> dict[Any, Any]:
    """Places where nnU-Net looks for foreground, with those of new lesions.

    Args:
        locations: `class_locations` of a case: for labels and tuples of labels, rows of `(0, i, j, k)`. A tuple with -1
            stands for everything that is annotated, not for a class.
        voxels: Of new lesions, shape `(n, 3)`.
        lesion: Their label.
    """
    rows = np.pad(voxels, ((0, 0), (1, 0)))
    return {
        key: np.concatenate([np.reshape(np.asarray(found, rows.dtype), (-1, 4)), rows]) if _has(key, lesion) else found
        for key, found in locations.items()
    }


def _has(key: Any, lesion: int) -> bool:
    return lesion in key and -1 not in key if isinstance(key, tuple) else key == lesion


def _plain(values: Any) -> dict[str, Any]:
    """Fields of a dataclass as JSON gives them back."""
    return json.loads(json.dumps(asdict(values)))
