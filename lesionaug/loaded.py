"""Which models to use, as a value, and the models themselves, loaded once per process.

A transform is copied, pickled and sent to workers; it holds a `ModelChoice`, never weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError
from lesionaug.models.registry import NAMES, model_digest
from lesionaug.prior import LesionPrior
from lesionaug.rendering import Renderer
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


@lru_cache(maxsize=2)
def loaded_renderer(choice: ModelChoice) -> Renderer:
    """The models of this choice, in this process."""
    return load_synthesizer(
        choice.model,
        diffmask=choice.diffmask,
        lefusion=choice.lefusion,
        device=choice.device,
        num_steps=choice.num_steps,
    ).renderer


@lru_cache(maxsize=2)
def loaded_prior(path: str | None = None) -> LesionPrior:
    """A prior from a file, or the packaged one, in this process."""
    return LesionPrior.load(path)


def loaded_synthesizer(choice: ModelChoice, prior: str | None = None) -> LesionSynthesizer:
    """A synthesiser of models and prior that this process has already loaded, or loads now."""
    return LesionSynthesizer(prior=loaded_prior(prior), renderer=loaded_renderer(choice))
