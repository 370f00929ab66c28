"""From a published `.pt` to a model folder. Nothing in the file is run: it is read as tensors or refused.

A published checkpoint is a dictionary with two state dictionaries, `model` and `ema`. Each holds twelve schedule
tables and the network under `denoise_fn.`, or `denoise_fn.module.` when it was trained data-parallel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lesionaug.diffusion.schedules import cosine_betas
from lesionaug.errors import LesionAugError
from lesionaug.models.checkpoints import Config, digest_of, save_model
from lesionaug.models.hub import SCHEME, Download, local_file
from lesionaug.models.published_config import DIFFMASK_PRESETS, LEFUSION_PRESETS
from lesionaug.networks.unet3d import Unet3D, Unet3DConfig

PREFIX = "denoise_fn."
PARALLEL = "module."
WEIGHTS = ("model", "ema")
PRESETS = {"diffmask": DIFFMASK_PRESETS, "lefusion": LEFUSION_PRESETS}
LISTED = 5  # keys an error message names


def convert_published(
    checkpoint: str | Path,
    model: str,
    output: str | Path,
    *,
    weights: str = "model",
    preset: str = "fork",
    download: Download | None = None,
) -> Config:
    """Write a published checkpoint as a model folder.

    Args:
        checkpoint: A `.pt` file, or `hf://org/repository/file`.
        model: `diffmask` or `lefusion`.
        output: Folder to write.
        weights: `model`, those of the last step, or `ema`, their running average.
        preset: Which of `PRESETS` of that model; every value can be changed in `config.json` afterwards.
        download: How to fetch from the Hub, instead of with huggingface_hub.

    Returns:
        The configuration as written.

    Raises:
        LesionAugError: The file is no such checkpoint; the message says what was expected and found.
    """
    _check_choice("a model", model, PRESETS)
    _check_choice("a preset", preset, PRESETS[model])
    _check_choice("weights", weights, WEIGHTS)
    settings = PRESETS[model][preset]
    path = local_file(checkpoint, download)
    content = read_published(path)
    state = content[weights]
    network = network_state(state, path)
    size = network_size(network, path)
    check_network(network, size, path)
    check_job(size, settings.network, model, path)
    settings = replace(settings, network=size, diffusion_steps=check_schedule(state, path))
    source = {
        "file": str(checkpoint) if str(checkpoint).startswith(SCHEME) else path.name,
        "sha256": digest_of(path.read_bytes()),
        "step": content.get("step"),
        "weights": weights,
        "preset": preset,
    }
    config = {"model": model, "architecture": "unet3d", "settings": asdict(settings), "source": source}
    return save_model(output, config, network)


def read_published(path: Path) -> dict[str, Any]:
    """The dictionary in a `.pt` file.

    Raises:
        LesionAugError: There is no such file, it is damaged, or it holds more than tensors and numbers.
    """
    if not path.is_file():
        raise LesionAugError(f"Expected a checkpoint file, got no file {path}; check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is none can break the reader anywhere, and its advice is to run the file
        raise LesionAugError(
            f"Expected a whole PyTorch checkpoint of tensors in {path}, got one that cannot be read as that "
            f"({type(error).__name__}); check that it is the file you mean, or download it again"
        ) from error
    found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not all(isinstance(content.get(name), dict) for name in WEIGHTS):
        raise LesionAugError(
            f"Expected 'model' and 'ema' in {path}, got {_some(found)}; this is no published checkpoint"
        )
    return content


def network_state(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The network's part of a published state dictionary, without prefix."""
    network = {
        key.removeprefix(PREFIX).removeprefix(PARALLEL): tensor
        for key, tensor in state.items()
        if key.startswith(PREFIX)
    }
    if not network:
        raise LesionAugError(
            f"Expected keys that start with {PREFIX!r} in {path}, got {_some(list(state))}; this is no such model"
        )
    return network


def network_size(network: dict[str, Tensor], path: Path) -> Unet3DConfig:
    """Size of a network, from the shapes of its weights."""
    try:
        dim, in_channels = network["init_conv.weight"].shape[:2]
        levels = len({key.split(".")[1] for key in network if key.startswith("downs.")})
        widths = [len(network[f"downs.{level}.0.block1.norm.weight"]) for level in range(levels)]
        out_channels = len(network["final_conv.1.weight"])
    except (KeyError, ValueError) as error:
        raise LesionAugError(
            f"Expected the published network in {path}, got no {error}; the file is incomplete or another model's"
        ) from error
    null = network.get("null_cond_emb")
    return Unet3DConfig(
        dim=dim,
        dim_mults=tuple(width // dim for width in widths),
        in_channels=in_channels,
        out_channels=out_channels,
        condition_size=0 if null is None else null.shape[-1],
    )


def check_network(network: dict[str, Tensor], size: Unet3DConfig, path: Path) -> None:
    """Every weight is there, of the right shape, and finite.

    Raises:
        LesionAugError: One is not.
    """
    with torch.device("meta"):
        expected = Unet3D(size).state_dict()
    missing, unexpected = expected.keys() - network.keys(), network.keys() - expected.keys()
    if missing or unexpected:
        raise LesionAugError(
            f"Expected the {len(expected)} weights of the published network in {path}, got {len(network)}: "
            f"missing {_some(sorted(missing))}; not known {_some(sorted(unexpected))}; download the file again"
        )
    for key, tensor in network.items():
        if tensor.shape != expected[key].shape:
            raise LesionAugError(
                f"Expected {key} of shape {tuple(expected[key].shape)} in {path}, got {tuple(tensor.shape)}; "
                "download the file again"
            )
        if not tensor.isfinite().all():
            raise LesionAugError(
                f"Expected finite weights in {path}, got NaN or infinity in {key}; choose another checkpoint"
            )


def check_job(size: Unet3DConfig, published: Unet3DConfig, model: str, path: Path) -> None:
    """The network has the inputs and outputs of its job.

    Raises:
        LesionAugError: It has others.
    """
    wanted, found = (
        f"{config.in_channels} channels in, {config.out_channels} out and {config.condition_size} condition numbers"
        for config in (published, size)
    )
    if wanted != found:
        raise LesionAugError(
            f"Expected a {model} network with {wanted} in {path}, got {found}; give the model this file is of"
        )


def check_schedule(state: dict[str, Tensor], path: Path) -> int:
    """Number of steps of the schedule, which must be the cosine one.

    Raises:
        LesionAugError: It is missing or another.
    """
    betas = state.get("betas")
    if (
        betas is None
        or betas.ndim != 1
        or not torch.allclose(betas.double(), cosine_betas(len(betas)), rtol=1e-4, atol=1e-7)
    ):
        found = "none" if betas is None else "other numbers"
        raise LesionAugError(
            f"Expected the published cosine schedule as 'betas' in {path}, got {found}; this is no such model"
        )
    return len(betas)


def _check_choice(what: str, name: str, options: Iterable[str]) -> None:
    if name not in options:
        raise LesionAugError(f"Expected {what} among {', '.join(options)}, got {name!r}; choose one of them")


def _some(keys: Sequence[str] | str) -> str:
    if isinstance(keys, str):
        return keys
    more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return (", ".join(keys[:LISTED]) or "nothing") + more
