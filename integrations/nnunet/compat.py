"""torchvision beside a CPU build of torch: nnU-Net's search for trainers imports it, though nothing of it is used."""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Operators that torchvision describes without asking whether its compiled part, which defines them, was loaded."""


@lru_cache(maxsize=1)
def make_torchvision_importable() -> None:
    """Declare what torchvision misses, where it misses anything.

    The package index has torchvision for Linux built against CUDA alone. Beside a CPU build of torch its compiled part
    does not load, and importing it fails at the first operator that is not there. With the two declared it can be
    imported; calling them still fails, and nnU-Net does not.

    Reference:
        pytorch/vision issue 9085.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare()
        importlib.import_module("torchvision")


def _declare() -> None:
    for schema in SCHEMAS:
        torch.library.define(f"torchvision::{schema.partition('(')[0]}", f"({schema.partition('(')[2]}")
