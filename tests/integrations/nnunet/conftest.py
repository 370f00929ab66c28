"""Two preprocessed datasets, and trainers for them that train for seconds."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from nnunet_dataset import CONFIGURATION, Folders
from runtimes import TESTS, living_in, new_runtime

from lesionaug.loaded import ModelChoice
from lesionaug.serving import pool
from lesionaug.serving.starting import RenderServer

collect_ignore_glob = [] if find_spec("nnunetv2") else ["*"]


@pytest.fixture(scope="session")
def home():
    """Where render servers live."""
    with new_runtime() as folder:
        yield folder


@pytest.fixture
def runtime(home):
    """Where they live, and for the length of a test everybody knows it."""
    with living_in(home):
        yield home


@pytest.fixture(scope="session")
def server(home):
    """Serves the parametric pair to all trainings that do not start their own."""
    server = RenderServer(ModelChoice(model="parametric"))
    with living_in(home):
        server.__enter__()
    yield server
    pool.close_all()
    server.stop()


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """`plain` with one label, `regions` with two."""
    root = tmp_path_factory.mktemp("nnunet")
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    program = [sys.executable, str(TESTS / "nnunet_dataset.py"), str(root)]
    subprocess.run(program, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True)
    return root


@pytest.fixture
def dataset_name():
    """Of the dataset that `folders` has; tests may parametrize it."""
    return "plain"


@pytest.fixture
def folders(datasets, dataset_name, tmp_path, monkeypatch, runtime):
    """nnU-Net's folders, with results of this test alone, and nnU-Net in one process."""
    found = Folders(datasets / dataset_name / "raw", datasets / dataset_name / "preprocessed", tmp_path / "results")
    found.results.mkdir()
    for name, value in {**found.environment(), "nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"}.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def settings(tmp_path, monkeypatch, server):
    """Writes the file of settings; without a call they are those of the parametric pair, live, from one server."""
    usual = {"mode": "live", "model": "parametric", "probability": 1.0, "server": server.address}

    def write(**given):
        path = tmp_path / "settings.json"
        path.write_text(json.dumps({**usual, **given}))
        monkeypatch.setenv("LESIONAUG_NNUNET_CONFIG", str(path))
        return path

    write()
    return write


@pytest.fixture
def make_trainer(folders, settings, monkeypatch):
    """Trainers of this dataset by name, with epochs of two iterations; all are ended."""
    import torch
    from lesionaug.integrations.nnunet.compat import make_torchvision_importable
    from lesionaug.integrations.nnunet.programs import extension_folder

    make_torchvision_importable()
    monkeypatch.setenv("nnUNet_extTrainer", str(extension_folder()))
    from nnunetv2.run.run_training import get_trainer_from_args

    made = []

    def make(name="nnUNetTrainerSyntheticMSLesion", fold=0, epochs=1, configuration=CONFIGURATION):
        trainer = get_trainer_from_args("501", configuration, fold, name, device=torch.device("cpu"))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = epochs, 2, 1
        trainer.initialize()
        made.append(trainer)
        return trainer

    yield make
    for trainer in made:
        if trainer.lesion_training:
            trainer.lesion_training.close()
