"""Start from weights that are there: the packaged ones on your data, or a longer run with one more condition."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lesionaug.errors import LesionAugError
from lesionaug.models.checkpoints import load_model
from lesionaug.models.registry import Job, model_folder


@torch.no_grad()
def start_from(network: nn.Module, model: Path, job: Job) -> None:
    """Load the weights of a model; inputs that it did not have start at zero, so that nothing changes at first.

    Args:
        network: To be trained; inputs that are new come after those that are not.
        model: Name of packaged models, or a folder; of the same architecture.
        job: Which of a named pair.

    Raises:
        LesionAugError: There is no such model, or it is of another architecture.
    """
    folder = model_folder(model, job)
    _, state = load_model(folder)
    for name, parameter in network.state_dict().items():
        parameter.copy_(_padded(name, state.get(name), parameter, folder))


def _padded(name: str, known: Tensor | None, wanted: Tensor, folder: Path) -> Tensor:
    fits = known is not None and known.ndim == wanted.ndim and known.shape[:1] == wanted.shape[:1]
    if known is None or not fits or any(k > w for k, w in zip(known.shape, wanted.shape, strict=True)):
        found = "none" if known is None else tuple(known.shape)
        raise LesionAugError(
            f"Expected {name} of shape {tuple(wanted.shape)} in {folder}, got {found}; start from a model of this size"
        )
    padded = torch.zeros_like(wanted)
    padded[tuple(slice(n) for n in known.shape)] = known.to(wanted)
    return padded
