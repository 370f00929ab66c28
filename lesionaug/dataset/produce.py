"""One case: what `lesionaug synthesize` does to a scan, as bytes that nobody has written yet."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lesionaug.checks import binary_mask
from lesionaug.dataset.cases import Case
from lesionaug.dataset.facts import lesion_facts
from lesionaug.dataset.hosts import Host, host_of, paths_of
from lesionaug.dataset.place import PLAN_FILE
from lesionaug.dataset.settings import Settings
from lesionaug.errors import LesionAugWarning
from lesionaug.files import ScanFiles, plan_files, with_outputs
from lesionaug.io import mask_like, nifti_bytes
from lesionaug.loaded import loaded_synthesizer
from lesionaug.record import Record, missed_load
from lesionaug.scan import LesionPlan
from lesionaug.synthesis import left_out
from lesionaug.types import Instances

LESION, NEW, INSTANCES = "lesion.nii.gz", "new_lesion.nii.gz", "instances.nii.gz"
"""Labels of a case: old and new lesions; the new alone; the new numbered."""


@dataclass(frozen=True)
class Product:
    """A case that is ready to be written.

    Args:
        records: By name, as of `lesionaug synthesize`; `lesionaug replay` makes their files again.
        files: Content by name: channels and labels.
        facts: About the lesions, for the manifest.
    """

    records: dict[str, Record]
    files: dict[str, bytes]
    facts: dict


@dataclass(frozen=True)
class Drawn:
    """A plan rendered into a host.

    Args:
        outputs: Content by name of the files that a replay makes.
        labels: Of the labels that were asked for besides, or must be of another kind.
        numbers: Which lesion a voxel belongs to.
        facts: About the lesions that are new.
        left_out: Places in the plan of lesions that the gate has left out.
    """

    outputs: dict[str, bytes]
    labels: dict[str, bytes]
    numbers: Instances
    facts: dict
    left_out: tuple[int, ...]

    @property
    def files(self) -> dict[str, bytes]:
        """All of them."""
        return {**self.outputs, **self.labels}


def produce(case: Case, settings: Settings, *, binary_label: bool) -> Product:
    """Plan and render a case.

    Args:
        case: To make.
        settings: Of the data set.
        binary_label: Whether lesions are to be 1 in the label, whatever they are in the source's.

    Raises:
        LesionAugError: Its files cannot be used.
    """
    host = host_of(case.source, settings)
    record, told = planned(case, settings, host)
    drawn = draw(LesionPlan.from_dict(record.plan), host.files, settings, binary_label=binary_label)
    record = with_outputs(record, drawn.outputs, drawn.left_out)
    missed = missed_load(record, drawn.facts["load_ml"])
    told += [missed] if missed else []
    facts = {"channels": list(host.files.images), "new": drawn.facts, **host.facts, "warnings": told}
    return Product({PLAN_FILE: record}, drawn.files, facts)


def planned(case: Case, settings: Settings, host: Host) -> tuple[Record, list[str]]:
    """The record of a case that has no outputs yet, and what was warned of."""
    paths = paths_of(case.source, settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LesionAugWarning)
        record = plan_files(paths, Path("/"), host.files, case.seed, settings.options, settings.models, settings.prior)
    return record, [str(warning.message) for warning in caught]


def draw(
    plan: LesionPlan,
    files: ScanFiles,
    settings: Settings,
    *,
    binary_label: bool,
    numbers: Sequence[int] | None = None,
) -> Drawn:
    """Render a plan, and make files of it.

    Args:
        plan: Of the lesions.
        files: Of the host.
        settings: Of the data set.
        binary_label: As for `produce`.
        numbers: Of each lesion, where not that of its place in the plan.
    """
    after, instances = loaded_synthesizer(settings.models, settings.prior).render_instances(files.scan, plan)
    missing = left_out(plan, instances)
    instances = renumbered(instances, numbers) if numbers is not None else instances
    values, kinds = instances[0].numpy(), {}
    if settings.new_only:
        kinds[NEW] = label_bytes(files, values > 0)
    if settings.instances:
        kinds[INSTANCES] = label_bytes(files, values, np.int16)
    if binary_label and binary_mask(files.lesions.data, files.lesions.name)[1] != 1:
        kinds[LESION] = label_bytes(files, after.lesion_mask[0].numpy())
    new = after.lesion_mask & ~files.scan.lesion_mask
    facts = {**lesion_facts(after, new, files.affine), "left_out": len(missing)}
    return Drawn(files.outputs(after), kinds, instances, facts, missing)


def renumbered(instances: Instances, numbers: Sequence[int]) -> Instances:
    """Instances with other numbers.

    Args:
        instances: As of `LesionSynthesizer.render_instances`.
        numbers: New number of the lesion that is 1, 2 and so on now.

    Example:
        >>> renumbered(torch.tensor([[[[0, 1, 2]]]]), (4, 7)).tolist()
        [[[[0, 4, 7]]]]
    """
    return torch.tensor((0, *numbers), dtype=torch.int32)[instances.long()]


def label_bytes(files: ScanFiles, values: np.ndarray, kind: type = np.uint8) -> bytes:
    """A new label on the grid of the scan, of its own type and without scaling."""
    like = mask_like(next(iter(files.images.values())), kind)
    return nifti_bytes(like, values.astype(np.float32), values > 0)
