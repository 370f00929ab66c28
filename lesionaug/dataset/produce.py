"""One case: what `lesionaug synthesize` does to a scan, as bytes that nobody has written yet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from lesionaug.checks import binary_mask
from lesionaug.dataset.cases import Case
from lesionaug.dataset.facts import lesion_facts, room_facts
from lesionaug.dataset.instances import Instances, render_instances
from lesionaug.dataset.settings import Settings
from lesionaug.dataset.sources import restricted
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.files import ScanFiles, plan_files, read_scan, with_outputs
from lesionaug.io import mask_like, nifti_bytes
from lesionaug.layouts.core import SourceScan
from lesionaug.loaded import loaded_synthesizer
from lesionaug.record import Record
from lesionaug.scan import LesionPlan

LESION, NEW, INSTANCES = "lesion.nii.gz", "new_lesion.nii.gz", "instances.nii.gz"
"""Labels of a case: old and new lesions; the new alone; the new numbered."""


@dataclass(frozen=True)
class Host:
    """A source as it was read.

    Args:
        files: Its scan.
        facts: About its own lesions, and where there is room for others.
    """

    files: ScanFiles
    facts: dict


@dataclass(frozen=True)
class Product:
    """A case that is ready to be written.

    Args:
        record: As of `lesionaug synthesize`; `lesionaug replay` makes its files again.
        files: Content by name: channels and labels.
        facts: About the lesions, for the manifest.
    """

    record: Record
    files: dict[str, bytes]
    facts: dict


def produce(case: Case, settings: Settings, *, binary_label: bool) -> Product:
    """Plan and render a case.

    Args:
        case: To make.
        settings: Of the data set.
        binary_label: Whether lesions are to be 1 in the label, whatever they are in the source's.

    Raises:
        LesionAugError: Its files cannot be used.
    """
    host = _read(tuple(sorted(_checked_paths(case.source, settings).items())))
    files = host.files
    _check_label(case.source, files)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LesionAugWarning)
        record = _planned(case, settings, files)
    plan = LesionPlan.from_dict(record.plan)
    after, numbers = render_instances(loaded_synthesizer(settings.models, settings.prior), files.scan, plan)
    outputs = files.outputs(after)
    new = lesion_facts(after, after.lesion_mask & ~files.scan.lesion_mask, files.affine)
    facts = {
        "channels": list(after.channels),
        "new": new,
        **host.facts,
        "warnings": [str(warning.message) for warning in caught],
    }
    extra = _labels(files, numbers, settings)
    if binary_label and binary_mask(files.lesions.data, files.lesions.name)[1] != 1:
        extra[LESION] = _label(files, after.lesion_mask.numpy()[0].astype(np.uint8), np.uint8)
    return Product(with_outputs(record, outputs), {**outputs, **extra}, facts)


def roles_of(source: SourceScan) -> dict[str, Path]:
    """Files of a source, as `lesionaug.files.read_scan` takes them."""
    lesions = {"lesions": source.lesions} if source.lesions else {}
    return {**source.images, **lesions, **source.guides}


@lru_cache(maxsize=1)
def _read(paths: tuple[tuple[str, Path], ...]) -> Host:
    """A source, kept for its next variant: finding the anatomy takes longer than drawing lesions."""
    files = read_scan(dict(paths))
    own = lesion_facts(files.scan, files.scan.lesion_mask, files.affine)
    return Host(files, {"old": own, "room": room_facts(files.scan, files.affine)})


def _checked_paths(source: SourceScan, settings: Settings) -> dict[str, Path]:
    if missing := [channel for channel in settings.channels or () if channel not in source.images]:
        raise LesionAugError(
            f"Expected {', '.join(settings.channels or ())} of every scan, got no {', '.join(missing)} of "
            f"{source.subject}; leave the scan or the channel out (--channels)"
        )
    return roles_of(restricted(source, settings.channels))


def _check_label(source: SourceScan, files: ScanFiles) -> None:
    """The one value in the label is one that stands for lesions."""
    mask, value = binary_mask(files.lesions.data, files.lesions.name)
    if source.lesion_values and mask.any() and int(value) not in source.lesion_values:
        raise LesionAugError(
            f"Expected lesions to be {' or '.join(map(str, source.lesion_values))} in the label, got {value:g} in "
            f"{files.lesions.name}; make a label of lesions alone"
        )


def _planned(case: Case, settings: Settings, files: ScanFiles) -> Record:
    paths = roles_of(restricted(case.source, settings.channels))
    return plan_files(paths, Path("/"), files, case.seed, settings.options, settings.models, settings.prior)


def _labels(files: ScanFiles, numbers: Instances, settings: Settings) -> dict[str, bytes]:
    labels: Mapping[str, tuple[bool, type]] = {
        NEW: (settings.new_only, np.uint8),
        INSTANCES: (settings.instances, np.int16),
    }
    values = numbers[0].numpy()
    new = {NEW: values > 0, INSTANCES: values}
    return {name: _label(files, new[name], kind) for name, (wanted, kind) in labels.items() if wanted}


def _label(files: ScanFiles, values: np.ndarray, kind: type) -> bytes:
    """A new label on the grid of the scan, of its own type and without scaling."""
    like = mask_like(next(iter(files.images.values())), kind)
    return nifti_bytes(like, values.astype(np.float32), values > 0)
