"""The examples of the documentation run as they stand there."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from scan_files import write_phantom

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NEEDS = {"lightning_training": "pytorch_lightning", "monai_training": "monai"}
SAYS = {
    "plain_torch": "epoch 1: loss",
    "lightning_training": "validation loss",
    "torchio_patches": "patches (8, 2, 24, 24, 24)",
    "monai_training": "epoch 1: loss",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    paths = write_phantom(tmp_path_factory.mktemp("scan"))
    return [part for role, path in paths.items() for part in (f"--{role}", str(path))]


AS_A_SCRIPT = """
import runpy, sys
from pathlib import Path
from lesionaug.integrations.nnunet.compat import make_torchvision_importable

make_torchvision_importable()
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Lightning imports the torchvision that nnU-Net's tests install."""


def run(name, files, *more):
    words = [sys.executable, "-c", AS_A_SCRIPT, str(EXAMPLES / f"{name}.py"), *files, *map(str, more)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_is_run_and_listed():
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == set(SAYS)
    listed = (EXAMPLES / "README.md").read_text()
    assert all(f"({name}.py)" in listed for name in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_it_trains_and_fills_its_cache(name, files, tmp_path):
    if find_spec(NEEDS.get(name, "torch")) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    out = run(name, files, "--model", "parametric", "--cache", tmp_path / "cache")
    assert SAYS[name] in out
    assert list((tmp_path / "cache").rglob("*.lesions"))
