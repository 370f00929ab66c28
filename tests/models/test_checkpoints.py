import json

import pytest
import torch

from lesionaug.errors import LesionAugError
from lesionaug.models.checkpoints import CONFIG, WEIGHTS, load_config, load_model, save_model

CONFIGURATION = {"model": "diffmask", "architecture": "compact", "widths": [8, 16]}


def weights():
    shared = torch.arange(6.0).view(2, 3)
    return {"a": shared, "b": shared.T, "c": torch.tensor(3, dtype=torch.int64), "d": torch.ones(2).half()}


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model", CONFIGURATION, weights())
    return tmp_path / "model"


def test_what_was_saved_is_loaded(folder):
    config, state = load_model(folder)
    assert config == {**CONFIGURATION, "digest": config["digest"]}
    assert state.keys() == weights().keys()
    for key, tensor in weights().items():
        assert state[key].dtype == tensor.dtype
        assert torch.equal(state[key], tensor)


def test_same_weights_same_digest(folder, tmp_path):
    again = save_model(tmp_path / "again", CONFIGURATION, weights())
    assert again == load_config(folder)
    other = save_model(tmp_path / "other", CONFIGURATION, {**weights(), "a": torch.zeros(2, 3)})
    assert other["digest"] != again["digest"]


def test_saving_leaves_other_files_alone_and_none_of_its_own(folder):
    (folder / "README.md").write_text("a card")
    save_model(folder, CONFIGURATION, weights())
    assert {path.name for path in folder.iterdir()} == {"README.md", CONFIG, WEIGHTS}


def cut_weights(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-4])


def exchange_weights(folder):
    save_model(folder / "other", CONFIGURATION, {"a": torch.zeros(1)})
    (folder / "other" / WEIGHTS).rename(folder / WEIGHTS)


def drop_digest(folder):
    (folder / CONFIG).write_text(json.dumps(CONFIGURATION))


BROKEN = {
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), CONFIG),
    "cut weights": (cut_weights, "digest"),
    "weights of another model": (exchange_weights, "digest"),
    "no JSON": (lambda folder: (folder / CONFIG).write_text("{"), "JSON"),
    "not a dictionary": (lambda folder: (folder / CONFIG).write_text("[]"), "architecture"),
    "no digest": (drop_digest, "digest"),
}


@pytest.mark.parametrize(("damage", "named"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_folder_is_refused(folder, damage, named):
    damage(folder)
    with pytest.raises(LesionAugError, match=named):
        load_model(folder)


def test_weights_that_are_no_safetensors_are_refused(folder):
    from lesionaug.models.checkpoints import digest_of

    (folder / WEIGHTS).write_bytes(b"garbage")
    (folder / CONFIG).write_text(json.dumps({**CONFIGURATION, "digest": digest_of(b"garbage")}))
    with pytest.raises(LesionAugError, match="safetensors"):
        load_model(folder)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LesionAugError, match="written"):
        save_model(tmp_path / "file" / "model", CONFIGURATION, weights())
