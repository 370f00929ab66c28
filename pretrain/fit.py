"""The one training loop: draw batches, take a step, average the weights, keep a checkpoint.

To resume, run the same command again: weights, their average, the optimiser and the random states are in the
checkpoint, and an interrupted run ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from lesionaug.pretrain.checkpoints import Progress, keep, resume
from lesionaug.pretrain.processes import Processes
from lesionaug.pretrain.samples import save_picture
from lesionaug.pretrain.tracking import Report
from lesionaug.pretrain.trouble import advice_on_memory, check_finite
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[torch.Generator], Tensor]
"""Draws a batch with the generator and gives its loss."""

Picture = np.ndarray
"""Red, green and blue bytes, shape `(rows, columns, 3)`."""

RANK_STRIDE = 1_000_003  # between the seeds of two processes


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast. All of it may change from one part of a run to the next.

    Args:
        steps: Optimiser steps.
        learning_rate: At its height.
        warmup: Steps in which the learning rate rises linearly.
        cosine: Whether it then falls to zero as a cosine; constant otherwise.
        weight_decay: Of AdamW; 0 makes it Adam.
        clip: Largest gradient norm; 0 for any.
        accumulate: Batches per step.
        ema: Decay of the weight average (Karras et al. 2024 explain why it matters; it warms up with the steps).
        ema_every: Steps between its updates.
        ema_from: First step of averaging; until then it is a copy.
        seed: Of everything that is drawn.
        keep_every: Steps between checkpoints, lines of the log and held-out losses.
        keep: Checkpoints to keep besides the last.
        picture_every: Steps between pictures of what the model makes; 0 for none.
        threads: CPU threads, 0 for torch's own choice.
        device: Where to train; auto is the GPU where there is one.
        bf16: Compute in bfloat16. The compact networks do so by themselves where the hardware is made for it.
        track: Where curves go besides log.jsonl: tensorboard, wandb, mlflow, ... (any of accelerate's trackers), none.
    """

    steps: int = 12_000
    learning_rate: float = 6e-4
    warmup: int = 200
    cosine: bool = True
    weight_decay: float = 1e-4
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.999
    ema_every: int = 1
    ema_from: int = 0
    seed: int = 0
    keep_every: int = 250
    keep: int = 1
    picture_every: int = 1000
    threads: int = 0
    device: str = "auto"
    bf16: bool = False
    track: tuple[str, ...] = ("tensorboard",)


def fit(
    network: Network,
    loss: Loss,
    config: FitConfig,
    run: Path,
    validate: Callable[[Network], dict[str, float]] | None = None,
    picture: Callable[[Network], Picture] | None = None,
    keep_best: Callable[[Network], object] | None = None,
) -> Network:
    """Train, resuming from the checkpoint in `run` where there is one, and return the averaged network.

    Args:
        network: Trained in place.
        loss: Of one drawn batch.
        config: How long and how fast.
        run: Folder of checkpoints, log, curves and pictures.
        validate: Figures of the averaged network for the log; the one called `held` says which is best.
        picture: What the averaged network makes.
        keep_best: Called with the averaged network whenever `held` is lowest.

    Raises:
        LesionAugError: The loss is not finite, memory is full, or the checkpoint is another network's; the last good
            checkpoint is kept.
    """
    processes = Processes.join(config.device)
    progress = _start(network, config, processes)
    run.mkdir(parents=True, exist_ok=True)
    continued = resume(progress, run, processes.rank, processes.count)
    with (
        Report.to(run, config.steps, progress.step, config.track, processes.is_main) as report,
        advice_on_memory(config.accumulate),
    ):
        report.say_where(processes.device, processes.count, continued)
        while progress.step < config.steps:
            report.step(
                _step(progress, loss, config, processes), config.learning_rate * _schedule(progress.step, config)
            )
            if _due(progress.step, config.keep_every, config.steps):
                figures = _judge(progress, validate, keep_best, processes)
                _keep(progress, run, config, processes)
                report.milestone(progress.step, figures)
            if picture and processes.is_main and _due(progress.step, config.picture_every, config.steps):
                report.picture(progress.step, save_picture(picture(progress.average), run, progress.step))
    return progress.average


@torch.no_grad()
def held_out_loss(loss: Loss, batches: int) -> dict[str, float]:
    """Mean loss over the same batches each time, for the log."""
    generator = torch.Generator().manual_seed(1)
    return {"held": round(sum(loss(generator).item() for _ in range(batches)) / batches, 5)}


def half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they are kept."""
    return {name: value.half() for name, value in state.items()}


def _start(network: Network, config: FitConfig, processes: Processes) -> Progress[Network]:
    if config.threads:
        torch.set_num_threads(config.threads)
    network = network.to(processes.device)
    average = deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed + RANK_STRIDE * processes.rank)
    return Progress(network, average, optimizer, generator)


def _step(progress: Progress, loss: Loss, config: FitConfig, processes: Processes) -> float:
    for group in progress.optimizer.param_groups:
        group["lr"] = config.learning_rate * _schedule(progress.step, config)
    progress.optimizer.zero_grad(set_to_none=True)
    value = processes.mean(_accumulate(progress, loss, config, processes.device))
    check_finite(value, "loss", progress.step)
    processes.average_gradients(progress.network.parameters())
    norm = nn.utils.clip_grad_norm_(progress.network.parameters(), config.clip or math.inf)
    check_finite(norm.item(), "gradient", progress.step)
    progress.optimizer.step()
    _average(progress, config)
    progress.step += 1
    return value


def _accumulate(progress: Progress, loss: Loss, config: FitConfig, device: torch.device) -> float:
    """Gradients of the mean loss over a step's batches."""
    total = 0.0
    for _ in range(config.accumulate):
        with _precision(config, device):
            value = loss(progress.generator) / config.accumulate
        value.backward()
        total += value.item()
    return total


@contextmanager
def _precision(config: FitConfig, device: torch.device) -> Iterator[None]:
    if not config.bf16:
        yield
        return
    with torch.autocast(device.type, dtype=torch.bfloat16):
        yield


@torch.no_grad()
def _average(progress: Progress, config: FitConfig) -> None:
    if progress.step % config.ema_every:
        return
    decay = 0.0 if progress.step < config.ema_from else min(config.ema, (2 + progress.step) / (11 + progress.step))
    for mean, now in zip(progress.average.parameters(), progress.network.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def _schedule(step: int, config: FitConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    if not config.cosine:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / max(1, config.steps - config.warmup)))


def _due(step: int, every: int, steps: int) -> bool:
    return every > 0 and (step % every == 0 or step == steps)


def _judge(
    progress: Progress[Network],
    validate: Callable[[Network], dict[str, float]] | None,
    keep_best: Callable[[Network], object] | None,
    processes: Processes,
) -> dict[str, float]:
    figures = validate(progress.average) if validate and processes.is_main else {}
    if figures.get("held", math.inf) < progress.best:
        progress.best = figures["held"]
        if keep_best:
            keep_best(progress.average)
    return figures


def _keep(progress: Progress, run: Path, config: FitConfig, processes: Processes) -> None:
    states = processes.gather(progress.generator.get_state())
    if processes.is_main:
        keep(progress, states, run, config.keep)
    processes.wait()
