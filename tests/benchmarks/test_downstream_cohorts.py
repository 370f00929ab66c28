"""Cohorts keep patients apart, simulated truth is what was painted, and protocols start from the command line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from phantoms import brain_phantom
from scan_files import write_nifti

from benchmarks.downstream.__main__ import main
from benchmarks.downstream.appearance import Scanner, scanned, severities
from benchmarks.downstream.files import Pilot, Source, pilot_cohort, source_cohort
from benchmarks.downstream.simulated import CANVAS, Simulation, simulated_case, simulated_cohort
from lesionaug.anatomy.labels import TISSUES
from lesionaug.errors import LesionAugError

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "docs" / "slurm" / "downstream.sbatch"
SHARP = Scanner(tissue_shift=0, texture=(0, 0), severity=(1, 1), core_shift=0, blur_mm=(1e-3, 1e-3), bias=(0, 0))


@pytest.fixture(scope="module")
def phantom():
    return brain_phantom()


@pytest.fixture
def data_set(tmp_path, phantom):
    """MSLesSeg as it is published, of phantoms."""
    for patient, time in (("P1", "T1"), ("P1", "T2"), ("P2", "T1"), ("P3", "T1"), ("P4", "T1"), ("P5", "T1")):
        folder = tmp_path / patient / time
        folder.mkdir(parents=True)
        images = {"FLAIR": phantom.images["flair"], "T1": phantom.images["t1w"], "MASK": phantom.lesion_mask[0].byte()}
        for kind, image in images.items():
            write_nifti(folder / f"{patient}_{time}_{kind}.nii.gz", image.numpy(), phantom.affine)
    return tmp_path


def test_a_data_set_is_split_by_patient(data_set):
    cohort = source_cohort(Source(data_set, "mslesseg"))
    (fold,) = cohort.folds
    assert len(fold.pool) + len(fold.test) == 6
    assert len({cohort.patients[name] for name in fold.test}) == 2
    assert source_cohort(Source(data_set, "mslesseg")).folds == cohort.folds
    named = source_cohort(Source(data_set, "mslesseg", test=("P1",)))
    assert named.folds[0].test == ("P1_T1", "P1_T2")
    (case,) = named.cases(["P1_T2"])
    assert (case.patient, case.scan.channels) == ("P1", ("flair", "t1w"))
    assert case.scan.lesion_mask.any()


def test_bad_data_sets_are_refused(data_set):
    with pytest.raises(LesionAugError, match="got P9"):
        source_cohort(Source(data_set, "mslesseg", test=("P9",)))
    with pytest.raises(LesionAugError, match="none; give more patients"):
        source_cohort(Source(data_set, "mslesseg", test_share=1.0))
    cohort = source_cohort(Source(data_set, "mslesseg", channels=("flair", "t2w")))
    with pytest.raises(LesionAugError, match="got no t2w"):
        cohort.load("P1_T1")
    with pytest.raises(LesionAugError, match="got nothing at"):
        source_cohort(Source(data_set / "nowhere"))


def test_lesions_are_mixtures_of_tissue_and_core(phantom):
    lesions = phantom.lesion_mask[0].numpy()
    image = scanned(phantom.labels, lesions, "flair", SHARP, np.random.default_rng(0))
    brain = np.isin(phantom.labels, TISSUES["brain"])
    assert (image[~brain] == 0).all()
    white = np.isin(phantom.labels, TISSUES["white"]) & ~lesions
    level = np.median(image[white])
    assert np.median(image[lesions]) / level == pytest.approx(1.75, rel=0.06)
    assert np.median(image[np.isin(phantom.labels, TISSUES["ventricles"])]) / level == pytest.approx(0.3, rel=0.1)
    weight = severities(lesions, Scanner(), np.random.default_rng(0))
    assert (weight[~lesions] == 0).all()
    assert (weight[lesions] > 0).all()


@pytest.mark.realdata
def test_simulated_patients_share_neither_brain_nor_lesions(shared):
    cohort = simulated_cohort(Simulation())
    names = (*cohort.patients, *cohort.healthy_test)
    assert len({name[-2:] for name in names}) == len(names)
    with pytest.raises(LesionAugError, match="label maps, got 20"):
        simulated_cohort(Simulation(pool=20))


@pytest.mark.slow
@pytest.mark.realdata
def test_a_simulated_case_is_the_same_each_time_with_lesions_in_white_matter(shared):
    simulation = Simulation(channels=("flair", "t1w"))
    cohort = simulated_cohort(simulation)
    case, again = cohort.load("sim00"), simulated_cohort(simulation).load("sim00")
    assert torch.equal(case.scan.image, again.scan.image)
    assert case.scan.shape == CANVAS
    assert not (case.scan.lesion_mask & ~case.scan.brain).any()
    flair, t1w = (image[case.scan.lesion_mask[0]].median() for image in case.scan.image)
    around = case.scan.brain[0] & (case.scan.eligible[0] > 0) & ~case.scan.lesion_mask[0]
    assert flair > case.scan.image[0][around].median()
    assert t1w < case.scan.image[1][around].median()
    healthy = simulated_case("host00", sorted((shared / "data" / "anatomy").glob("*.nii.gz"))[0], None, simulation)
    assert not healthy.scan.lesion_mask.any()


@pytest.mark.realdata
def test_the_pilot_leaves_patients_out_with_all_their_time_points(shared):
    cohort = pilot_cohort(Pilot())
    assert [fold.name for fold in cohort.folds] == ["P14", "P18", "patient07", "patient19"]
    assert cohort.folds[0].test == ("P14_T1", "P14_T2", "P14_T3")


def test_protocols_say_what_is_wrong(tmp_path):
    with pytest.raises(SystemExit, match="error: Expected a folder of scans"):
        main(["mslesseg", "--cohort.root", str(tmp_path / "nowhere")])


@pytest.mark.slow
def test_an_array_does_all_runs_once(data_set, tmp_path):
    options = ["--cohort.root", str(data_set), "--study.patients", "1", "--study.dry-run"]
    parts = [submit("mslesseg", tmp_path / "out", *options, part=part) for part in (0, 1)]
    assert all(part.returncode == 0 for part in parts), parts[0].stderr
    first, second = (part.stdout.split() for part in parts)
    # Five arms, for CarveMix needs two patients; draws that are different people; two seeds.
    assert len(first) + len(second) == len({*first, *second}) == 5 * 3 * 2
    assert not (tmp_path / "out").exists()


def test_the_array_explains_itself():
    done = submit("mslesseg")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: sbatch")


def submit(*words: object, part: int = 0) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    array = {"SLURM_ARRAY_TASK_ID": str(part), "SLURM_ARRAY_TASK_COUNT": "2"}
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, words)],
        env={**os.environ, **array, "PATH": path},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
