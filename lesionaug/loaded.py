"""Which models to use, as a value, and a renderer for them: loaded once in this process, or in a server.

A transform is copied, pickled and sent to workers; it holds a `ModelChoice`, never weights. A loader worker cannot use
the GPU of the process that it was forked from, and many workers would need many copies of the models: there the
renderer is a `ServedRenderer`.
"""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError
from lesionaug.models.registry import NAMES, model_digest
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer, Renderer
from lesionaug.serving.client import ServedRenderer
from lesionaug.serving.late import Patience
from lesionaug.serving.recipe import Recipe
from lesionaug.serving.starting import find_or_start
from lesionaug.synthesis import LesionSynthesizer, load_synthesizer


@dataclass(frozen=True)
class ModelChoice:
    """Arguments of `load_synthesizer` as plain data.

    Args:
        model: Packaged pair of models.
        diffmask: Folder of another mask model.
        lefusion: Folder of another inpainting model.
        device: Where the networks run.
        num_steps: Network calls per lesion, instead of each model's own number.

    Raises:
        LesionAugError: No packaged pair has this name, or `num_steps` is less than 1.
    """

    model: str = "default"
    diffmask: str | None = None
    lefusion: str | None = None
    device: str = "cpu"
    num_steps: int | None = None

    def __post_init__(self) -> None:
        check_known("model", [self.model], NAMES)
        if self.num_steps is not None and self.num_steps < 1:
            raise LesionAugError(
                f"Expected num_steps of 1 or more, got {self.num_steps}; leave it out for the model's own"
            )

    def digests(self) -> dict[str, str]:
        """What identifies the weights of each model."""
        return {
            "diffmask": model_digest(self.diffmask or self.model, "diffmask"),
            "lefusion": model_digest(self.lefusion or self.model, "lefusion"),
        }

    def identity(self) -> dict[str, Any]:
        """All that decides what is rendered: a server must have the same."""
        return {**self.digests(), "num_steps": self.num_steps}

    def recipe(self) -> Recipe:
        """How to serve these models."""
        return Recipe("lesionaug.loaded:served_models", asdict(self))


LARGEST_BATCH = 1024
"""More than a server ever makes; what counts is `lesionaug.serving.recipe.Batching`."""

SERVER = "LESIONAUG_SERVER"
"""Environment variable: address of a render server that every process asks instead of loading models."""


def loaded_renderer(choice: ModelChoice, patience: Patience | None = None) -> Renderer:
    """A renderer with the models of this choice: theirs in this process, or a server's.

    Args:
        choice: Which models.
        patience: What to do when the server is late; counts only where there is one.
    """
    address = os.environ.get(SERVER)
    if not address and needs_server(choice):
        address = find_or_start(choice)
    if not address:
        return loaded_here(choice)
    patience = patience or Patience()
    return ServedRenderer(address, patience.on_late, patience.deadline_s, tuple(sorted(choice.identity().items())))


def needs_server(choice: ModelChoice) -> bool:
    """Whether the models want a GPU and this process is a loader worker, which must leave it alone."""
    return not choice.device.startswith("cpu") and is_worker()


def is_worker() -> bool:
    """Whether this process loads data for another: torch's and nnU-Net's workers are daemons."""
    in_loader = torch.utils.data.get_worker_info() is not None or multiprocessing.current_process().daemon
    return in_loader or torch.cuda._is_in_bad_fork()


def loaded_here(choice: ModelChoice) -> DiffusionRenderer:
    """The models of this choice, in this process; read again when their folders hold others than before."""
    return remembered_models(choice, tuple(choice.digests().items()))


@lru_cache(maxsize=2)
def remembered_models(choice: ModelChoice, digests: tuple[tuple[str, str], ...]) -> DiffusionRenderer:
    """Models, once.

    Args:
        choice: Which.
        digests: What is in their folders.
    """
    renderer = load_synthesizer(
        choice.model,
        diffmask=choice.diffmask,
        lefusion=choice.lefusion,
        device=choice.device,
        num_steps=choice.num_steps,
    ).renderer
    assert isinstance(renderer, DiffusionRenderer)
    return renderer


def served_models(**choice: Any) -> tuple[Renderer, dict[str, Any]]:
    """What a render server serves; its `Recipe` names this function.

    Args:
        **choice: Fields of `ModelChoice`.

    Returns:
        The renderer, and what identifies its models. On a GPU it renders batches as large as the server makes them; on
        a CPU one lesion after the other, so that a lesion's bits do not depend on its company.
    """
    chosen = ModelChoice(**choice)
    renderer = loaded_here(chosen)
    on_cpu = chosen.device.startswith("cpu")
    return (renderer if on_cpu else replace(renderer, max_batch=LARGEST_BATCH)), chosen.identity()


def loaded_prior(path: str | None = None) -> LesionPrior:
    """A prior from a file, or the packaged one, in this process; read again when the file has changed."""
    return remembered_prior(path, _stamp(path))[0]


def prior_digest(path: str | None = None) -> str:
    """`LesionPrior.digest` of the same, which takes longer to compute than to look up."""
    return remembered_prior(path, _stamp(path))[1]


@lru_cache(maxsize=8)
def remembered_prior(path: str | None, stamp: tuple[int, int] | None) -> tuple[LesionPrior, str]:
    """A prior and its digest, once.

    Args:
        path: As for `loaded_prior`.
        stamp: Time and size of the file; none of the packaged one.
    """
    prior = LesionPrior.load(path)
    return prior, prior.digest


def _stamp(path: str | None) -> tuple[int, int] | None:
    if path is None or not os.path.isfile(path):
        return None
    about = os.stat(path)
    return about.st_mtime_ns, about.st_size


def loaded_synthesizer(
    choice: ModelChoice, prior: str | None = None, patience: Patience | None = None
) -> LesionSynthesizer:
    """A synthesiser of models and prior that this process has already loaded, or loads now."""
    return LesionSynthesizer(prior=loaded_prior(prior), renderer=loaded_renderer(choice, patience))
