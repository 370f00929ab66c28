"""Lesions of scans as numbers: of the data set's new ones, of its hosts' own, of real masks given for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lesionaug.anatomy.grids import checked_spacing
from lesionaug.contrast import measure
from lesionaug.errors import LesionAugError
from lesionaug.layouts.choice import find_scans
from lesionaug.layouts.core import NIFTI, SourceScan, patient_of, stem_of
from lesionaug.prior_fit import ObservedScan, lesion_regions, measure_lesions
from lesionaug.scan import REGIONS, Scan
from lesionaug.types import triple


@dataclass(frozen=True)
class Sample:
    """The lesions of one scan.

    Args:
        patient: Scans of one patient are alike.
        volume_mm3: Of each lesion of 3 mm3 or more.
        load_ml: Of all.
        regions: Of each lesion, where the brain is known.
        contrast: Per channel, of the lesions measured.
    """

    patient: str
    volume_mm3: tuple[float, ...]
    load_ml: float
    regions: tuple[str, ...] = ()
    contrast: dict[str, tuple[float, ...]] = field(default_factory=dict)


def new_lesions(lines: Iterable[dict]) -> list[Sample]:
    """What was added to each case."""
    return [_from_facts(line["patient"], line["new"]) for line in lines]


def own_lesions(lines: Iterable[dict]) -> list[Sample]:
    """What the hosts had, each source once; those without lesions are no sample of lesions."""
    sources = {line["source"]: line for line in lines if line["old"]["volume_mm3"]}
    return [_from_facts(line["patient"], line["old"]) for line in sources.values()]


def read_references(paths: Sequence[Path]) -> list[Sample]:
    """Real lesions, for comparison.

    Args:
        paths: Masks, or folders and tables of scans as `lesionaug generate` takes them.

    Raises:
        LesionAugError: There are none, or a file cannot be read.
    """
    scans = [scan for path in paths for scan in _scans(path.expanduser().absolute())]
    samples = [_measured(scan) for scan in scans if scan.lesions and not scan.partial]
    if paths and not samples:
        raise LesionAugError(f"Expected lesion masks, got none in {', '.join(map(str, paths))}; check the paths")
    return samples


def _from_facts(patient: str, facts: dict) -> Sample:
    contrast = {channel: tuple(values) for channel, values in facts["contrast"].items()}
    return Sample(patient, tuple(facts["volume_mm3"]), facts["load_ml"], tuple(facts["region"]), contrast)


def _scans(path: Path) -> list[SourceScan]:
    if not path.name.endswith(NIFTI):
        return find_scans(path)[1]
    name = stem_of(path).removesuffix("lesion").rstrip("_-.") or path.parent.name
    beside = path.with_name(path.name.replace("lesion", "brainmask"))
    brain = beside if beside != path and beside.is_file() else None
    return [SourceScan(name, patient_of(name), lesions=path, brain=brain)]


def _measured(scan: SourceScan) -> Sample:
    assert scan.lesions is not None
    seen = ObservedScan.read(scan.lesions, scan.brain, dict(scan.images) if scan.brain else None, scan.patient)
    lesions = measure_lesions(seen)
    names = ("elsewhere", *REGIONS)
    spacing = np.abs(np.linalg.det(seen.affine[:3, :3]))
    return Sample(
        patient=scan.patient,
        volume_mm3=tuple(lesions.volume_mm3.tolist()),
        load_ml=float(seen.lesions.sum() * spacing / 1000),
        regions=tuple(names[region] for region in lesion_regions(seen, lesions)) if scan.brain else (),
        contrast=_contrast(seen),
    )


def _contrast(seen: ObservedScan) -> dict[str, tuple[float, ...]]:
    if not seen.images or seen.brain is None:
        return {}
    channels = tuple(seen.images)
    image = torch.stack([torch.from_numpy(seen.images[channel]) for channel in channels])
    mask, brain = torch.from_numpy(seen.lesions)[None], torch.from_numpy(seen.brain)[None]
    unused = torch.zeros(mask.shape)
    scan = Scan(image, channels, mask, brain, unused, unused.byte(), triple(checked_spacing(seen.affine).tolist()))
    rows, _ = measure(scan, at_least=1)
    return {channel: tuple(float(row[index]) for row in rows) for index, channel in enumerate(channels)}
