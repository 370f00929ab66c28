"""nnU-Net's own programs, with trainers that it finds, and torchvision that it can import."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lesionaug.integrations.nnunet import extension
from lesionaug.integrations.nnunet.places import configuration_of

from lesionaug.errors import LesionAugError

EXTERNAL = "nnUNet_extTrainer"
RESULTS = "nnUNet_results"
DEFAULT_TRAINER = "nnUNetTrainerSyntheticMSLesion"
HELP = ("-h", "--help")


def extension_folder() -> Path:
    """What `nnUNet_extTrainer` is to name, besides what it names already."""
    return Path(extension.__file__).parent


def train(arguments: Sequence[str]) -> None:
    """`nnUNetv2_train`, by default with `nnUNetTrainerSyntheticMSLesion`.

    Args:
        arguments: Of nnUNetv2_train.

    Raises:
        LesionAugError: The dataset, its plans or the configuration are not there, or the device is not.
    """
    if not set(arguments) & {*HELP}:
        _check(arguments)
    from lesionaug.integrations.nnunet.compat import make_torchvision_importable

    make_torchvision_importable()
    from nnunetv2.run.run_training import run_training_entry

    _run(run_training_entry, "train", arguments)


def predict(arguments: Sequence[str]) -> None:
    """`nnUNetv2_predict`, by default with what `nnUNetTrainerSyntheticMSLesion` has trained.

    Args:
        arguments: Of nnUNetv2_predict.
    """
    from lesionaug.integrations.nnunet.compat import make_torchvision_importable

    make_torchvision_importable()
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point

    _run(predict_entry_point, "predict", arguments)


def _run(program: Callable[[], None], name: str, arguments: Sequence[str]) -> None:
    """Call a program that reads its arguments from this process."""
    others = [path for path in os.environ.get(EXTERNAL, "").split(os.pathsep) if path]
    os.environ[EXTERNAL] = os.pathsep.join(dict.fromkeys([*others, str(extension_folder())]))
    trainer = [] if "-tr" in arguments or set(arguments) & {*HELP} else ["-tr", DEFAULT_TRAINER]
    before, sys.argv = sys.argv, [f"lesionaug nnunet {name}", *arguments, *trainer]
    try:
        program()
    finally:
        sys.argv = before


def _check(arguments: Sequence[str]) -> None:
    """What nnU-Net would answer with a traceback."""
    parser = argparse.ArgumentParser(prog="lesionaug nnunet train", add_help=False)
    parser.add_argument("dataset_name_or_id")
    parser.add_argument("configuration")
    parser.add_argument("fold")
    parser.add_argument("-p", default="nnUNetPlans")
    parser.add_argument("-device", default="cuda")
    given, _ = parser.parse_known_args(arguments)
    configuration_of(given.dataset_name_or_id, given.configuration, given.p)
    if not os.environ.get(RESULTS):
        raise LesionAugError(f"Expected the environment variable {RESULTS} to name a folder, got nothing; export it")
    _check_device(given.device)


def _check_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise LesionAugError("Expected a GPU to train on, got none that torch can use; add -device cpu")
