"""One thread, shape checks on every annotated function, and the folders of material that is not part of the project."""

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded, here and in every process that a test starts

import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)  # should something have loaded torch before

# Where annotations exist at run time and hold for every argument; elsewhere they are for readers and type checkers.
CHECKED = [
    "lesionaug.diffusion",
    "lesionaug.intensity",
    "lesionaug.models.base",
    "lesionaug.models.control",
    "lesionaug.models.conversion",
    "lesionaug.models.published",
    "lesionaug.networks.attention",
    "lesionaug.networks.unet3d",
]
install_import_hook(CHECKED, "typechecking.check")

PROJECT = Path(__file__).parents[1]


def _folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"no {path.name} folder; LESIONAUG_SHARED says where its parent is")
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real scans and published tensors; its tests are skipped where there is none."""
    return _folder(Path(os.environ.get("LESIONAUG_SHARED", PROJECT.parent / "shared")))


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """Tensors of the published implementation."""
    return _folder(shared / "golden")
