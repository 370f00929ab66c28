"""`store.json`: how a patch store was cut, and what became of every scan and every lesion."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from lesionaug.errors import LesionAugError
from lesionaug.models.base import PATCH_SHAPES

FILE = "store.json"
FORMAT = 2
"""Raised whenever a reader of the one before would misunderstand; stores of format 1 have no `store.json`."""


@dataclass(frozen=True)
class StoreSettings:
    """What has to be equal for patches to be learned from together.

    Args:
        kind: Preset that cut them.
        format: Of the files.
        spacing_mm: Of a patch voxel.
        shapes: Of the patches, ascending.
        context: Voxels around the control sphere that a patch holds at least.
        connectivity: Neighbours that make voxels one lesion.
        units: Of intensities.
    """

    kind: str = "model"
    format: int = FORMAT
    spacing_mm: float = 1.0
    shapes: tuple[tuple[int, ...], ...] = PATCH_SHAPES
    context: int = 6  # as in `DiffusionRenderer.patch_shape`
    connectivity: Literal[6, 26] = 26
    units: str = "robust"


MODEL = StoreSettings()
PUBLISHED = StoreSettings("published", shapes=((32, 64, 64),), context=0, connectivity=6)


@dataclass(frozen=True)
class LesionRecord:
    """A lesion of a scan.

    Args:
        volume_mm3: Its volume.
        radius_mm: Largest distance of a voxel to the centroid.
        center_mm: Centroid in the world of the files.
        patch: Whether it has a patch of its own; if not, it is too large for one.
    """

    volume_mm3: float
    radius_mm: float
    center_mm: tuple[float, ...]
    patch: bool


@dataclass(frozen=True)
class ScanRecord:
    """A scan of a store.

    Args:
        subject: Name of the scan.
        patient: Whose it is.
        channels: Contrasts.
        spacing_mm: Of the scan, corrected by the source's scale.
        brain: Where its brain mask came from.
        source: Name of the folder or table it was found in.
        lesions: All of them.
        healthy: Patches without a lesion of their own.
    """

    subject: str
    patient: str
    channels: tuple[str, ...]
    spacing_mm: tuple[float, ...]
    brain: str
    lesions: tuple[LesionRecord, ...]
    healthy: int
    source: str = ""

    @property
    def too_large(self) -> int:
        """Lesions without a patch."""
        return sum(not lesion.patch for lesion in self.lesions)

    @property
    def patches(self) -> int:
        """Lesions with one."""
        return len(self.lesions) - self.too_large


@dataclass(frozen=True)
class StoreIndex:
    """All about a store but its voxels.

    Args:
        settings: How it was cut.
        sources: Name, layout and scale of what it was cut from.
        scans: In the order of their files.
        unused: Scans that were found and not cut, each with the reason.
    """

    settings: StoreSettings
    sources: tuple[dict, ...]
    scans: tuple[ScanRecord, ...]
    unused: tuple[dict, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts that some scan has."""
        return tuple(sorted({channel for scan in self.scans for channel in scan.channels}))


def write_index(store: Path, index: StoreIndex) -> None:
    """Write `store.json`."""
    content = {**asdict(index), "channels": index.channels}
    (store / FILE).write_text(json.dumps(content, indent=1) + "\n")


def read_index(store: Path) -> StoreIndex | None:
    """Inverse of `write_index`; None for a store of format 1.

    Raises:
        LesionAugError: The file is damaged, or of a format that is not known here.
    """
    path = Path(store) / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        _check_format(content["settings"]["format"], path)
        return StoreIndex(
            settings=_settings(content["settings"]),
            sources=tuple(content["sources"]),
            scans=tuple(map(_scan, content["scans"])),
            unused=tuple(content["unused"]),
        )
    except (OSError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise LesionAugError(
            f"Expected the index of a patch store, got something else in {path} ({error}); prepare the patches again"
        ) from error


def check_settings(store: Path, expected: StoreSettings) -> None:
    """The store was cut as a program needs it.

    Raises:
        LesionAugError: It was not; the message names each setting that differs.
    """
    index = read_index(store)
    got = MODEL if index is None else index.settings
    differing = [field.name for field in fields(expected) if getattr(expected, field.name) != getattr(got, field.name)]
    if differing:
        wanted, found = (", ".join(f"{name} {getattr(s, name)}" for name in differing) for s in (expected, got))
        raise LesionAugError(
            f"Expected a patch store with {wanted}, got {found} in {store}; "
            f"prepare the patches again with --preset {expected.kind}"
        )


def _check_format(got: int, path: Path) -> None:
    if got != FORMAT:
        raise LesionAugError(
            f"Expected a patch store of format {FORMAT}, got {got} in {path}; prepare the patches again, "
            "or use the version of lesionaug that wrote it"
        )


def _settings(content: dict) -> StoreSettings:
    return StoreSettings(**{**content, "shapes": tuple(map(tuple, content["shapes"]))})


def _scan(content: dict) -> ScanRecord:
    lesions = tuple(LesionRecord(**{**one, "center_mm": tuple(one["center_mm"])}) for one in content["lesions"])
    lists = {name: tuple(content[name]) for name in ("channels", "spacing_mm")}
    return ScanRecord(**{**content, **lists, "lesions": lesions})
