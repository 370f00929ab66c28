"""Where nnU-Net keeps a preprocessed dataset, and where this integration keeps what belongs to it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionaug.errors import LesionAugError

PREPROCESSED = "nnUNet_preprocessed"
SIDE_FOLDER = "lesionaug"


@dataclass(frozen=True)
class Configuration:
    """A configuration of a preprocessed dataset.

    Args:
        name: Such as `3d_fullres`.
        plans: Content of the plans file.
        dataset: Content of dataset.json.
        folder: Where its preprocessed cases are.
    """

    name: str
    plans: dict[str, Any]
    dataset: dict[str, Any]
    folder: Path

    @property
    def transpose(self) -> tuple[int, ...]:
        """Axis of the file's array (z, y, x) that each axis of a preprocessed case is."""
        return tuple(self.plans["transpose_forward"])


def side_folder(folder: Path) -> Path:
    """Where overlays and maps of preprocessed cases are kept: not beside them, whose endings nnU-Net looks at.

    Args:
        folder: Of the preprocessed cases.
    """
    return folder.parent / SIDE_FOLDER / folder.name


def configuration_of(dataset: str, configuration: str, plans: str = "nnUNetPlans") -> Configuration:
    """A configuration of a dataset that nnU-Net has planned and preprocessed.

    Args:
        dataset: Number or name, as nnU-Net's commands take it.
        configuration: Such as `3d_fullres`.
        plans: Name of the plans.

    Raises:
        LesionAugError: There is no such dataset, plans, configuration or preprocessed data.
    """
    base = preprocessed_dataset(dataset)
    identifier = base.name[7:10]
    remedy = f"nnUNetv2_plan_and_preprocess -d {identifier}, then again"
    content = _json(base / f"{plans}.json", f"plans called {plans}", remedy)
    known = content["configurations"]
    if configuration not in known:
        raise LesionAugError(
            f"Expected a configuration of {base.name} among {', '.join(known)}, got {configuration!r}; choose one"
        )
    folder = base / _data_identifier(known, configuration, plans)
    if not folder.is_dir() or not any(folder.iterdir()):
        raise LesionAugError(
            f"Expected preprocessed cases in {folder}, got none; "
            f"nnUNetv2_preprocess -d {identifier} -plans_name {plans} -c {configuration}, then again"
        )
    return Configuration(configuration, content, _json(base / "dataset.json", "a dataset.json", remedy), folder)


def preprocessed_dataset(dataset: str) -> Path:
    """Folder of a dataset below `nnUNet_preprocessed`.

    Args:
        dataset: Number or name.

    Raises:
        LesionAugError: There is none, or more than one.
    """
    root = Path(os.environ.get(PREPROCESSED, ""))
    if not os.environ.get(PREPROCESSED) or not root.is_dir():
        raise LesionAugError(
            f"Expected the environment variable {PREPROCESSED} to name a folder, got "
            f"{os.environ.get(PREPROCESSED) or 'nothing'}; export it as nnU-Net's documentation says"
        )
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    found = [path for path in sorted(root.glob(pattern)) if path.is_dir()]
    if len(found) != 1:
        there = ", ".join(path.name for path in sorted(root.glob("Dataset*")))
        raise LesionAugError(
            f"Expected one preprocessed dataset {dataset} in {root} (there: {there or 'none'}), got {len(found)}; "
            f"nnUNetv2_plan_and_preprocess -d {dataset}, or correct {PREPROCESSED}"
        )
    return found[0]


def _data_identifier(configurations: dict[str, Any], name: str, plans: str) -> str:
    """Of a configuration, which may inherit it."""
    configuration = configurations[name]
    if "data_identifier" not in configuration and "inherits_from" in configuration:
        return _data_identifier(configurations, configuration["inherits_from"], plans)
    return configuration.get("data_identifier", f"{plans}_{name}")


def _json(path: Path, what: str, remedy: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LesionAugError(f"Expected {what} at {path}, got none that can be read ({error}); {remedy}") from error
