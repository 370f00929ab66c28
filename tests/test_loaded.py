"""Models and priors are loaded once, and again when their files are others."""

import json
import os
import shutil

import pytest

from lesionaug.loaded import ModelChoice, loaded_here, loaded_prior, prior_digest
from lesionaug.models.registry import PACKAGED
from lesionaug.prior import LesionPrior


@pytest.mark.parametrize("job", ["diffmask", "lefusion"])
def test_a_model_folder_that_is_written_anew_is_read_anew(tmp_path, job):
    folder = shutil.copytree(PACKAGED["default"][job], tmp_path / "model")
    choice = ModelChoice(**{job: str(folder)})
    first, digests = loaded_here(choice), choice.digests()
    assert loaded_here(choice) is first
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sigma_min": 0.3}))
    assert choice.digests() != digests
    assert loaded_here(choice) is not first


def test_a_prior_that_is_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "prior.json"
    LesionPrior.load().save(path)
    first, digest = loaded_prior(str(path)), prior_digest(str(path))
    assert loaded_prior(str(path)) is first
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "max_extent_mm": 21.0}))
    os.utime(path, ns=(1, 1))  # whatever the clock of the file system
    assert loaded_prior(str(path)).max_extent_mm == 21
    assert prior_digest(str(path)) != digest
