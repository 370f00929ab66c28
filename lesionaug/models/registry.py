"""From the name of a model, or its folder, to something that draws masks or paints lesions.

Networks are imported when a model that needs them is loaded.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Literal

import torch

from lesionaug.errors import LesionAugError
from lesionaug.models.base import ConstantContrast, EllipsoidMasks, Inpainter, MaskGenerator
from lesionaug.models.checkpoints import CONFIG, digest_of, load_config, load_model

Job = Literal["diffmask", "lefusion"]
Device = torch.device | str

PARAMETRIC = "parametric"
ASSETS = Path(__file__).parents[1] / "assets"
PACKAGED: dict[str, dict[Job, Path]] = {
    "default": {"diffmask": ASSETS / "diffmask-compact", "lefusion": ASSETS / "lefusion-compact"},
}
NAMES = (*PACKAGED, PARAMETRIC)
"""Models that go by a name; every other model is a folder."""

LOADERS: dict[tuple[str, str], str] = {
    ("diffmask", "compact"): "lesionaug.models.diffmask:DiffMask",
    ("lefusion", "compact"): "lesionaug.models.lefusion:LeFusion",
    ("diffmask", "unet3d"): "lesionaug.models.published:PublishedDiffMask",
    ("lefusion", "unet3d"): "lesionaug.models.published:PublishedLeFusion",
}
"""`(model, architecture)` to the class whose `from_checkpoint(config, state, *, device, num_steps)` builds it."""


def load_mask_generator(model_or_dir: str | Path, *, device: Device, num_steps: int | None = None) -> MaskGenerator:
    """A mask model, ready to draw.

    Args:
        model_or_dir: One of `NAMES`, or a folder with `config.json` and `weights.safetensors`.
        device: Where its network runs.
        num_steps: Network calls per lesion, instead of the model's own number.

    Raises:
        LesionAugError: An unknown name, a folder that is no mask model, damaged weights, or a device that is not there.
    """
    checked = check_device(device)
    if model_or_dir == PARAMETRIC:
        return EllipsoidMasks()
    return _load(model_or_dir, "diffmask", checked, num_steps)


def load_inpainter(model_or_dir: str | Path, *, device: Device, num_steps: int | None = None) -> Inpainter:
    """A model that paints lesion tissue; arguments and errors as for `load_mask_generator`."""
    checked = check_device(device)
    if model_or_dir == PARAMETRIC:
        return ConstantContrast()
    return _load(model_or_dir, "lefusion", checked, num_steps)


def model_digest(model_or_dir: str | Path, job: Job) -> str:
    """What identifies the weights and the settings of a model: SHA-256 of its configuration, which names the weights'.

    Args:
        model_or_dir: As for `load_mask_generator`.
        job: Which of a named pair.

    Returns:
        Hexadecimal digits, or `parametric` for the stand-ins, which have no weights.
    """
    if model_or_dir == PARAMETRIC:
        return PARAMETRIC
    config = load_config(model_folder(model_or_dir, job))
    return digest_of(json.dumps(config, sort_keys=True).encode())


def check_device(device: Device) -> torch.device:
    """The device, if this machine has it.

    Raises:
        LesionAugError: It has not, or there is no such device.
    """
    try:
        checked = torch.device(device)
        torch.empty(0, device=checked)
    except (RuntimeError, AssertionError) as error:
        raise LesionAugError(
            f"Expected a device of this machine ({', '.join(_devices())}), got {str(device)!r}; choose one of them"
        ) from error
    return checked


def _devices() -> list[str]:
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def _load(model_or_dir: str | Path, job: Job, device: torch.device, num_steps: int | None) -> Any:
    folder = model_folder(model_or_dir, job)
    config, state = load_model(folder)
    if config["model"] != job:
        raise LesionAugError(
            f"Expected a {job} model in {folder}, got {config['model']!r}; give the folder of the other job"
        )
    return _loader(job, config["architecture"]).from_checkpoint(config, state, device=device, num_steps=num_steps)


def model_folder(model_or_dir: str | Path, job: Job) -> Path:
    """Where a model lies; arguments as for `model_digest`, but for the stand-ins, which lie nowhere.

    Raises:
        LesionAugError: An unknown name, or a folder without a model.
    """
    named = PACKAGED.get(str(model_or_dir))
    folder = named[job] if named else Path(model_or_dir).expanduser()
    if not (folder / CONFIG).is_file():
        raise LesionAugError(
            f"Expected a model among {', '.join(NAMES)} or a folder with {CONFIG}, got {str(model_or_dir)!r}; "
            + (
                f"the packaged weights are missing in {folder}, install again"
                if named
                else "check the name or the path"
            )
        )
    return folder


def _loader(job: Job, architecture: str) -> Any:
    target = LOADERS.get((job, architecture))
    if target is None:
        known = ", ".join(kind for model, kind in LOADERS if model == job)
        raise LesionAugError(f"Expected a {job} architecture among {known}, got {architecture!r}; update lesionaug")
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
