"""The patch store: one file per scan, one patch per lesion, at model spacing.

    scan ──► lesions (26-connected) ──► smallest patch shape that holds each ──► SUBJECT.safetensors
                                        label: this lesion | other lesions | brain | may host a lesion

Lesions too large for the largest patch are counted in the store's `skipped`; their neighbours are kept and see them as
"other". World positions and subject names stay with every patch.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lesionaug.intensity import robust_scale
from lesionaug.models.base import PATCH_SHAPES
from lesionaug.patches import PatchGrid, cut, cut_mask

THIS, OTHER, BRAIN = 1, 2, 4
"""Bits of a patch's label."""

CONTEXT_VOXELS = 6  # as in `DiffusionRenderer.patch_shape`


@dataclass(frozen=True)
class LabelledScan:
    """A scan to learn from, in scanner units.

    Args:
        subject: Name of the scan; `patient` is what splits go by.
        patient: Time points of a patient share it.
        channels: Contrasts of `image`; empty where there is only a mask.
        image: Shape `(channels, i, j, k)`.
        lesions: Lesion mask, shape `(i, j, k)`.
        brain: Brain mask, same shape.
        spacing_mm: Voxel size.
    """

    subject: str
    patient: str
    channels: tuple[str, ...]
    image: np.ndarray
    lesions: np.ndarray
    brain: np.ndarray
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class PatchGroup:
    """Patches of one shape from one scan.

    Args:
        subject: Where they come from.
        patient: For splits.
        channels: Of `image`.
        image: Robust units, half precision, shape `(patches, channels, n, n, n)`.
        label: Bits `THIS`, `OTHER`, `BRAIN`, shape `(patches, 1, n, n, n)`.
        healthy: Whether the patches are of normal-appearing tissue, without a lesion of their own.
    """

    subject: str
    patient: str
    channels: tuple[str, ...]
    image: Tensor
    label: Tensor
    healthy: bool

    def __len__(self) -> int:
        return len(self.label)

    @property
    def size(self) -> int:
        """Edge of the patches."""
        return self.label.shape[-1]


def write_scan(scan: LabelledScan, store: Path, healthy: int = 0, seed: int = 0) -> dict[str, int]:
    """Cut a scan into patches and write them.

    Args:
        scan: What to cut.
        store: Folder of the store.
        healthy: Patches of normal-appearing tissue to add, for a model that is to know healthy tissue too.
        seed: Of their positions.

    Returns:
        Number of patches, of healthy patches, and of lesions skipped as too large.
    """
    tensors, counts = defaultdict(list), {"patches": 0, "healthy": 0, "skipped": 0}
    image, labels = _normalised(scan), cc3d.connected_components(scan.lesions, connectivity=26)
    for lesion, voxels in _lesion_voxels(labels):
        center, shape = _home(voxels, scan.spacing_mm)
        counts["patches" if shape else "skipped"] += 1
        if shape:
            _add(
                tensors,
                f"lesion_{shape[0]}",
                scan,
                image,
                labels,
                lesion,
                PatchGrid.around(center, shape, scan.spacing_mm, 1.0),
            )
    for center in _healthy_centers(scan, healthy, np.random.default_rng(seed)):
        _add(
            tensors, "healthy_24", scan, image, labels, -1, PatchGrid.around(center, (24, 24, 24), scan.spacing_mm, 1.0)
        )
        counts["healthy"] += 1
    facts = {"subject": scan.subject, "patient": scan.patient, "channels": json.dumps(scan.channels), **counts}
    store.mkdir(parents=True, exist_ok=True)
    stacked = {name: torch.stack(patches) for name, patches in tensors.items()}
    save_file(stacked, store / f"{scan.subject}.safetensors", {key: str(value) for key, value in facts.items()})
    return counts


def read_store(store: Path, patients: Iterable[str] | None = None) -> list[PatchGroup]:
    """All patches of a store, or those of some patients.

    Raises:
        FileNotFoundError: The store holds no patches.
    """
    files = sorted(Path(store).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(
            f"Expected patches (*.safetensors) in {store}, got none; run lesionaug.pretrain.prepare"
        )
    wanted = None if patients is None else set(patients)
    return [group for file in files for group in _read(file) if wanted is None or group.patient in wanted]


def _read(file: Path) -> list[PatchGroup]:
    groups = []
    with safe_open(file, framework="pt") as opened:
        facts = opened.metadata()
        for name in sorted(key for key in opened.keys() if key.endswith("_label")):  # noqa: SIM118
            kind = name.removesuffix("_label")
            groups.append(
                PatchGroup(
                    subject=facts["subject"],
                    patient=facts["patient"],
                    channels=tuple(json.loads(facts["channels"])),
                    image=opened.get_tensor(f"{kind}_image"),
                    label=opened.get_tensor(name),
                    healthy=kind.startswith("healthy"),
                )
            )
    return groups


def _normalised(scan: LabelledScan) -> Tensor:
    image = torch.from_numpy(np.ascontiguousarray(scan.image, dtype=np.float32))
    if not scan.channels:
        return image
    return robust_scale(image, torch.from_numpy(scan.brain)[None]).normalise(image)


def _lesion_voxels(labels: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    for lesion, box in enumerate(cc3d.statistics(labels)["bounding_boxes"][1:], start=1):
        yield lesion, np.argwhere(labels[box] == lesion) + [axis.start for axis in box]


def _home(voxels: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[tuple, tuple | None]:
    """Centre voxel of a lesion, and the smallest patch that holds its control sphere."""
    center = np.rint(voxels.mean(axis=0)).astype(int)
    extent = 2 * np.linalg.norm((voxels - center) * spacing_mm, axis=1).max() + 1
    shape = next((shape for shape in PATCH_SHAPES if shape[0] >= extent + CONTEXT_VOXELS), None)
    return tuple(int(c) for c in center), shape


def _healthy_centers(scan: LabelledScan, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions in the brain well away from lesions."""
    from scipy.ndimage import binary_dilation, binary_erosion

    room = binary_erosion(scan.brain, iterations=6) & ~binary_dilation(scan.lesions, iterations=8)
    return rng.permutation(np.argwhere(room))[:count]


def _add(
    tensors: dict, kind: str, scan: LabelledScan, image: Tensor, labels: np.ndarray, lesion: int, grid: PatchGrid
) -> None:
    masks = [torch.from_numpy(mask)[None] for mask in (labels == lesion, (labels > 0) & (labels != lesion), scan.brain)]
    this, other, brain = (cut_mask(mask, grid) for mask in masks)
    tensors[f"{kind}_label"].append(this.byte() * THIS + other.byte() * OTHER + brain.byte() * BRAIN)
    patch = cut(image, grid) if scan.channels else torch.zeros(0, *grid.shape)
    tensors[f"{kind}_image"].append(patch.half())
