import json

import pytest
import torch
from published_models import STEPS, published_file

from lesionaug.errors import LesionAugError
from lesionaug.models.base import Inpainter, MaskGenerator
from lesionaug.models.checkpoints import CONFIG
from lesionaug.models.conversion import convert_published
from lesionaug.models.registry import LOADERS, load_inpainter, load_mask_generator, model_digest

LOAD = {"diffmask": load_mask_generator, "lefusion": load_inpainter}
PROTOCOL = {"diffmask": MaskGenerator, "lefusion": Inpainter}
JOBS = pytest.mark.parametrize("job", LOAD)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for job in LOAD:
        convert_published(published_file(root / f"{job}.pt", job), job, root / job)
    return root


@JOBS
def test_a_converted_folder_does_its_job(folders, job):
    assert isinstance(LOAD[job](folders / job, device="cpu"), PROTOCOL[job])
    assert isinstance(LOAD[job](str(folders / job), device="cpu", num_steps=3), PROTOCOL[job])


@JOBS
def test_the_stand_ins_have_a_name_and_no_weights(job):
    assert isinstance(LOAD[job]("parametric", device="cpu"), PROTOCOL[job])
    assert model_digest("parametric", job) == "parametric"


@JOBS
def test_an_unknown_model_is_told_the_known_ones(tmp_path, job):
    for unknown in ("defualt", tmp_path, tmp_path / "nothing"):
        with pytest.raises(LesionAugError, match="default, parametric"):
            LOAD[job](unknown, device="cpu")
        with pytest.raises(LesionAugError, match="default, parametric"):
            model_digest(unknown, job)


@JOBS
def test_the_other_jobs_folder_is_refused(folders, job):
    (other,) = LOAD.keys() - {job}
    with pytest.raises(LesionAugError, match=f"a {job} model"):
        LOAD[job](folders / other, device="cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:99", "nonsense"])
@pytest.mark.parametrize("name", ["parametric", "default"])
def test_a_device_that_is_not_there_is_refused(name, device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    for load in LOAD.values():
        with pytest.raises(LesionAugError, match="cpu"):
            load(name, device=device)


def test_the_digest_follows_weights_and_settings(folders, tmp_path):
    seen = {model_digest(folders / "diffmask", "diffmask"), model_digest(folders / "lefusion", "lefusion")}
    checkpoint = published_file(tmp_path / "published.pt", "diffmask")
    convert_published(checkpoint, "diffmask", tmp_path / "ema", weights="ema")
    convert_published(checkpoint, "diffmask", tmp_path / "preset", preset="fork-as-sampled")
    seen |= {model_digest(tmp_path / name, "diffmask") for name in ("ema", "preset")}
    assert len(seen) == 4


@pytest.mark.parametrize("num_steps", [0, STEPS, 1000])
@JOBS
def test_a_number_of_steps_out_of_range_is_refused(folders, job, num_steps):
    with pytest.raises(LesionAugError, match=f"between 1 and {STEPS - 1}"):
        LOAD[job](folders / job, device="cpu", num_steps=num_steps)


def edited(folders, tmp_path, **changes):
    config = json.loads((folders / "diffmask" / CONFIG).read_text())
    (tmp_path / "weights.safetensors").write_bytes((folders / "diffmask" / "weights.safetensors").read_bytes())
    (tmp_path / CONFIG).write_text(json.dumps({**config, **changes}))
    return tmp_path


def test_a_setting_can_be_edited(folders, tmp_path):
    settings = json.loads((folders / "diffmask" / CONFIG).read_text())["settings"]
    folder = edited(folders, tmp_path, settings={**settings, "control_outside": -1.0})
    assert load_mask_generator(folder, device="cpu").config.control_outside == -1.0


def test_what_cannot_be_built_is_refused(folders, tmp_path):
    with pytest.raises(LesionAugError, match="compact, unet3d"):
        load_mask_generator(edited(folders, tmp_path, architecture="transformer"), device="cpu")
    with pytest.raises(LesionAugError, match="settings"):
        load_mask_generator(edited(folders, tmp_path, settings={"network": {}, "colour": 3}), device="cpu")
    with pytest.raises(LesionAugError, match="weights of"):
        load_mask_generator(edited(folders, tmp_path, settings={"network": {"dim": 16}}), device="cpu")


def test_every_loader_is_there():
    import importlib

    for target in LOADERS.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name).from_checkpoint)
