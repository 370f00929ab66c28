"""A model on disk is a folder: `weights.safetensors`, `config.json` that says what they are, and nothing that runs.

The configuration holds the SHA-256 of the weights, so that a truncated or exchanged file is noticed when it is loaded
and a plan can say which model it was rendered with.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lesionaug.errors import LesionAugError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
REQUIRED = ("model", "architecture", "digest")
"""What every `config.json` says; the rest belongs to the architecture."""

Settings = TypeVar("Settings", bound="DataclassInstance")
Config = dict[str, Any]
State = dict[str, Tensor]


def save_model(folder: str | Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Config:
    """Write a model folder; other files in it, such as a card, stay.

    Args:
        folder: Created where it does not exist.
        config: At least `model` and `architecture`; `digest` is computed here.
        state: Weights by name.

    Returns:
        The configuration as written.

    Raises:
        LesionAugError: The folder cannot be written.
    """
    weights = save(
        {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    )
    written = {**config, "digest": digest_of(weights)}
    text = json.dumps(written, indent=2) + "\n"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        # The configuration comes last: until it is there the folder is no model.
        _write(Path(folder) / WEIGHTS, weights)
        _write(Path(folder) / CONFIG, text.encode())
    except OSError as error:
        raise LesionAugError(
            f"Expected a folder that can be written, got {folder} ({error}); choose another"
        ) from error
    return json.loads(text)


def load_model(folder: str | Path) -> tuple[Config, State]:
    """Configuration and weights of a model folder, on the CPU.

    Raises:
        LesionAugError: The folder is no model, or its weights are not those the configuration names.
    """
    config = load_config(folder)
    weights = _read(Path(folder) / WEIGHTS)
    found = digest_of(weights)
    if found != config["digest"]:
        raise LesionAugError(
            f"Expected weights with digest {config['digest']} in {folder}, got {found}; "
            "the file is damaged or not this model's, copy or convert it again"
        )
    try:
        return config, load(weights)
    except SafetensorError as error:
        raise LesionAugError(
            f"Expected safetensors in {Path(folder) / WEIGHTS}, got {error}; save them again"
        ) from error


def load_config(folder: str | Path) -> Config:
    """Configuration of a model folder, without its weights.

    Raises:
        LesionAugError: There is none, or it lacks one of `REQUIRED`.
    """
    path = Path(folder) / CONFIG
    try:
        config = json.loads(_read(path))
    except ValueError as error:
        raise LesionAugError(f"Expected JSON in {path}, got {error}; copy or convert the model again") from error
    missing = [key for key in REQUIRED if key not in config] if isinstance(config, dict) else list(REQUIRED)
    if missing:
        raise LesionAugError(
            f"Expected {', '.join(REQUIRED)} in {path}, got no {', '.join(missing)}; save the model again"
        )
    return config


def settings_from(kind: type[Settings], config: Mapping[str, Any]) -> Settings:
    """The part of a configuration that is a dataclass of settings; JSON's lists become tuples."""
    known = {field.name for field in fields(kind)}
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in config.items() if key in known})


def digest_of(content: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LesionAugError(
            f"Expected a model folder with {CONFIG} and {WEIGHTS}, got no readable {path}; "
            "check the path or convert a checkpoint"
        ) from error


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
