"""nnU-Net's own trainers, for real and in seconds: what they train on, what they validate on, what they leave."""

import json
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_dataset import CONFIGURATION, NAME, case_name, record_of

from lesionaug.errors import LesionAugError


def seeds(trainer):
    return [line["seed"] for line in record_of(trainer)[1]]


def test_a_training(make_trainer):
    trainer = make_trainer()
    trainer.run_training()
    record, lines = record_of(trainer)
    assert len(trainer.logger.get_value("train_losses", None)) == 1
    assert record["mode"] == "live"
    assert record["roles"]["channels"] == [["flair", 1], ["t1w", 0]]
    assert record["settings"]["probability"] == 1
    assert record["models"] == {"diffmask": "parametric", "lefusion": "parametric", "num_steps": None}
    assert {"lesionaug", "torch", "nnunetv2"} <= set(record["versions"])
    assert record["counts"]["lesions"] == sum(line["lesions"] for line in lines) > 0
    assert record["counts"]["samples"] >= 4
    log = Path(trainer.log_file).read_text()
    assert "Synthetic lesions: live, probability 1, channels flair (1), t1w (0), label 1" in log
    assert f"Synthetic lesions: {record['counts']['lesions']} in {record['counts']['samples']} samples" in log


def test_what_is_validated_on_has_no_synthetic_lesions(make_trainer):
    trainer = make_trainer()
    _, loader = trainer.get_dataloaders()
    before = seeds(trainer)
    validated = [next(loader) for _ in range(4)]
    assert {key for batch in validated for key in batch["keys"]} == {case_name(0)}
    _, validation = trainer.get_tr_and_val_datasets()
    images, segmentation, _, _ = validation.load_case(case_name(0))
    stored = Path(trainer.preprocessed_dataset_folder) / case_name(0)
    plain = type(validation)(str(stored.parent), [case_name(0)]).load_case(case_name(0))
    assert np.array_equal(images[:], plain[0][:])
    assert np.array_equal(segmentation[:], plain[1][:])
    assert seeds(trainer) == before


def test_fold_all_validates_on_the_cases_as_they_are(make_trainer):
    trainer = make_trainer(fold="all")
    trainer.get_dataloaders()
    training, validation = trainer.get_tr_and_val_datasets()
    assert training.load_case(case_name(1))[1].shape[0] == 2
    assert validation.load_case(case_name(1))[1].shape[0] == 1


def test_workers_that_were_forked_have_lesions_of_their_own(make_trainer, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")
    trainer = make_trainer()
    training, validation = trainer.get_dataloaders()
    try:
        for _ in range(5):
            next(training)
    finally:
        training._finish()
        validation._finish()
    drawn = seeds(trainer)
    assert len(drawn) >= 10
    assert len(set(drawn)) == len(drawn)


def test_the_schedule_switches_lesions_off(make_trainer, settings):
    settings(schedule=[[0, 1], [0.5, 0]])
    trainer = make_trainer(epochs=2)
    trainer.run_training()
    log = Path(trainer.log_file).read_text()
    assert log.count("Synthetic lesions: 0 in 0 samples") == 1
    assert len(seeds(trainer)) <= 2 * (2 + 1) + 2


@pytest.mark.parametrize("name", ["nnUNetTrainerDA5", "nnUNetTrainerNoDA", "nnUNetTrainer_noDummy2DDA"])
def test_other_trainers_are_themselves_with_lesions(make_trainer, name):
    trainer = make_trainer(f"{name}SyntheticMSLesion")
    batch = next(trainer.get_dataloaders()[0])
    assert name in [kind.__name__ for kind in type(trainer).__mro__]
    assert batch["data"].shape[2:] == tuple(trainer.configuration_manager.patch_size)
    assert seeds(trainer)
    assert pickle.loads(pickle.dumps(type(trainer))) is type(trainer)


def test_there_is_no_trainer_of_that_name(make_trainer):
    with pytest.raises(RuntimeError, match="nnUNetTrainerUnheardOf"):
        make_trainer("nnUNetTrainerUnheardOfSyntheticMSLesion")


@pytest.mark.parametrize("dataset_name", ["regions"])
def test_regions(make_trainer, settings, dataset_name):
    settings(lesion_label="right")
    trainer = make_trainer()
    trainer.run_training()
    record, lines = record_of(trainer)
    assert record["roles"]["lesion"] == 2
    assert sum(line["lesions"] for line in lines)


@pytest.mark.parametrize("plain", [True, False])
def test_a_checkpoint_names_a_trainer_that_stock_nnunet_knows(make_trainer, settings, plain):
    settings(plain_checkpoint=plain)
    trainer = make_trainer()
    trainer.run_training()
    checkpoint = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == ("nnUNetTrainer" if plain else "nnUNetTrainerSyntheticMSLesion")
    assert checkpoint["lesionaug"]["models"]["diffmask"] == "parametric"
    assert not list(Path(trainer.output_folder).glob("*.partial"))


def test_a_checkpoint_that_is_cut_off_leaves_the_earlier_one(make_trainer, monkeypatch):
    trainer = make_trainer()
    trainer.run_training()
    path = Path(trainer.output_folder) / "checkpoint_final.pth"

    def cut_off(content, file, **options):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_checkpoint(str(path))
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.partial"))


def test_a_training_goes_on_where_it_was_stopped(make_trainer):
    trainer = make_trainer(epochs=3)

    def stopped(batch):
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt
        return type(trainer).train_step(trainer, batch)

    trainer.train_step = stopped
    with pytest.raises(KeyboardInterrupt):
        trainer.run_training()
    again = make_trainer(epochs=3)
    again.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    assert again.current_epoch == 2
    again.run_training()
    assert len(again.logger.get_value("train_losses", None)) == 3
    assert len(list((Path(again.output_folder) / "synthetic_lesions").glob("*.json"))) == 2


OWN_SERVER = {"server": None, "num_steps": 2}  # for the one of all tests is of this process, too


def test_the_render_server_lives_as_long_as_the_training(make_trainer, settings, server):
    settings(**OWN_SERVER)
    trainer = make_trainer()
    trainer.get_dataloaders()
    address = Path(trainer.lesion_training.source.address)
    assert address.is_dir()
    assert str(address) != server.address
    trainer.run_training()
    assert not address.exists()


@pytest.mark.slow
def test_a_killed_server_is_started_again(make_trainer, settings):
    settings(**OWN_SERVER)
    trainer = make_trainer()
    loader, _ = trainer.get_dataloaders()
    address = Path(trainer.lesion_training.source.address)
    os.kill(int((address / "pid").read_text()), signal.SIGKILL)
    before = len(seeds(trainer))
    next(loader)
    assert sum(line["lesions"] for line in record_of(trainer)[1][before:]) > 0


def test_a_server_that_is_gone_for_good_costs_lesions_and_not_the_training(make_trainer, settings):
    settings(**OWN_SERVER)
    trainer = make_trainer()
    loader, _ = trainer.get_dataloaders()
    trainer.lesion_training.source.close()
    batch = next(loader)
    assert batch["data"].isfinite().all()
    assert record_of(trainer)[1][-1]["none"] == "cannot be rendered"


@pytest.mark.slow
def test_a_server_that_is_gone_stops_training_where_that_is_asked_for_and_epochs_are_kept(make_trainer, settings):
    settings(**OWN_SERVER, on_late="error")
    trainer = make_trainer(epochs=3)

    def without_server(batch):
        if trainer.current_epoch == 1:
            trainer.lesion_training.source.close()
        return type(trainer).train_step(trainer, batch)

    trainer.train_step = without_server
    with pytest.raises(LesionAugError, match="lesionaug serve"):
        trainer.run_training()
    checkpoint = torch.load(Path(trainer.output_folder) / "checkpoint_latest.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 1


def test_a_server_of_other_models_is_refused(make_trainer, settings):
    settings(num_steps=3)
    with pytest.raises(LesionAugError, match="num_steps"):
        make_trainer().get_dataloaders()


def test_validation_cases_called_like_subjects_of_the_models_are_named(make_trainer, monkeypatch):
    trainer = make_trainer()
    trainer.get_dataloaders()
    training = trainer.lesion_training
    training.settings = replace(training.settings, model="default")
    training.warn_of_leakage(["phantom_000"])
    assert "WARNING: validation" not in Path(trainer.log_file).read_text()
    training.warn_of_leakage(["center2_patient-07"])
    assert "validation case center2_patient-07 is called like patient07" in Path(trainer.log_file).read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patch_size": [40, 32]}, "three-dimensional configuration"),
        ({"spacing": [12.0, 1.0, 1.0]}, "spacings from 0.4 to 10.0 mm"),
    ],
)
def test_configurations_that_live_lesions_are_not_for(make_trainer, change, said):
    trainer = make_trainer()
    trainer.configuration_manager.configuration.update(change)
    with pytest.raises(LesionAugError, match=said):
        trainer.get_dataloaders()


def test_thick_slices_are_augmented_in_two_dimensions_after_the_lesions(make_trainer):
    trainer = make_trainer()
    trainer.configuration_manager.configuration["patch_size"] = [8, 40, 32]
    batch = next(trainer.get_dataloaders()[0])
    assert "do_dummy_2d_data_aug: True" in Path(trainer.log_file).read_text()
    assert batch["data"].shape[2:] == (8, 40, 32)
    assert seeds(trainer)


def test_channels_that_nobody_can_tell(make_trainer, folders):
    trainer = make_trainer()
    trainer.dataset_json["channel_names"] = {"0": "zscore", "1": "nonorm"}
    with pytest.raises(LesionAugError, match="0: zscore, 1: nonorm"):
        trainer.get_dataloaders()


def test_settings_in_the_plans(make_trainer, server, monkeypatch):
    monkeypatch.delenv("LESIONAUG_NNUNET_CONFIG")
    trainer = make_trainer()
    given = {"model": "parametric", "probability": 0.0, "mode": "live", "server": server.address}
    trainer.plans_manager.plans["lesionaug"] = given
    next(trainer.get_dataloaders()[0])
    assert not seeds(trainer)


def test_cached_without_anything_prepared(make_trainer, settings):
    settings(mode="cached")
    with pytest.raises(LesionAugError, match="lesionaug nnunet prepare"):
        make_trainer().get_dataloaders()


def test_the_plans_are_left_as_they_were(make_trainer, folders):
    make_trainer().run_training()
    written = folders.results / NAME / f"nnUNetTrainerSyntheticMSLesion__nnUNetPlans__{CONFIGURATION}" / "plans.json"
    assert json.loads(written.read_text()) == json.loads((folders.preprocessed / NAME / "nnUNetPlans.json").read_text())
