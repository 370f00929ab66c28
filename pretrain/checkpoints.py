"""What an interrupted training goes on from: `last.pt`, and the ones before it.

RUN/last.pt              everything: weights, their average, optimiser, random states of all processes
RUN/step-00000250.pt     the same, earlier; as many as were asked for
RUN/best/                the averaged weights of the lowest held-out loss, a model folder
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from lesionaug.errors import LesionAugError

Network = TypeVar("Network", bound=nn.Module)

LAST = "last.pt"
NAMED = 3  # weights an error message names


@dataclass
class Progress(Generic[Network]):
    """How far a training is.

    Args:
        network: What is trained.
        average: Running average of its weights.
        optimizer: Of the weights.
        generator: Of everything that this process draws.
        step: Optimiser steps done.
        best: Lowest held-out loss so far.
    """

    network: Network
    average: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    step: int = 0
    best: float = float("inf")


def latest(run: Path) -> Path | None:
    """The checkpoint to go on from."""
    last = run / LAST
    return last if last.exists() else next(iter(reversed(earlier(run))), None)


def earlier(run: Path) -> list[Path]:
    """Checkpoints before the last one, oldest first."""
    return sorted(run.glob("step-*.pt"))


def keep(progress: Progress, random_states: list[Tensor], run: Path, kept: int) -> None:
    """Write a checkpoint.

    Args:
        progress: What to write.
        random_states: Of the generators of all processes, by rank.
        run: Where.
        kept: How many of the earlier ones stay.
    """
    content = {
        "step": progress.step,
        "best": progress.best,
        "network": progress.network.state_dict(),
        "average": progress.average.state_dict(),
        "optimizer": progress.optimizer.state_dict(),
        "generators": random_states,
    }
    partial = run / f"{LAST}.partial"
    torch.save(content, partial)
    _step_aside(run / LAST, progress.step, kept)
    os.replace(partial, run / LAST)
    for old in earlier(run)[: -kept or None]:
        old.unlink()


def _step_aside(last: Path, step: int, kept: int) -> None:
    if kept and last.exists():
        before = torch.load(last, weights_only=True, map_location="cpu", mmap=True)["step"]
        if before != step:
            os.replace(last, last.with_name(f"step-{before:08}.pt"))


def resume(progress: Progress, run: Path, rank: int, count: int) -> bool:
    """Go on from the latest checkpoint, if there is one.

    Args:
        progress: Changed in place.
        run: Where to look.
        rank: Of this process.
        count: Of processes; where it is another than before, all draw anew.

    Returns:
        Whether the random states were continued, too.

    Raises:
        LesionAugError: The checkpoint is damaged, or of another network.
    """
    path = latest(run)
    if path is None:
        return True
    content = _read(path)
    check_same_network(progress.network.state_dict(), content["network"], path)
    progress.step, progress.best = content["step"], content.get("best", float("inf"))
    progress.network.load_state_dict(content["network"])
    progress.average.load_state_dict(content["average"])
    progress.optimizer.load_state_dict(content["optimizer"])
    states = content.get("generators") or [content["generator"]]  # one process had one, until there could be more
    if len(states) == count:
        progress.generator.set_state(states[rank])
    else:
        progress.generator.manual_seed(hash((progress.step, rank)))
    return len(states) == count


def check_same_network(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """A checkpoint holds the weights of this network.

    Raises:
        LesionAugError: Of another.
    """
    wrong = [
        f"{name} {_shape(found.get(name))} for {_shape(expected.get(name))}"
        for name in sorted(expected.keys() | found.keys())
        if _shape(expected.get(name)) != _shape(found.get(name))
    ]
    if wrong:
        raise LesionAugError(
            f"Expected the weights of this network in {path}, got another's in {len(wrong)} places "
            f"({'; '.join(wrong[:NAMED])}); choose another --output, or the preset and options the run began with"
        )


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else "x".join(map(str, tensor.shape)) or "number"


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file can break the reader anywhere
        raise LesionAugError(
            f"Expected a whole checkpoint in {path}, got one that cannot be read ({type(error).__name__}); remove it, "
            f"the run then goes on from {_names(earlier(path.parent)) or 'the start'}"
        ) from error


def _names(paths: list[Path]) -> str:
    return paths[-1].name if paths else ""
