"""Cohorts of scans on disk: the imaged patients at hand, and whole data sets in any layout that `lesionaug` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from benchmarks.downstream.cases import Case, Cohort, Fold, leave_one_patient_out, remembering
from benchmarks.realism.hosts import HEALTHY, HostScan, load_host
from lesionaug.anatomy import Anatomy
from lesionaug.assemble import assemble_scan
from lesionaug.dataset.hosts import roles_of
from lesionaug.dataset.sources import restricted
from lesionaug.errors import LesionAugError
from lesionaug.files import read_scan
from lesionaug.layouts.choice import LayoutName, find_scans
from lesionaug.layouts.core import SourceScan

PILOT = ("patient07", "patient19", "P14_T1", "P14_T2", "P14_T3", "P18_T1")
"""All scans of the shared data with a mask of all lesions: four patients, one of them at three times."""


@dataclass(frozen=True)
class Pilot:
    """Imaged patients of the shared data, each tested once with networks trained on others.

    Args:
        scans: Their names; what comes before an underscore is the patient.
        channels: Contrasts; healthy scans are tested if they have them.
    """

    scans: tuple[str, ...] = PILOT
    channels: tuple[str, ...] = ("flair",)


def pilot_cohort(pilot: Pilot) -> Cohort:
    """Leave one patient out. A pilot: so few patients establish nothing but large effects."""
    patients = {name: name.split("_")[0] for name in pilot.scans}
    return Cohort(
        name=f"pilot: {len(set(patients.values()))} imaged patients, leave one out",
        load=remembering(lambda name: case_of_host(load_host(name, pilot.channels))),
        patients=patients,
        folds=leave_one_patient_out(patients),
        healthy_test=(HEALTHY,) if pilot.channels == ("flair",) else (),
    )


def case_of_host(host: HostScan, *, only_tested: bool = False) -> Case:
    """A scan of the realism benchmark, with axes to right, anterior, superior: so those in MNI space share a grid.

    Args:
        host: The scan.
        only_tested: Whether it gets no lesions: then its own mask says what is brain, and no anatomy is looked for.
    """
    lesions, affine = _turned(host.lesions.astype(np.uint8), host.affine)
    images = {channel: _turned(image, host.affine)[0] for channel, image in host.images.items()}
    anatomy = _brain_alone(_turned(host.brain.astype(np.uint8), host.affine)[0]) if only_tested else None
    scan = assemble_scan(images, affine, lesions > 0, anatomy=anatomy)
    return Case(host.name, host.patient, scan, affine)


def _brain_alone(brain: torch.Tensor) -> Anatomy:
    return Anatomy(brain > 0, brain.float(), torch.zeros_like(brain))


def _turned(volume: np.ndarray, affine: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    image = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
    return torch.from_numpy(np.ascontiguousarray(image.dataobj))[None], np.array(image.affine)


@dataclass(frozen=True)
class Source:
    """A data set on disk.

    Args:
        root: Its folder, or a table.
        layout: How files are named.
        channels: Contrasts that every scan has.
        test: Patients to test on, by name; the rest is the pool.
        test_share: Share of the patients to test on where none are named, drawn once for all.
        healthy: Folder of healthy scans to count false lesions in.
    """

    root: Path = Path("data")
    layout: LayoutName = "auto"
    channels: tuple[str, ...] = ("flair", "t1w")
    test: tuple[str, ...] = ()
    test_share: float = 0.4
    healthy: Path | None = None


def source_cohort(source: Source) -> Cohort:
    """The labelled scans of a data set, patients to train and others to test.

    Raises:
        LesionAugError: There is no such data set, it has too few patients, or a test patient is not in it.
    """
    layout, scans = find_scans(source.root, source.layout)
    labelled = {scan.subject: scan for scan in scans if scan.lesions is not None and not scan.partial}
    healthy = {scan.subject: scan for scan in (find_scans(source.healthy)[1] if source.healthy else [])}
    if twice := sorted(set(labelled) & set(healthy)):
        raise LesionAugError(f"Expected other names of healthy scans than of patients', got {', '.join(twice)} in both")
    patients = {name: scan.patient for name, scan in labelled.items()}
    test = tested_patients(sorted(set(patients.values())), source)
    return Cohort(
        name=f"{layout}: {len(set(patients.values()))} patients, {len(test)} of them tested",
        load=remembering(lambda name: case_of_source({**labelled, **healthy}[name], source.channels)),
        patients=patients,
        folds=(_split(patients, test),),
        healthy_test=tuple(healthy),
    )


def tested_patients(patients: Sequence[str], source: Source) -> set[str]:
    """Those named, or a share of all; the same for the same patients."""
    if unknown := set(source.test) - set(patients):
        raise LesionAugError(f"Expected test patients of {source.root}, got {', '.join(sorted(unknown))}; correct them")
    if source.test:
        return set(source.test)
    count = round(source.test_share * len(patients))
    return set(np.random.default_rng(0).permutation(patients)[:count].tolist())


def _split(patients: dict[str, str], test: set[str]) -> Fold:
    pool = tuple(name for name, patient in patients.items() if patient not in test)
    return Fold("all", pool, tuple(name for name, patient in patients.items() if patient in test))


def case_of_source(source: SourceScan, channels: tuple[str, ...]) -> Case:
    """A scan of a data set.

    Raises:
        LesionAugError: It lacks a channel, or files cannot be used.
    """
    if missing := [channel for channel in channels if channel not in source.images]:
        raise LesionAugError(f"Expected {', '.join(channels)} of {source.subject}, got no {', '.join(missing)}")
    files = read_scan(roles_of(restricted(source, channels)))
    return Case(source.subject, source.patient, files.scan, files.affine)
