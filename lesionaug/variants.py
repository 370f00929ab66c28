"""Whole results in a cache: the lesions planned for a scan, and the few voxels that rendering a plan changes.

scan, options, prior, models, variant ──► plan (JSON)
scan, plan, models ─────────────────────► VoxelChange: where lesions are new, and each image's values there

Both are small, and neither anatomy nor weights are needed to use them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lesionaug.cache import COMPRESSION, digest_of, put_or_warn
from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice, prior_digest
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import LesionPlan, Scan
from lesionaug.store import FolderStore, Store

GB = 1_000_000_000


@dataclass(frozen=True)
class CacheChoice:
    """Which cache to use, as a value.

    Args:
        path: Its folder.
        limit_gb: Size beyond which the longest unused entries go; no limit if not given.
        only: Whether what is not there is an error rather than rendered.
    """

    path: str
    limit_gb: float | None = None
    only: bool = False

    def __post_init__(self) -> None:
        if self.limit_gb is not None and not self.limit_gb > 0:
            raise LesionAugError(f"Expected a cache limit above 0 GB, got {self.limit_gb}; leave it out for none")
        if Path(self.path).is_file():
            raise LesionAugError(f"Expected a folder for the cache, got the file {self.path}; choose another path")

    def remembered(self, key: str, make: Callable[[], bytes], what: str) -> bytes:
        """What is kept under a key, or is made now and kept.

        Args:
            key: Of everything that it depends on.
            make: How to make it.
            what: It is, for the message.

        Raises:
            LesionAugError: It is not there, and only what is there was to be used.
        """
        payload = self.found(key)
        if payload is None and self.only:
            raise LesionAugError(
                f"Expected {what} in the cache {self.path} (cache_only=True), got no entry; fill it before, with the "
                f"same images, steps before this one, options and models: lesionaug cache fill --cache {self.path} "
                "--help, or SyntheticMSLesion.fill"
            )
        if payload is None:
            payload = make()
            put_or_warn(_store(self.path, self.limit_gb), key, payload)
        return payload

    def found(self, key: str) -> bytes | None:
        """What is kept under a key."""
        return _store(self.path, self.limit_gb).get(key)


def cache_choice(path: str | None, *, only: bool = False, limit_gb: float | None = None) -> CacheChoice | None:
    """The cache among a transform's arguments, if there is one.

    Raises:
        LesionAugError: There is none, but options of one.
    """
    if path is None and (only or limit_gb is not None):
        raise LesionAugError("Expected a cache for cache_only and cache_gb, got none; name its folder: cache='...'")
    return None if path is None else CacheChoice(path, limit_gb, only)


@lru_cache(maxsize=8)
def _store(path: str, limit_gb: float | None) -> Store:
    return FolderStore(Path(path), None if limit_gb is None else int(limit_gb * GB))


def plan_key(content: str, options: PlanOptions, prior: str | None, choice: ModelChoice, variant: int) -> str:
    """Of one of a scan's plans.

    Args:
        content: Of the scan, `ScanParts.content`.
        options: What is not left to the prior.
        prior: File of the prior, or the packaged one.
        choice: The models, which may differ in the contrasts they know.
        variant: Which of the plans.
    """
    about = {
        "plan of": content,
        "options": {name: _number(value) for name, value in asdict(options).items()},
        "prior": prior_digest(prior),
        "variant": variant,
    }
    return digest_of({**about, **_models(choice)})


def change_key(content: str, plan: Mapping[str, Any], choice: ModelChoice) -> str:
    """Of what rendering a plan (`LesionPlan.to_dict`) changes in a scan."""
    return digest_of({"change of": content, "plan": dict(plan), **_models(choice)})


def plan_seed(key: str) -> int:
    """Of the generator that a variant's plan is drawn with, so that it does not matter who draws it."""
    return int(key[:15], 16)


def plan_bytes(plan: LesionPlan) -> bytes:
    """A plan as it is kept."""
    return json.dumps(plan.to_dict()).encode()


def plan_from_bytes(payload: bytes) -> LesionPlan:
    """Inverse of `plan_bytes`."""
    return LesionPlan.from_dict(json.loads(payload))


@dataclass(frozen=True)
class VoxelChange:
    """New lesions with their halos, and the intensities in them; every other voxel of the scan stays.

    Args:
        indices: Of the voxels that change in the flattened volume, ascending, 64-bit.
        values: By channel, one per index, in the image's own type.
        labelled: Which of the indices are of new lesions; those of their halos are not.
    """

    indices: np.ndarray
    values: dict[str, np.ndarray]
    labelled: np.ndarray

    @property
    def lesions(self) -> np.ndarray:
        """Indices of the voxels of new lesions."""
        return self.indices[self.labelled]

    @classmethod
    def none(cls, channels: Iterable[str]) -> VoxelChange:
        """No new lesions."""
        return cls(np.zeros(0, np.int64), {channel: np.zeros(0, np.float32) for channel in channels}, np.zeros(0, bool))

    def to_bytes(self) -> bytes:
        """As it is kept: a line of JSON, then compressed numbers."""
        steps = np.diff(self.indices, prepend=0).astype("<u4")
        types = {channel: values.dtype.str for channel, values in self.values.items()}
        parts = [part.tobytes() for part in (steps, np.packbits(self.labelled), *self.values.values())]
        head = json.dumps({"voxels": len(steps), "types": types}).encode()
        return head + b"\n" + zlib.compress(b"".join(parts), COMPRESSION)

    @classmethod
    def from_bytes(cls, payload: bytes) -> VoxelChange:
        """Inverse of `to_bytes`."""
        line, _, packed = payload.partition(b"\n")
        head, content = json.loads(line), zlib.decompress(packed)
        voxels, types = head["voxels"], head["types"]
        indices = np.cumsum(np.frombuffer(content, "<u4", voxels), dtype=np.int64)
        start = 4 * voxels
        bits = np.frombuffer(content, np.uint8, -(-voxels // 8), start)
        values, start = {}, start + len(bits)
        for channel, kind in types.items():
            values[channel] = np.frombuffer(content, kind, voxels, start).copy()
            start += values[channel].nbytes
        return cls(indices, values, np.unpackbits(bits, count=voxels).astype(bool))


def changed_voxels(before: Scan, after: Scan) -> tuple[Tensor, Tensor]:
    """Where rendering has changed anything.

    Returns:
        Indices into the flattened volume, ascending, and which of them are of new lesions.
    """
    new = (after.lesion_mask & ~before.lesion_mask).reshape(-1)
    changed = new | (after.image != before.image).any(dim=0).reshape(-1)
    indices = torch.nonzero(changed).view(-1)
    return indices, new[indices]


def put_voxels(volume: Tensor, indices: np.ndarray, values: Tensor, *, in_place: bool) -> Tensor:
    """A volume with other values at some voxels.

    Args:
        volume: Of any type.
        indices: Into the flattened volume.
        values: One for each, or one for all.
        in_place: Whether the volume itself may be changed.
    """
    target = volume if in_place else volume.clone(memory_format=torch.contiguous_format)
    target.view(-1)[torch.from_numpy(indices)] = values.to(volume.dtype)
    return target


def _models(choice: ModelChoice) -> dict[str, Any]:
    # Not the device: what was filled on a GPU is there to be read without one.
    return {"digests": choice.digests(), "num_steps": choice.num_steps}


def _number(value: Any) -> Any:
    """Options that mean the same, written the same: 1 and 1.0, tuple and list."""
    if isinstance(value, tuple | list):
        return [_number(item) for item in value]
    return float(value) if isinstance(value, int | float) else value
