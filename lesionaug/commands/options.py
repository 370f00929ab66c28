"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lesionaug.loaded import ModelChoice
    from lesionaug.plan_options import PlanOptions


@dataclass(frozen=True)
class Variety:
    """Which lesions; what is left out is drawn from the prior.

    Args:
        num_lesions: How many, or two numbers to draw it between, 1 to 10 if not given; `patients` draws whole
            patients' numbers and sizes.
        load_ml: How many millilitres altogether, or two numbers to draw it between, instead of how many.
        diameter_mm: Smallest and largest diameter of the ball that has the lesion's volume, 3 to 20 mm if not given.
        regions: Any of periventricular, juxtacortical, infratentorial, deep_white_matter.
        contrast: Factor on the brightness difference to the tissue around, or two numbers to draw it between.
        overlap: Let new lesions touch old ones.
        no_halo: Keep every voxel outside the new labels as it was; without it, lesions show their partial volume around
            the label, as real ones do.
        no_gate: Take lesions as they turn out; without it, bad ones are drawn again, or left out if that does not help.
    """

    num_lesions: int | tuple[int, int] | Literal["patients"] | None = None
    load_ml: float | tuple[float, float] | None = None
    diameter_mm: tuple[float, float] | None = None
    regions: tuple[str, ...] = ()
    contrast: float | tuple[float, float] = 1.0
    overlap: bool = False
    no_halo: bool = False
    no_gate: bool = False

    def plan_options(self) -> PlanOptions:
        """For the synthesiser."""
        from lesionaug.plan_options import PlanOptions

        return PlanOptions(
            num_lesions=self.num_lesions,
            load_ml=self.load_ml,
            diameter_mm=self.diameter_mm,
            regions=self.regions or None,
            contrast=self.contrast,
            overlap=self.overlap,
            halo=not self.no_halo,
            gate=not self.no_gate,
        )


@dataclass(frozen=True)
class Lesions(Variety):
    """Which lesions; what is left out is drawn from the prior.

    Args:
        seed: The same seed, scan and options give the same lesions; one is drawn, and printed, if not given.
    """

    seed: int | None = None

    def chosen_seed(self) -> int:
        """The seed asked for, or one that nobody has had yet."""
        import secrets

        return secrets.randbelow(2**31) if self.seed is None else self.seed


@dataclass(frozen=True)
class Models:
    """Which models, and where they run.

    Args:
        model: default (diffusion), or parametric (ellipsoids of constant contrast, the baseline without a network).
        diffmask: Folder of another model that draws masks (see `lesionaug convert`).
        lefusion: Folder of another model that paints tissue.
        prior: File written by `lesionaug prior fit`.
        device: cpu, cuda, cuda:1, ...
        num_steps: Network calls per lesion and model; fewer are faster.
    """

    model: str = "default"
    diffmask: Path | None = None
    lefusion: Path | None = None
    prior: Path | None = None
    device: str = "cpu"
    num_steps: int | None = None

    def choice(self) -> ModelChoice:
        """For the synthesiser."""
        from lesionaug.loaded import ModelChoice

        return ModelChoice(
            model=self.model,
            diffmask=_absolute(self.diffmask),
            lefusion=_absolute(self.lefusion),
            device=self.device,
            num_steps=self.num_steps,
        )

    def load(self) -> ModelChoice:
        """The choice, once it is sure that its models work here: before anything slow is done for them.

        Raises:
            LesionAugError: An unknown model, missing weights, or a device that is not there.
        """
        from lesionaug.loaded import loaded_synthesizer

        choice = self.choice()
        loaded_synthesizer(choice, self.prior_path())
        return choice

    def prior_path(self) -> str | None:
        """For the synthesiser."""
        return _absolute(self.prior)


def _absolute(path: Path | None) -> str | None:
    # A record names them and may be replayed from another folder.
    return None if path is None else str(path.expanduser().absolute())
