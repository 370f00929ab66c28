"""What `bench_loading` measures: one loader over copies of a scan with one way of getting lesions, in one process."""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from benchmarks.cases import Case
from benchmarks.measure import peak_memory_gb

Mode = Literal["without", "in process", "served", "cached"]
VARIANTS = 2


@dataclass(frozen=True)
class Load:
    """One loader.

    Args:
        mode: Where lesions come from.
        workers: Of the loader.
        model: Packaged pair of models.
        device: Of the models; in the server, unless they render in the workers.
        lesions: New ones per scan.
        samples: Scans per worker that are timed.
        step_ms: What a training step takes; the trainer waits for it after every scan.
        patch: Voxels along each axis of the training patch that leaves the worker.
    """

    mode: Mode
    workers: int
    model: str
    device: str
    lesions: int
    samples: int
    step_ms: float
    patch: int = 96


@dataclass(frozen=True)
class Loaded:
    """What came of it.

    Args:
        mode: As asked, like the next.
        workers: Likewise.
        samples_per_s: Scans that arrive when nobody keeps the loader waiting.
        step_samples_per_s: Scans that are trained on when each takes a step.
        waiting_share: Part of that time in which the trainer waits for data.
        batch_sizes: Lesions per call of the server's networks, and how often.
        latency_s: Percentiles of the server's answers.
        trainer_gb: Peak memory of the trainer.
    """

    mode: str
    workers: int
    samples_per_s: float
    step_samples_per_s: float | None
    waiting_share: float | None
    batch_sizes: Mapping[str, int] | None
    latency_s: Mapping[str, float] | None
    trainer_gb: float


class Scans(torch.utils.data.Dataset):
    """The same scan again and again, as a file would be read: each is a copy.

    Args:
        case: The scan.
        count: How often.
        transform: What is done to each.
        patch: Voxels along each axis of what is kept.
    """

    def __init__(self, case: Case, count: int, transform: Any, patch: int) -> None:
        self.subject, self.count, self.transform, self.patch = subject(case), count, transform, patch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:

        changed = self.transform(copy.deepcopy(self.subject))
        images = torch.cat([image.data.float() for image in changed.get_images(intensity_only=False)])
        middle = tuple(slice(max(0, (n - self.patch) // 2), (n + self.patch) // 2) for n in images.shape[1:])
        return images[(slice(None), *middle)].contiguous()


def subject(case: Case) -> Any:
    """As TorchIO has it."""
    import torchio as tio

    head = case.head()
    images = {
        channel: tio.ScalarImage(tensor=image[None], affine=head.affine)
        for channel, image in zip(head.channels, head.image, strict=True)
    }
    return tio.Subject(**images, lesion=tio.LabelMap(tensor=head.lesion_mask.byte(), affine=head.affine))


def measure(case: Case, load: Load) -> Loaded:
    """Load scans, at first as fast as they come and then between training steps."""
    with way_to_lesions(case, load) as (transform, status):
        scans = Scans(case, load.workers * (load.samples + 2), transform, load.patch)
        rate, _ = go_through(scans, load, 0.0)
        step_rate, waiting = go_through(scans, load, load.step_ms / 1000) if load.step_ms else (None, None)
        told = status()
    return Loaded(
        load.mode,
        load.workers,
        rate,
        step_rate,
        waiting,
        told.get("batch_sizes"),
        told.get("latency_s"),
        peak_memory_gb(),
    )


def go_through(scans: Scans, load: Load, step_s: float) -> tuple[float, float]:
    """Scans per second, and the share of time in which the trainer waited.

    The first two scans of each worker are not counted: in them it starts, and finds out what it needs.
    """
    loader = torch.utils.data.DataLoader(scans, batch_size=None, num_workers=load.workers)
    warm = 2 * load.workers
    start_s = waited_s = 0.0
    before_s = time.perf_counter()
    for number, _ in enumerate(loader, start=1):
        now_s = time.perf_counter()
        if number > warm:
            waited_s += now_s - before_s
        if number == warm:
            start_s = now_s
        time.sleep(step_s)
        before_s = time.perf_counter()
    elapsed_s = before_s - start_s
    return (len(scans) - warm) / elapsed_s, waited_s / elapsed_s


@contextmanager
def way_to_lesions(case: Case, load: Load) -> Iterator[tuple[Any, Any]]:
    """A transform, and a function that says what its server has done."""
    from lesionaug import SyntheticMSLesion
    from lesionaug.loaded import SERVER, ModelChoice, loaded_renderer
    from lesionaug.serving.client import ServedRenderer
    from lesionaug.serving.starting import RenderServer

    options: dict[str, Any] = {"model": load.model, "num_lesions": load.lesions, "device": "cpu"}
    options["images"] = {channel: channel for channel in case.head().channels}
    choice = ModelChoice(model=load.model, device=load.device)
    with ExitStack() as stack:
        if load.mode == "without":
            yield _unchanged, dict
        elif load.mode == "in process":
            loaded_renderer(ModelChoice(model=load.model))  # once, before the workers are forked
            yield SyntheticMSLesion(**options), dict
        elif load.mode == "served":
            server = stack.enter_context(RenderServer(choice))
            os.environ[SERVER] = server.address
            yield SyntheticMSLesion(**options), lambda: dict(ServedRenderer(server.address).status())
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            transform = SyntheticMSLesion(**options, cache=folder, variants=VARIANTS)
            list(transform.fill(subject(case)))
            yield transform, dict


def _unchanged(scan: Any) -> Any:
    return scan
