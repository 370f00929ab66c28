"""Small networks with the weights of the published implementation's test checkpoints."""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from lesionaug.networks.unet3d import Unet3D, Unet3DConfig

PREFIX = "denoise_fn.module."
SMALL = {
    "diffmask": Unet3DConfig(dim=8, in_channels=2),
    "lefusion": Unet3DConfig(dim=8, condition_size=16),
}
FULL = {
    "diffmask": Unet3DConfig(in_channels=2),
    "lefusion": Unet3DConfig(condition_size=16),
}


@cache
def checkpoint(golden: Path, job: str) -> dict:
    return torch.load(golden / f"{job}_small.pt", weights_only=True)


def network(golden: Path, job: str, weights: str = "model") -> Unet3D:
    state = checkpoint(golden, job)[weights]
    net = Unet3D(SMALL[job])
    net.load_state_dict({key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)})
    return net.eval()


def frozen(golden: Path, job: str, weights: str = "model") -> Unet3D:
    return network(golden, job, weights).requires_grad_(False)


def tensors(golden: Path, name: str) -> dict[str, Tensor]:
    """A safetensors file, masks and spheres as the floats that networks take."""
    loaded = load_file(golden / f"{name}.safetensors")
    return {key: value.float() if value.dtype == torch.int8 else value for key, value in loaded.items()}


def numbers(golden: Path, name: str) -> dict:
    return json.loads((golden / f"{name}.json").read_text())


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
