"""What nnU-Net is given and asked is what it understands; training it takes hours and is not tested."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("nnunetv2", reason="nnU-Net is an extra")
pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from lesionaug.integrations.nnunet.settings import CONFIG, read_settings
from scan_files import write_nifti
from scans import small_scan

from benchmarks.downstream.arms import Lesions, all_arms
from benchmarks.downstream.cases import Case
from benchmarks.downstream.nnunet import (
    DATASET,
    Nnunet,
    commands,
    masks_by_nnunet,
    read_predictions,
    training_scans,
    write_raw,
    write_settings,
)
from benchmarks.downstream.runs import Run
from lesionaug.errors import LesionAugError

LESIONS = Lesions(model="parametric", num_lesions=(1, 2), variants=2)
SETTINGS = Nnunet(copies=2, device="cpu")


def run_of(arm: str) -> Run:
    return Run(arm, "all", 2, 0, 0)


@pytest.fixture(scope="module")
def cases():
    return tuple(Case(name, name, small_scan(seed), np.diag((1, 1, 1, 1.0))) for seed, name in enumerate("ab"))


def test_arms_are_trainers_or_copies(cases, tmp_path):
    arms = all_arms(LESIONS, tmp_path)
    names = {
        name: [made for made, *_ in training_scans(run_of(name), arms[name], cases, cases[:1], SETTINGS)]
        for name in ("none", "heavy", "lesionaug_live", "lesionaug", "synthetic_only")
    }
    assert names["none"] == names["heavy"] == names["lesionaug_live"] == ["a", "b"]
    assert names["lesionaug"] == ["a", "b", "a_copy000", "b_copy000", "a_copy001", "b_copy001"]
    assert names["synthetic_only"] == ["a_copy000", "a_copy001"]
    with pytest.raises(LesionAugError, match="one phase"):
        list(training_scans(run_of("pretrain"), arms["pretrain"], cases, cases, SETTINGS))


def test_raw_data_are_what_nnunet_verifies(cases, tmp_path):
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    arm = all_arms(LESIONS, tmp_path)["lesionaug"]
    training = list(training_scans(run_of("lesionaug"), arm, cases, (), SETTINGS))
    write_raw(tmp_path / DATASET, training, cases)
    verify_dataset_integrity(str(tmp_path / DATASET), num_processes=1)
    assert json.loads((tmp_path / DATASET / "dataset.json").read_text())["numTraining"] == 6
    assert len(list((tmp_path / DATASET / "imagesTs").iterdir())) == 4


@pytest.mark.parametrize(("arm", "epochs"), [("none", "_100epochs"), ("heavy", ""), ("lesionaug_live", "_100epochs")])
def test_trainers_exist(arm, epochs):
    from lesionaug.integrations.nnunet.compat import make_torchvision_importable

    make_torchvision_importable()
    from lesionaug.integrations.nnunet.extension import lesionaug_trainers
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation import nnUNetTrainerDA5
    from nnunetv2.training.nnUNetTrainer.variants.training_length import nnUNetTrainer_Xepochs

    name = Nnunet(epochs=epochs).trainer(arm)
    assert any(hasattr(module, name) for module in (lesionaug_trainers, nnUNetTrainerDA5, nnUNetTrainer_Xepochs))


def test_every_command_names_data_set_configuration_and_device(tmp_path):
    plan, train, predict = commands(run_of("lesionaug_live"), SETTINGS, tmp_path)
    assert "901" in plan
    for command in (train, predict):
        assert {"901", "3d_fullres", "nnUNetTrainerSyntheticMSLesion", "cpu"} <= set(command)
    with pytest.raises(LesionAugError, match="whole schedule"):
        commands(run_of("heavy"), Nnunet(epochs="_100epochs"), tmp_path)


def test_predictions_are_read_back_and_checked(cases, tmp_path):
    expected = {}
    for case in cases:
        expected[case.name] = torch.rand(case.scan.shape).numpy() > 0.9
        write_nifti(tmp_path / f"{case.name}.nii.gz", expected[case.name].astype(np.uint8), case.affine)
    found = read_predictions(tmp_path, cases)
    assert all(np.array_equal(found[name], mask) for name, mask in expected.items())
    write_nifti(tmp_path / "b.nii.gz", np.ones((3, 4, 5), np.uint8), np.eye(4))
    with pytest.raises(LesionAugError, match="prediction of"):
        read_predictions(tmp_path, cases)


@pytest.mark.slow
def test_a_command_that_fails_is_shown(cases, tmp_path):
    arm = all_arms(LESIONS, tmp_path)["none"]
    settings = replace(SETTINGS, configuration="4d_fullres")
    with pytest.raises(LesionAugError, match=r"exit code .*see .*log"):
        masks_by_nnunet(run_of("none"), arm, Lesions(), cases, (), cases, settings, tmp_path)


def test_trainers_are_told_how_lesions_are_made(tmp_path, monkeypatch):
    lesions = Lesions(lefusion="models/lefusion", probability=0.25, num_steps=2)
    monkeypatch.setenv(CONFIG, str(write_settings(lesions, tmp_path)))
    settings = read_settings({})
    assert (settings.mode, settings.lefusion, settings.probability) == ("live", "models/lefusion", 0.25)
    assert (settings.num_steps, settings.diffmask) == (2, None)
