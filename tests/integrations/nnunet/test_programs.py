"""`lesionaug nnunet`: paths, bad input, and once from training to prediction with nnU-Net's own commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from lesionaug.integrations.nnunet.places import configuration_of, side_folder
from nnunet_dataset import CASES, CONFIGURATION, NAME, case_name

from lesionaug.cli import main
from lesionaug.errors import LesionAugError

SHORT = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerShort(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 2, 1
"""
"""A trainer of the user's own, in a folder of their own."""


def test_path_has_the_trainers(capsys):
    assert main(["nnunet", "path"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert [path.name for path in folder.glob("*.py") if path.name != "__init__.py"] == ["lesionaug_trainers.py"]


def test_path_needs_no_torch():
    code = "import sys; from lesionaug.cli import main; main(['nnunet', 'path']); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["777", CONFIGURATION, "0"], f"there: {NAME}"),
        (["501", "3d_fullres", "0"], f"among {CONFIGURATION}"),
        (["501", CONFIGURATION, "0", "-p", "nnUNetResEncUNetMPlans"], "nnUNetv2_plan_and_preprocess -d 501"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(folders, capsys, arguments, said):
    assert main(["nnunet", "train", *arguments, "-device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_an_unknown_program(capsys):
    assert main(["nnunet", "plan"]) == 2
    assert "path, prepare, train, predict" in capsys.readouterr().err


def test_nnunet_must_know_its_folders(monkeypatch, folders):
    monkeypatch.delenv("nnUNet_preprocessed")
    with pytest.raises(LesionAugError, match="nnUNet_preprocessed"):
        configuration_of("501", CONFIGURATION)


def test_a_configuration_without_cases(folders, tmp_path, monkeypatch):
    base = tmp_path / NAME
    base.mkdir()
    for name in ("nnUNetPlans.json", "dataset.json"):
        (base / name).write_bytes((folders.preprocessed / NAME / name).read_bytes())
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    with pytest.raises(LesionAugError, match=f"nnUNetv2_preprocess -d 501 .*-c {CONFIGURATION}"):
        configuration_of("501", CONFIGURATION)


@pytest.mark.parametrize("dataset", ["501", NAME])
def test_a_dataset_by_number_and_by_name(folders, dataset):
    found = configuration_of(dataset, CONFIGURATION)
    assert found.folder == folders.cases
    assert found.transpose == (0, 1, 2)
    assert side_folder(found.folder).parent.parent == folders.preprocessed / NAME


def call(command: list[str], **environment: str) -> str:
    """Output of a command that must succeed."""
    binaries = Path(sys.executable).parent
    result = subprocess.run(
        [str(binaries / command[0]), *command[1:]],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.mark.slow
def test_from_training_to_prediction(folders, settings, tmp_path):
    own = tmp_path / "own trainers"
    own.mkdir()
    (own / "short.py").write_text(SHORT)
    trainer = "nnUNetTrainerShortSyntheticMSLesion"
    out = call(
        ["lesionaug", "nnunet", "train", "501", CONFIGURATION, "0", "-tr", trainer, "-device", "cpu"],
        nnUNet_extTrainer=str(own),
        nnUNet_n_proc_DA="2",
    )
    assert "Mean Validation Dice" in out
    trained = folders.results / NAME / f"{trainer}__nnUNetPlans__{CONFIGURATION}"
    (record,) = (trained / "fold_0" / "synthetic_lesions").glob("*.json")
    assert json.loads(record.read_text())["counts"]["lesions"] > 0

    validation = trained / "fold_0" / "validation"
    (validation / "summary.json").unlink()
    again = ["lesionaug", "nnunet", "train", "501", CONFIGURATION, "0", "-tr", trainer, "-device", "cpu"]
    validated = call([*again, "--val", "--npz"], nnUNet_extTrainer=str(own))
    assert "Epoch" not in validated, "nothing is trained"
    assert (validation / "summary.json").exists()
    assert list(validation.glob("*.npz")), "probabilities for ensembles"

    # The checkpoint names the user's trainer, so predicting needs their folder and nothing of lesionaug.
    images, predicted = folders.raw / NAME / "imagesTr", tmp_path / "predicted"
    call(
        ["lesionaug", "nnunet", "predict", "-d", "501", "-c", CONFIGURATION, "-f", "0", "-tr", trainer,
         "-i", str(images), "-o", str(predicted), "-device", "cpu", "-npp", "1", "-nps", "1"],
        nnUNet_extTrainer=str(own),
    )  # fmt: skip
    for number in range(CASES):
        label = np.asarray(nib.load(predicted / f"{case_name(number)}.nii.gz").dataobj)
        assert set(np.unique(label)) <= {0, 1}

    best = ["501", "-c", CONFIGURATION, "-f", "0", "-tr", trainer, "-np", "1", "--disable_ensembling"]
    assert "nnUNetv2_predict" in call(["nnUNetv2_find_best_configuration", *best])
