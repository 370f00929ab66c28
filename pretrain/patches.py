"""The patch store: one file per scan, one patch per lesion, and `store.json` with how it was cut.

    scan ──► cutting.py or published_patches.py ──► SUBJECT.safetensors
                                                    image, label, affine, volume_mm3 of lesion_16, healthy_24, ...

Lesions too large for the largest patch have no patch of their own; the index lists them, their neighbours see them as
"other". Stores of format 1, without `store.json`, affines and the `CUT` bit, are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from lesionaug.pretrain.cutting import cut_scan
from lesionaug.pretrain.index import MODEL, ScanRecord, StoreSettings, check_settings
from lesionaug.pretrain.labelled import (
    BRAIN,
    CUT,
    NEAR_CORTEX,
    NEAR_VENTRICLES,
    OTHER,
    THIS,
    TISSUE,
    LabelledScan,
)
from lesionaug.pretrain.published_patches import cut_published
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lesionaug.errors import LesionAugError

__all__ = [
    "BRAIN",
    "CUT",
    "NEAR_CORTEX",
    "NEAR_VENTRICLES",
    "OTHER",
    "THIS",
    "TISSUE",
    "LabelledScan",
    "PatchGroup",
    "read_store",
    "write_patches",
    "write_scan",
]


@dataclass(frozen=True)
class PatchGroup:
    """Patches of one shape from one scan.

    Args:
        subject: Where they come from.
        patient: For splits.
        channels: Of `image`.
        image: Robust units, or those of the published networks; half precision, shape `(patches, channels, n, n, n)`.
        label: Bits `THIS`, `OTHER`, `BRAIN`, `CUT`, and those of the anatomy where it is known, shape
            `(patches, 1, n, n, n)`.
        healthy: Whether the patches are of normal-appearing tissue, without a lesion of their own.
        affine: Patch voxel to world of the scan's files in mm, shape `(patches, 4, 4)`; None in format 1.
        volume_mm3: Of the lesion as it is in the scan, 0 where there is none, shape `(patches,)`.
    """

    subject: str
    patient: str
    channels: tuple[str, ...]
    image: Tensor
    label: Tensor
    healthy: bool
    affine: Tensor | None = None
    volume_mm3: Tensor | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def size(self) -> int:
        """Edge of the patches, the longest where they are no cubes."""
        return self.label.shape[-1]


def write_scan(
    scan: LabelledScan, store: Path, healthy: int = 0, seed: int = 0, settings: StoreSettings = MODEL
) -> ScanRecord:
    """Cut a scan into patches and write them.

    Args:
        scan: What to cut.
        store: Folder of the store.
        healthy: Patches of normal-appearing tissue to add, for a model that is to know healthy tissue too.
        seed: Of their positions.
        settings: `MODEL`, or `PUBLISHED` for the published preparation, which has no healthy patches.

    Returns:
        What the index is to say of the scan.
    """
    cutout = cut_scan(scan, healthy, seed) if settings.kind == MODEL.kind else cut_published(scan)
    write_patches(store, scan, cutout.tensors)
    return cutout.record


def write_patches(store: Path, scan: LabelledScan, patches: dict[str, Tensor]) -> None:
    """Write a scan's file of the store."""
    facts = {"subject": scan.subject, "patient": scan.patient, "channels": json.dumps(scan.channels)}
    store.mkdir(parents=True, exist_ok=True)
    save_file(patches, store / f"{scan.subject}.safetensors", facts)


def read_store(store: Path, patients: Iterable[str] | None = None, settings: StoreSettings = MODEL) -> list[PatchGroup]:
    """All patches of a store, or those of some patients.

    Args:
        store: Folder of the store.
        patients: Whose patches.
        settings: How the patches have to be cut.

    Raises:
        FileNotFoundError: The store holds no patches.
        LesionAugError: It was cut otherwise, or is damaged.
    """
    files = sorted(Path(store).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(
            f"Expected patches (*.safetensors) in {store}, got none; run lesionaug.pretrain.prepare"
        )
    check_settings(store, settings)
    wanted = None if patients is None else set(patients)
    return [group for file in files for group in _read(file) if wanted is None or group.patient in wanted]


def _read(file: Path) -> list[PatchGroup]:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            facts = opened.metadata()
        return [
            _group(kind, tensors, facts)
            for kind in sorted(n.removesuffix("_label") for n in tensors if n.endswith("_label"))
        ]
    except (SafetensorError, KeyError, TypeError) as error:
        raise LesionAugError(f"Expected patches, got a damaged file {file} ({error}); prepare them again") from error


def _group(kind: str, tensors: dict[str, Tensor], facts: dict[str, str]) -> PatchGroup:
    label = tensors[f"{kind}_label"]
    counted = ((label & THIS) > 0).flatten(1).sum(dim=1).to(torch.float32)
    return PatchGroup(
        subject=facts["subject"],
        patient=facts["patient"],
        channels=tuple(json.loads(facts["channels"])),
        image=tensors[f"{kind}_image"],
        label=label,
        healthy=kind.startswith("healthy"),
        affine=tensors.get(f"{kind}_affine"),
        volume_mm3=tensors.get(f"{kind}_volume_mm3", counted),
    )
