"""Where lesions may be in a case, as one more channel of its segmentation: nnU-Net then crops it like everything else.

A crop says nothing of where in the head it was, so tissue and location are found in the whole case. That takes half a
second, once per case: the worker that loads a case first leaves its map in a file, which all later trainings read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import torch
from jaxtyping import Int16
from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.geometry import case_affine
from lesionaug.integrations.nnunet.host import host_scan
from lesionaug.integrations.nnunet.ledger import Ledger
from lesionaug.integrations.nnunet.places import side_folder
from lesionaug.integrations.nnunet.settings import OnBadScan
from torch import Tensor

from lesionaug.anatomy import Anatomy
from lesionaug.errors import LesionAugError
from lesionaug.scan import REGIONS, Scan

Codes = Int16[Tensor, "1 i j k"]

BRAIN = 1
ELIGIBLE = 2
LEVELS = 6000
"""Of weights in a region; all regions together fit into 16 bits."""

MAPS_VERSION = 3
"""Raise it when the same case gets another map."""


def encoded(scan: Scan) -> Codes:
    """Brain, eligible tissue and regions of a case as one number per voxel; 0 outside the brain.

    Args:
        scan: Of the whole case.
    """
    weight = scan.eligible / scan.eligible.max().clamp(min=1e-12)
    level = (weight * (LEVELS - 1)).round().to(torch.int16)
    eligible = ELIGIBLE + scan.regions.to(torch.int16) * LEVELS + level
    return torch.where((scan.eligible > 0) & scan.brain, eligible, scan.brain.to(torch.int16))


def decoded(codes: Codes) -> Anatomy:
    """Inverse of `encoded`, but for the weights' rounding and unit; voxels below 0 are outside.

    Args:
        codes: Of a case, or of any crop of it.
    """
    where = codes >= ELIGIBLE
    number = torch.where(where, codes - ELIGIBLE, 0)
    weight = torch.where(where, number % LEVELS + 1, 0).float() / LEVELS
    regions = torch.where(where, number // LEVELS, 0).clamp(max=len(REGIONS))
    return Anatomy(codes >= BRAIN, weight, regions.to(torch.uint8))


@dataclass(frozen=True)
class CaseMaps:
    """Maps of the preprocessed cases of one configuration, in files beside them.

    Args:
        preprocessed: Folder of the cases.
        transpose: `transpose_forward` of the plans.
        roles: Of channels and labels.
    """

    preprocessed: Path
    transpose: tuple[int, ...]
    roles: Roles

    def of(self, identifier: str, data: Any, segmentation: Any, properties: Mapping[str, Any]) -> Any:
        """Map of a case, read lazily; made now if there is none of this very preprocessing.

        Args:
            identifier: Of the case.
            data: Its images, as nnU-Net loads them.
            segmentation: Likewise.
            properties: Likewise.

        Raises:
            LesionAugError: When made now: a case in which no brain can be found; its map, which is empty, is there.
        """
        path = self._path(identifier)
        if not path.exists():
            self._make(path, data[:], segmentation[:], properties)
        return blosc2.open(str(path), dparams={"nthreads": 1}, **_read_only())

    def forget(self, identifier: str) -> None:
        """Make the map of a case anew the next time."""
        self._path(identifier).unlink(missing_ok=True)

    def _path(self, identifier: str) -> Path:
        stored = (self.preprocessed / f"{identifier}.pkl").stat()
        facts = {"case": [stored.st_size, stored.st_mtime_ns], "roles": asdict(self.roles), "version": MAPS_VERSION}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
        return side_folder(self.preprocessed) / "maps" / f"{identifier}-{digest}.b2nd"

    def _make(self, path: Path, data: np.ndarray, segmentation: np.ndarray, properties: Mapping[str, Any]) -> None:
        try:
            affine = case_affine(properties, data.shape[1:], self.transpose)
            codes = encoded(host_scan(data, segmentation, affine, self.roles)).numpy()
        except LesionAugError:
            # True of the case, so it is kept; whatever else stops this, Ctrl-C included, says nothing of it.
            _write(path, np.zeros(segmentation[:1].shape, np.int16))
            raise
        _write(path, codes)


@dataclass(frozen=True)
class WithMaps:
    """nnU-Net's dataset, whose segmentations have a second channel: the map.

    Args:
        dataset: nnU-Net's own.
        maps: Of its cases.
        ledger: Told about cases without a map.
        on_bad_scan: Whether these are an `error`, or get no lesions.
    """

    dataset: Any
    maps: CaseMaps
    ledger: Ledger
    on_bad_scan: OnBadScan = "skip"

    @property
    def identifiers(self) -> list[str]:
        """Of the cases."""
        return self.dataset.identifiers

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Images, segmentation with map, segmentation of the previous stage, properties.

        Raises:
            LesionAugError: No brain can be found in a case, and that is an error.
        """
        data, segmentation, previous, properties = self.dataset.load_case(identifier)
        try:
            codes = self.maps.of(identifier, data, segmentation, properties)
        except LesionAugError as error:
            if self.on_bad_scan == "error":
                self.maps.forget(identifier)
                raise
            self.ledger.add(none="case without a brain that can be found", case=identifier, error=str(error))
            codes = self.maps.of(identifier, data, segmentation, properties)
        return data, Stacked(segmentation, codes), previous, properties


@dataclass(frozen=True)
class Stacked:
    """Two arrays of one shape, channel after channel; only what is asked for is read.

    Args:
        first: Shape `(channels, i, j, k)`.
        second: Likewise.
    """

    first: Any
    second: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Of both together."""
        return (self.first.shape[0] + self.second.shape[0], *self.first.shape[1:])

    @property
    def ndim(self) -> int:
        """Four."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """That holds both."""
        return np.promote_types(self.first.dtype, self.second.dtype)

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        """A box of all channels."""
        return np.concatenate([np.asarray(part[index], self.dtype) for part in (self.first, self.second)])


def _write(path: Path, codes: np.ndarray) -> None:
    """Whole or not at all: several workers may load the same case first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=".b2nd")
    os.close(descriptor)
    try:
        stored: Any = codes  # blosc2 takes NumPy's arrays, and its annotations do not say so
        blosc2.asarray(stored, urlpath=partial, mode="w", cparams={"nthreads": 1})
        os.replace(partial, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)


def _read_only() -> dict[str, Any]:
    return {"mode": "r"} if os.name == "nt" else {"mode": "r", "mmap_mode": "r"}
