"""The one training loop: draw a batch, take a step, average the weights, keep a checkpoint.

To resume, run the same command again: weights, their average, the optimiser and the random state are in the checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from lesionaug.models.checkpoints import save_model

Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[torch.Generator], Tensor]
"""Draws a batch with the generator and gives its loss."""


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast.

    Args:
        steps: Optimiser steps.
        learning_rate: At its height; warm-up is linear, the decay to zero a cosine.
        warmup: Steps.
        ema: Decay of the weight average (Karras et al. 2024 explain why it matters; ours warms up with the steps).
        clip: Largest gradient norm.
        seed: Of everything that is drawn.
        keep_every: Steps between checkpoints and lines of the log.
        threads: CPU threads, 0 for torch's own choice.
        device: Where to train.
    """

    steps: int = 12_000
    learning_rate: float = 6e-4
    warmup: int = 200
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    keep_every: int = 250
    threads: int = 0
    device: str = "cpu"


def fit(
    network: Network, loss: Loss, config: FitConfig, run: Path, validate: Callable[[Network], dict] | None = None
) -> Network:
    """Train, resuming from `run/last.pt` where there is one, and return the averaged network.

    Args:
        network: Trained in place.
        loss: Of one drawn batch.
        config: How long and how fast.
        run: Folder of checkpoint and log.
        validate: Figures of the averaged network for the log.

    Raises:
        FloatingPointError: The loss is not finite; the last good checkpoint is kept.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    run.mkdir(parents=True, exist_ok=True)
    state = _start(network, config)
    _resume(state, run / "last.pt")
    started, first, running = time.monotonic(), state.step, []
    while state.step < config.steps:
        running.append(_step(state, loss, config))
        if state.step % config.keep_every == 0 or state.step == config.steps:
            rate = (state.step - first) / (time.monotonic() - started)
            figures = validate(state.average) if validate else {}
            _log(run, state.step, sum(running) / len(running), rate, figures)
            _keep(state, run / "last.pt")
            running = []
    return state.average


@torch.no_grad()
def held_out_loss(loss: Loss, batches: int) -> dict[str, float]:
    """Mean loss over the same batches each time, for the log."""
    generator = torch.Generator().manual_seed(1)
    return {"held": round(sum(loss(generator).item() for _ in range(batches)) / batches, 5)}


def write_model(run: Path, job: str, settings: Any, network: nn.Module) -> None:
    """The model folder of a finished run, `run/model`, in half precision."""
    config = {"model": job, "architecture": "compact", **asdict(settings)}
    save_model(run / "model", config, {name: value.half() for name, value in network.state_dict().items()})


@dataclass
class _State(Generic[Network]):
    network: Network
    average: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    step: int = 0


def _start(network: Network, config: FitConfig) -> _State[Network]:
    average = deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    return _State(network, average, optimizer, torch.Generator().manual_seed(config.seed))


def _step(state: _State, loss: Loss, config: FitConfig) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * _schedule(state.step, config)
    value = loss(state.generator)
    if not math.isfinite(value.item()):
        raise FloatingPointError(
            f"Expected a finite loss at step {state.step}, got {value.item()}; lower the learning rate and run again, "
            "the last good checkpoint is kept"
        )
    state.optimizer.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
    state.optimizer.step()
    state.step += 1
    _average(state, min(config.ema, (1 + state.step) / (10 + state.step)))
    return value.item()


@torch.no_grad()
def _average(state: _State, decay: float) -> None:
    for mean, now in zip(state.average.parameters(), state.network.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def _schedule(step: int, config: FitConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))


def _keep(state: _State, path: Path) -> None:
    content = {
        "step": state.step,
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def _resume(state: _State, path: Path) -> None:
    if not path.exists():
        return
    content = torch.load(path, weights_only=True, map_location="cpu")
    state.step = content["step"]
    state.network.load_state_dict(content["network"])
    state.average.load_state_dict(content["average"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.generator.set_state(content["generator"])


def _log(run: Path, step: int, loss: float, rate: float, figures: dict) -> None:
    line = {"step": step, "loss": round(loss, 5), "steps_per_s": round(rate, 2), **figures}
    print(json.dumps(line), flush=True)
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
