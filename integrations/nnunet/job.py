"""What a worker of `lesionaug nnunet prepare` does: variants of a preprocessed case, planned, rendered and kept.

case ──geometry──► host scan ──prior──► plan ──► render ──► VoxelChange: voxels, intensities, labels
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.geometry import case_affine
from lesionaug.integrations.nnunet.host import host_scan
from lesionaug.integrations.nnunet.prepared import Prepared, store_in
from lesionaug.integrations.nnunet.settings import NnunetSettings

from lesionaug.dataset.atomic import write_atomically
from lesionaug.dataset.cases import Case
from lesionaug.dataset.manifest import Failure, forget_failure, record_failure
from lesionaug.dataset.reasons import reason
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.loaded import loaded_prior, loaded_synthesizer
from lesionaug.scan import LesionPlan, Scan
from lesionaug.threads import torch_threads
from lesionaug.variants import VoxelChange, changed_voxels

PLANS = "plans"
"""Folder of a readable file for each variant: what was planned, and what came of it."""


@dataclass(frozen=True)
class Host:
    """A preprocessed case as it was read.

    Args:
        scan: Whole.
        seg: Segmentation, shape `(1, i, j, k)`.
    """

    scan: Scan
    seg: np.ndarray


@dataclass(frozen=True)
class VariantJob:
    """Makes variants of cases; plain data that can be sent to another process.

    Args:
        preprocessed: Folder of the cases.
        transpose: As in the plans.
        folder: Of the variants.
        prepared: What was begun there.
        settings: Of the lesions.
        roles: Of channels and labels.
        device: Where the networks run.
    """

    preprocessed: Path
    transpose: tuple[int, ...]
    folder: Path
    prepared: Prepared
    settings: NnunetSettings
    roles: Roles
    device: str

    def __call__(self, cases: Sequence[Case]) -> list[Failure | None]:
        """Make variants; what went wrong with each, in order."""
        return [self.make(case) for case in cases]

    def make(self, case: Case) -> Failure | None:
        """Make one variant, unless it is there, and write down why where it cannot be made."""
        try:
            if not self.has(case):
                with torch_threads(1):  # or bytes would depend on the machine's cores
                    self._render(case)
            forget_failure(self.folder, case.name)
        except Exception as error:  # one case of hundreds must not take the others with it
            return self.fail(case, *reason(error))
        return None

    def has(self, case: Case) -> bool:
        """Whether a variant is there, whole: after a power cut files may be there and empty."""
        return plan_file(self.folder, case).is_file() and store_in(self.folder).get(self._key(case)) is not None

    def fail(self, case: Case, error: str, trace: str = "") -> Failure | None:
        """Write down that a variant could not be made, unless it is there: somebody else was at it, and faster."""
        if self.has(case):
            return None
        failure = Failure(case.name, case.source.subject, case.variant, error, trace)
        record_failure(self.folder, failure)
        return failure

    def _key(self, case: Case) -> str:
        return self.prepared.key(case.source.subject, case.variant)

    def _render(self, case: Case) -> None:
        try:
            host = read_host(self.preprocessed, case.source.subject, self.transpose, self.roles)
        except LesionAugError as error:
            if self.settings.on_bad_scan == "error":
                raise
            self._put(case, LesionPlan(), VoxelChange.none(self.roles.names), [str(error)])
            return
        generator = torch.Generator().manual_seed(case.seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LesionAugWarning)
            plan = loaded_prior(self.settings.prior).sample(host.scan, generator, self.settings.case_options())
        synthesizer = loaded_synthesizer(self.settings.choice(self.device), self.settings.prior)
        change = change_of(host, synthesizer.render(host.scan, plan), self.roles)
        self._put(case, plan, change, [str(warning.message) for warning in caught])

    def _put(self, case: Case, plan: LesionPlan, change: VoxelChange, said: list[str]) -> None:
        write_atomically(plan_file(self.folder, case), _record(case, plan, change, said))
        # Last, as it is what makes the variant count.
        store_in(self.folder).put(self._key(case), change.to_bytes())


def plan_file(folder: Path, case: Case) -> Path:
    """Where it is told what a variant is."""
    return folder / PLANS / f"{case.name}.json"


def lesions_of(folder: Path, case: Case) -> int:
    """How many lesions a variant has that is there."""
    return len(json.loads(plan_file(folder, case).read_text())["plan"]["lesions"])


@lru_cache(maxsize=1)
def read_host(preprocessed: Path, case: str, transpose: tuple[int, ...], roles: Roles) -> Host:
    """A case, kept for its next variant: finding the anatomy takes longer than drawing lesions.

    Args:
        preprocessed: Folder of the cases.
        case: Its name.
        transpose: As in the plans.
        roles: Of channels and labels.

    Raises:
        LesionAugError: It cannot be worked with.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    dataset: Any = infer_dataset_class(str(preprocessed))(str(preprocessed), [case])
    data, seg, _, properties = dataset.load_case(case)
    data, seg = data[:], seg[:]
    affine = case_affine(properties, data.shape[1:], transpose)
    return Host(host_scan(data, seg, affine, roles), seg)


def change_of(host: Host, after: Scan, roles: Roles) -> VoxelChange:
    """What rendering has changed, and where a lesion is to be learned.

    Args:
        host: Before.
        after: With new lesions, and with their halos where they have any.
        roles: Of labels: what is to be ignored stays so.
    """
    indices, new = changed_voxels(host.scan, after)
    values = {name: image.reshape(-1)[indices].numpy() for name, image in zip(after.channels, after.image, strict=True)}
    seg = torch.from_numpy(np.asarray(host.seg, np.int16)).reshape(-1)[indices]
    return VoxelChange(indices.numpy(), values, (new & roles.writable(seg)).numpy())


def _record(case: Case, plan: LesionPlan, change: VoxelChange, said: list[str]) -> bytes:
    record = {
        "case": case.source.subject,
        "variant": case.variant,
        "seed": case.seed,
        "voxels": len(change.indices),
        "warnings": said,
        "plan": plan.to_dict(),
    }
    return (json.dumps(record) + "\n").encode()
