"""What an arm does to a training case before patches are cut from it: functions from a case to a scan.

Each gets the case, all cases that are trained on (donors of lesions), and where randomness comes from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.baselines import carvemix, copy_paste, donors_in
from benchmarks.downstream.cases import Case
from lesionaug.cache import RENDER_VERSION
from lesionaug.errors import LesionAugError
from lesionaug.fingerprint import fingerprint
from lesionaug.loaded import ModelChoice, loaded_prior, loaded_synthesizer
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import Scan
from lesionaug.store import FolderStore
from lesionaug.variants import VoxelChange, changed_voxels, put_voxels

Change = Callable[[Case, Sequence[Case], np.random.Generator], Scan]


def generator_of(change: Change) -> dict | None:
    """All that synthetic lesions of a change depend on besides the scan; none where `lesionaug` makes none."""
    return change.identity() if hasattr(change, "identity") else None


def unchanged(case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
    """The case as it is."""
    return case.scan


@dataclass(frozen=True)
class Sometimes:
    """A change with some probability, nothing otherwise."""

    change: Change
    probability: float

    def __call__(self, case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
        """See `Change`."""
        return (self.change if rng.random() < self.probability else unchanged)(case, cases, rng)

    def identity(self) -> dict | None:
        """See `generator_of`."""
        return generator_of(self.change)


@dataclass(frozen=True)
class CopyPaste:
    """Lesions of the other training patients; a single patient's own ones."""

    num_lesions: tuple[int, int]

    def __call__(self, case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
        """See `Change`."""
        donors = [donor for other in others(case, cases) for donor in _donors(other)]
        return copy_paste(case.scan, donors, rng, self.num_lesions)


def carve_and_mix(case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
    """CarveMix with another training patient, in the same place of the same space.

    Raises:
        LesionAugError: There is no other patient, or scans are not in one space.
    """
    donors = [other for other in cases if other.patient != case.patient]
    if not donors:
        raise LesionAugError("Expected two or more patients for CarveMix, got one; leave carvemix out")
    donor = donors[int(rng.integers(len(donors)))]
    if not np.allclose(donor.affine, case.affine, atol=1e-2):
        raise LesionAugError(
            f"Expected scans in one space for CarveMix, got {case.name} and {donor.name} with other affines; "
            "register them, to MNI space for example, or leave carvemix out"
        )
    return carvemix(case.scan, donor.scan, rng)


def others(case: Case, cases: Sequence[Case]) -> Sequence[Case]:
    """Cases of other patients, or all if there are none."""
    return [other for other in cases if other.patient != case.patient] or cases


_DONORS: dict[str, list] = {}


def _donors(case: Case) -> list:
    """Cut once per process; a case's name stands for one scan in a cohort, and a process has one cohort."""
    if case.name not in _DONORS:
        _DONORS[case.name] = donors_in(case.scan, case.patient)
    return _DONORS[case.name]


@dataclass(frozen=True)
class NewLesions:
    """Lesions of `lesionaug`, planned and rendered anew each time.

    Args:
        options: What is not left to the prior.
        models: Draw and paint.
        prior: File of a prior, or the packaged one.
        anywhere: Whether all eligible tissue is as likely to hold a lesion, wherever lesions usually are.
    """

    options: PlanOptions
    models: ModelChoice
    prior: Path | None = None
    anywhere: bool = False

    def __call__(self, case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
        """See `Change`."""
        synthesizer = loaded_synthesizer(self.models, str(self.prior) if self.prior else None)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        scan = replace(case.scan, eligible=(case.scan.eligible > 0).float()) if self.anywhere else case.scan
        return synthesizer.render(case.scan, synthesizer.plan(scan, generator, self.options))

    def identity(self) -> dict:
        """See `generator_of`."""
        prior = loaded_prior(str(self.prior) if self.prior else None).digest
        own = {**asdict(self.options), "anywhere": self.anywhere, **self.models.identity()}
        return {**own, "prior": prior, "version": RENDER_VERSION}


@dataclass(frozen=True)
class Variants:
    """New lesions out of a folder, where a fixed number of sets per case is rendered once and for all runs.

    Args:
        change: Makes them.
        folder: Where they are kept.
        count: Sets per case.
    """

    change: NewLesions
    folder: Path
    count: int

    def __call__(self, case: Case, cases: Sequence[Case], rng: np.random.Generator) -> Scan:
        """See `Change`."""
        return self.variant(case, int(rng.integers(self.count)))

    def identity(self) -> dict:
        """See `generator_of`."""
        return self.change.identity()

    def variant(self, case: Case, number: int) -> Scan:
        """A case with one of the sets."""
        return applied(case.scan, self.change_of(case, number))

    def change_of(self, case: Case, number: int) -> VoxelChange:
        """One of the sets."""
        # Seeds know nothing of models, halos and gates: arms that differ in these alone get the same plans.
        seed = _digest({"scan": _content(case.scan), "variant": number})
        key = _digest({"seed": seed, **self.change.identity()})
        store = FolderStore(self.folder)
        payload = store.get(key)
        if payload is None:
            after = self.change(case, (), np.random.default_rng(int(seed[:15], 16)))
            payload = difference(case.scan, after).to_bytes()
            store.put(key, payload)
        return VoxelChange.from_bytes(payload)


def difference(before: Scan, after: Scan) -> VoxelChange:
    """What has changed."""
    indices, labelled = changed_voxels(before, after)
    flat = after.image.reshape(len(after.channels), -1)[:, indices]
    values = {channel: row.numpy() for channel, row in zip(after.channels, flat, strict=True)}
    return VoxelChange(indices.numpy(), values, labelled.numpy())


def applied(scan: Scan, change: VoxelChange) -> Scan:
    """The scan with a change; inverse of `difference`."""
    image = torch.stack(
        [
            put_voxels(channel, change.indices, torch.from_numpy(change.values[name]), in_place=False)
            for name, channel in zip(scan.channels, scan.image, strict=True)
        ]
    )
    lesions = put_voxels(scan.lesion_mask, change.lesions, torch.tensor(True), in_place=False)
    return replace(scan, image=image, lesion_mask=lesions)


def _digest(about: dict) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=64)
def _image_content(image: torch.Tensor) -> str:
    return fingerprint(image)


def _content(scan: Scan) -> list[str]:
    """Tensors hash by identity, so a scan that stays in memory is read once."""
    return [_image_content(part) for part in (scan.image, scan.lesion_mask, scan.eligible, scan.brain)]
