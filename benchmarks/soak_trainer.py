"""A trainer for `soak`: a loader whose workers ask the render server, and a file of what came of it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lesionaug.rendering import LesionRequest, RenderedLesion, RenderRequest
from lesionaug.scan import LesionSpec
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.errors import LateRenderError

SIZES = (16, 24)
EPOCH = 64


@dataclass(frozen=True)
class Question:
    """A request that can be made again from one number.

    Args:
        number: Seed of everything in it.
    """

    number: int

    def request(self) -> RenderRequest:
        """One to four lesions in patches of two sizes."""
        generator = torch.Generator().manual_seed(self.number)
        return RenderRequest(
            ("flair", "t1w"), tuple(_lesion(generator, self.number * 10 + n) for n in range(1 + self.number % 4))
        )


@dataclass(frozen=True)
class Asking(torch.utils.data.Dataset):
    """Asks a server, and looks whether the answer is the right one.

    Args:
        address: Of the server.
        digests: Of the right answer to each question.
        deadline_s: After which the server counts as late.
    """

    address: str
    digests: Sequence[str]
    deadline_s: float

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = (index * 7919 + os.getpid()) % len(self.digests)
        start_s = time.time()
        outcome = self._outcome(number)
        return {
            "index": index,
            "outcome": outcome,
            "start_s": start_s,
            "seconds": time.time() - start_s,
            "worker": os.getpid(),
        }

    def _outcome(self, number: int) -> str:
        renderer = ServedRenderer(self.address, "wait", self.deadline_s)
        try:
            right = digest(renderer(Question(number).request())) == self.digests[number]
        except LateRenderError:
            return "late"
        except Exception as error:
            return f"error: {type(error).__name__}: {error}"
        return "right" if right else "wrong"


def digest(lesions: Sequence[RenderedLesion]) -> str:
    """Of every bit of rendered lesions."""
    content = hashlib.sha256()
    for lesion in lesions:
        content.update(lesion.mask.numpy().tobytes() + lesion.image.numpy().tobytes())
    return content.hexdigest()


def train(asking: Asking, workers: int, path: Path) -> None:
    """Go through epochs until killed; a loader that lost a worker is made again, as a person would start again."""
    torch.set_num_threads(1)
    while True:
        loader = torch.utils.data.DataLoader(
            asking, batch_size=None, num_workers=workers, timeout=600, persistent_workers=True
        )
        try:
            while True:
                _epoch(loader, path)
        except RuntimeError as error:
            write(path, {"loader": str(error).splitlines()[0], "time_s": time.time()})


def _epoch(loader: torch.utils.data.DataLoader, path: Path) -> None:
    indices = []
    for item in loader:
        indices.append(item["index"])
        write(path, item)
    write(path, {"epoch": sorted(indices) == list(range(EPOCH)), "time_s": time.time()})


def write(path: Path, entry: dict[str, Any]) -> None:
    """One line, whole even if the writer is killed right after."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps({**entry, "trainer": os.getpid()}).encode() + b"\n")
    finally:
        os.close(descriptor)


def start_trainer(asking: Asking, workers: int, path: Path) -> multiprocessing.process.BaseProcess:
    """A trainer in a process of its own."""
    trainer = multiprocessing.get_context("spawn").Process(target=train, args=(asking, workers, path))
    trainer.start()
    return trainer


def _lesion(generator: torch.Generator, seed: int) -> LesionRequest:
    size = SIZES[seed % len(SIZES)]
    everywhere = torch.ones(1, size, size, size, dtype=torch.bool)
    background = torch.randn(2, size, size, size, generator=generator)
    spec = LesionSpec((0, 0, 0), 5.0, 8.0, (("flair", 2.0), ("t1w", -1.0)), seed)
    return LesionRequest(background, everywhere, everywhere, everywhere.expand(2, -1, -1, -1), spec)
