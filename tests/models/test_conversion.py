"""Published checkpoints become model folders, or an error that says what was expected and found."""

import pickle

import pytest
import torch
from golden_networks import FULL, PREFIX, checkpoint
from published_models import STEPS, published_content, published_file

from lesionaug.errors import LesionAugError
from lesionaug.models.checkpoints import load_model
from lesionaug.models.conversion import convert_published
from lesionaug.models.hub import local_file
from lesionaug.models.registry import load_mask_generator

JOBS = pytest.mark.parametrize("job", ["diffmask", "lefusion"])
WEIGHTS = pytest.mark.parametrize("weights", ["model", "ema"])


@JOBS
@WEIGHTS
@pytest.mark.parametrize("prefix", ["denoise_fn.module.", "denoise_fn."])
def test_weights_arrive(tmp_path, job, weights, prefix):
    source = published_file(tmp_path / "published.pt", job, prefix)
    written = convert_published(source, job, tmp_path / "out", weights=weights)
    config, state = load_model(tmp_path / "out")
    assert config == written
    assert (config["model"], config["architecture"], config["source"]["step"]) == (job, "unet3d", 7)
    expected = published_content(job, prefix="")[weights]
    assert all(torch.equal(tensor, expected[key]) for key, tensor in state.items())
    assert len(state) == len(expected) - 12


@JOBS
@WEIGHTS
@pytest.mark.realdata
def test_published_checkpoints(golden, tmp_path, job, weights):
    convert_published(golden / f"{job}_small.pt", job, tmp_path, weights=weights)
    config, state = load_model(tmp_path)
    published = checkpoint(golden, job)[weights]
    assert {PREFIX + key for key in state} == {key for key in published if key.startswith(PREFIX)}
    assert all(torch.equal(tensor, published[PREFIX + key]) for key, tensor in state.items())
    assert config["settings"]["network"]["dim"] == 8
    assert config["settings"]["network"]["dim_mults"] == list(FULL[job].dim_mults)
    assert config["settings"]["diffusion_steps"] == 300


class Malice:
    """Would leave a file behind if a reader ran it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_no_code_is_run(tmp_path):
    content = {**published_content("diffmask"), "extra": Malice(tmp_path / "harm")}
    torch.save(content, tmp_path / "bad.pt", pickle_module=pickle)
    with pytest.raises(LesionAugError, match="cannot be read"):
        convert_published(tmp_path / "bad.pt", "diffmask", tmp_path / "out")
    assert not (tmp_path / "harm").exists()


def edited(change):
    """Write a checkpoint after `change(content, state of the network)`."""

    def write(path):
        content = published_content("diffmask")
        content = change(content, content["model"]) or content
        torch.save(content, path)

    return write


def truncated(path):
    published_file(path, "diffmask")
    path.write_bytes(path.read_bytes()[:5000])


BAD = {
    "missing file": (lambda path: None, "no file"),
    "text": (lambda path: path.write_text("not a checkpoint"), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "truncated": (truncated, "cannot be read"),
    "a tensor": (lambda path: torch.save(torch.ones(3), path), "'model' and 'ema'.*Tensor"),
    "a bare state": (edited(lambda content, state: state), "'model' and 'ema'.*alphas_cumprod"),
    "no network": (
        edited(lambda content, state: {**content, "model": {"betas": state["betas"]}}),
        "denoise_fn",
    ),
    "no stem": (edited(lambda content, state: state.__delitem__(PREFIX + "init_conv.weight")), "init_conv.weight"),
    "missing key": (
        edited(lambda content, state: state.__delitem__(PREFIX + "mid_block1.mlp.1.bias")),
        "missing mid_block1.mlp.1.bias",
    ),
    "unknown key": (
        edited(lambda content, state: state.update({PREFIX + "another": torch.ones(1)})),
        "not known another",
    ),
    "wrong shape": (
        edited(lambda content, state: state.update({PREFIX + "time_mlp.1.bias": torch.ones(5)})),
        r"time_mlp.1.bias of shape \(32,\).*\(5,\)",
    ),
    "not finite": (
        edited(lambda content, state: state.update({PREFIX + "time_mlp.1.bias": torch.full((32,), torch.nan)})),
        "NaN",
    ),
    "no schedule": (edited(lambda content, state: state.__delitem__("betas")), "cosine schedule.*none"),
    "linear schedule": (
        edited(lambda content, state: state.update(betas=torch.linspace(1e-4, 0.02, STEPS))),
        "cosine schedule.*other",
    ),
    "the other model": (lambda path: published_file(path, "lefusion"), "diffmask network with 2 channels in"),
}


@pytest.mark.parametrize(("write", "named"), BAD.values(), ids=BAD)
def test_a_bad_checkpoint_is_refused_and_nothing_written(tmp_path, write, named):
    write(tmp_path / "bad.pt")
    with pytest.raises(LesionAugError, match=named):
        convert_published(tmp_path / "bad.pt", "diffmask", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("choice", "value"), [("weights", "best"), ("preset", "mine"), ("model", "gan")])
def test_an_unknown_choice_is_told_the_known_ones(tmp_path, choice, value):
    source = published_file(tmp_path / "published.pt", "diffmask")
    choices = {"model": "diffmask", choice: value}
    with pytest.raises(LesionAugError, match=f"among .*{value}"):
        convert_published(source, output=tmp_path / "out", **choices)


def test_from_the_hub(tmp_path):
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return str(published_file(tmp_path / "cached.pt", "diffmask"))

    address = "hf://org/repository/folder/model-6.pt"
    config = convert_published(address, "diffmask", tmp_path / "out", download=download)
    assert asked == [("org/repository", "folder/model-6.pt")]
    assert config["source"]["file"] == address
    load_mask_generator(tmp_path / "out", device="cpu")


def test_from_the_hubs_own_cache(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    revision = "0" * 40
    repository = tmp_path / "models--org--repository"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots" / revision).mkdir(parents=True)
    stored = published_file(repository / "snapshots" / revision / "model.pt", "diffmask")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert local_file("hf://org/repository/model.pt").read_bytes() == stored.read_bytes()
    with pytest.raises(LesionAugError, match=r"other.pt in org/repository"):
        local_file("hf://org/repository/other.pt")


def test_without_the_hubs_client(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(LesionAugError, match=r"lesionaug\[hub\]"):
        local_file("hf://org/repository/file.pt")


@pytest.mark.parametrize("address", ["hf://", "hf://org", "hf://org/repository", "hf://org/repository/"])
def test_an_incomplete_address_is_told_its_form(address):
    with pytest.raises(LesionAugError, match="hf://org/repository/file"):
        local_file(address)
