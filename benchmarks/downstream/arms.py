"""Arms: what is done to training cases, in phases that share the optimiser steps of a run. Values, not classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.downstream.changes import (
    Change,
    CopyPaste,
    NewLesions,
    Sometimes,
    Variants,
    carve_and_mix,
    generator_of,
    unchanged,
)
from benchmarks.downstream.curriculum import Course, Curriculum
from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice
from lesionaug.plan_options import PlanOptions

ONE_SIZE_MM = 5.0
"""Diameter of all lesions where sizes do not vary: that of the median lesion of patients and a little more."""
RARELY = 0.2
"""Probability of a change where it is rare."""
MOSTLY = 0.85
"""Where it is not, but scans without new lesions are seen, too."""

VARIED = (0.3, 1.3)
"""Factors on contrast, drawn anew for each set of lesions, where brightness is not that of the scan's own lesions."""

Hosts = Literal["patients", "healthy"]
Generic = Literal["light", "heavy"]


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Args:
        change: Of a case, before patches are cut from it.
        hosts: Which cases: the drawn patients, or healthy scans, whose only lesions are synthetic.
        share: Of the optimiser steps.
    """

    change: Change
    hosts: Hosts = "patients"
    share: float = 1.0


@dataclass(frozen=True)
class Arm:
    """A way to train.

    Args:
        phases: One after the other, with one optimiser and one learning-rate schedule.
        generic: Augmentation of the patches that every arm has, or a heavier one.
    """

    phases: tuple[Phase, ...]
    generic: Generic = "light"

    def begun(self) -> Arm:
        """For one training: what adapts to the network starts anew."""
        phases = (replace(x, change=x.change.course()) if isinstance(x.change, Curriculum) else x for x in self.phases)
        return replace(self, phases=tuple(phases))

    @property
    def courses(self) -> tuple[Course, ...]:
        """What adapts to the network, in an arm that has begun."""
        return tuple(phase.change for phase in self.phases if isinstance(phase.change, Course))

    @property
    def needs_others(self) -> bool:
        """Whether one patient alone cannot be changed."""
        changes = [phase.change for phase in self.phases]
        return carve_and_mix in [x.change if isinstance(x, Sometimes) else x for x in changes]

    @property
    def generator(self) -> dict | None:
        """All that its synthetic lesions depend on besides the scan; none where `lesionaug` makes none."""
        return next((found for phase in self.phases if (found := generator_of(phase.change))), None)

    @property
    def needs_healthy(self) -> bool:
        """Whether healthy scans are trained on."""
        return any(phase.hosts == "healthy" for phase in self.phases)


@dataclass(frozen=True)
class Lesions:
    """How arms that add lesions do it.

    Args:
        probability: That a training case is changed when it is prepared anew.
        num_lesions: Range of lesions that are added, by copy-paste and by `lesionaug`.
        variants: Sets of lesions per case, in the arms that read them.
        gate: Whether lesions that turn out badly are drawn again, and left out if that does not help.
        model: Packaged pair of models.
        diffmask: Folder of another mask model, one that has not seen the test patients; `{fold}` in its path stands for
            the name of the fold that is tested.
        lefusion: Folder of another inpainting model, likewise.
        prior: File of another prior, likewise.
        device: Where lesions are rendered.
        num_steps: Network calls per lesion, instead of each model's own number.
        pretrain: Share of the steps on synthetic lesions, in the arm that trains on real ones after that.
        bank: Single lesions per case, in the arm that learns which to add; a quarter is kept to see what is missed.
    """

    probability: float = 0.5
    num_lesions: tuple[int, int] = (1, 10)
    variants: int = 16
    gate: bool = True
    model: str = "default"
    diffmask: str | None = None
    lefusion: str | None = None
    prior: Path | None = None
    device: str = "cpu"
    num_steps: int | None = None
    pretrain: float = 0.5
    bank: int = 48

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1 or not 0 < self.pretrain < 1:
            raise LesionAugError(
                f"Expected a probability in (0, 1] and a pretrain share in (0, 1), got {self.probability} and "
                f"{self.pretrain}; correct them"
            )
        if self.variants < 1:
            raise LesionAugError(f"Expected 1 variant or more, got {self.variants}; use an arm that renders live")
        if self.bank < 4:
            raise LesionAugError(f"Expected a bank of 4 lesions or more, got {self.bank}; a quarter is not trained on")

    @property
    def strict(self) -> bool:
        """Whether none of the packaged files is used, which have seen every patient of the shared data."""
        return None not in (self.diffmask, self.lefusion, self.prior)

    @property
    def models(self) -> ModelChoice:
        """What draws and paints them."""
        return ModelChoice(self.model, self.diffmask, self.lefusion, self.device, self.num_steps)

    def in_fold(self, fold: str) -> Lesions:
        """By generators that may know all patients but those of a fold."""
        named = {name: getattr(self, name) for name in ("diffmask", "lefusion", "prior")}
        return replace(self, **{name: type(x)(str(x).format(fold=fold)) for name, x in named.items() if x is not None})

    def new(self, *, halo: bool) -> NewLesions:
        """Rendered each time."""
        return NewLesions(PlanOptions(num_lesions=self.num_lesions, halo=halo, gate=self.gate), self.models, self.prior)

    def kept(self, folder: Path, *, halo: bool = False) -> Variants:
        """Rendered once."""
        return self._in(folder, self.new(halo=halo))

    def ablated(self, folder: Path) -> dict[str, Arm]:
        """The arm `lesionaug` with one thing spoilt or changed, by name: what is it that helps?"""
        new = self.new(halo=False)
        spoilt = {
            "anywhere": replace(new, anywhere=True),
            "one_size": replace(new, options=replace(new.options, diameter_mm=(ONE_SIZE_MM, ONE_SIZE_MM))),
            "faint": replace(new, options=replace(new.options, contrast=0.5)),
            "bright": replace(new, options=replace(new.options, contrast=2.0)),
            "varied": replace(new, options=replace(new.options, contrast=VARIED)),
            "one_call": replace(new, models=replace(new.models, num_steps=1)),
            # Without the gate, which leaves out large ellipsoids as ill placed: numbers and sizes are to be the same.
            "ellipsoids": replace(
                new,
                options=replace(new.options, gate=False),
                models=replace(new.models, model="parametric", diffmask=None, lefusion=None),
            ),
        }
        arms = {f"lesionaug_{name}": _changed(self._in(folder, change), self) for name, change in spoilt.items()}
        rates = {"rarely": RARELY, "always": 1.0}
        kept = self.kept(folder)
        return arms | {f"lesionaug_{name}": _changed(kept, replace(self, probability=p)) for name, p in rates.items()}

    def _in(self, folder: Path, change: NewLesions) -> Variants:
        return Variants(change, folder, self.variants)

    def curriculum(self, folder: Path) -> Curriculum:
        """Single lesions rendered once, drawn by what the network misses."""
        new = self.new(halo=False)
        single = replace(new, options=replace(new.options, num_lesions=(1, 1)))
        return Curriculum(Variants(single, folder, self.bank), self.num_lesions, self.probability, self.bank // 4)


def all_arms(lesions: Lesions, folder: Path) -> dict[str, Arm]:
    """Every arm by name.

    Args:
        lesions: How lesions are added.
        folder: Where rendered ones are kept.
    """
    kept, halo = lesions.kept(folder), lesions.kept(folder, halo=True)
    ungated = replace(lesions, gate=False).kept(folder, halo=True)
    on_healthy = Phase(kept, "healthy")
    return {
        "none": Arm((Phase(unchanged),)),
        "heavy": Arm((Phase(unchanged),), "heavy"),
        "copy_paste": _changed(CopyPaste(lesions.num_lesions), lesions),
        "carvemix": _changed(carve_and_mix, lesions),
        "lesionaug_live": _changed(lesions.new(halo=False), lesions),
        "lesionaug": _changed(kept, lesions),
        "lesionaug_halo": _changed(halo, lesions),
        "lesionaug_halo_mostly": _changed(halo, replace(lesions, probability=MOSTLY)),
        "lesionaug_halo_ungated": _changed(ungated, lesions),
        "lesionaug_adaptive": Arm((Phase(lesions.curriculum(folder)),)),
        "synthetic_only": Arm((on_healthy,)),
        "pretrain": Arm((replace(on_healthy, share=lesions.pretrain), Phase(unchanged, share=1 - lesions.pretrain))),
        **lesions.ablated(folder),
    }


def chosen_arms(names: tuple[str, ...], lesions: Lesions, folder: Path) -> dict[str, Arm]:
    """The named arms.

    Raises:
        LesionAugError: There is no such arm.
    """
    arms = all_arms(lesions, folder)
    check_known("arm", names, arms)
    return {name: arms[name] for name in names}


def _changed(change: Change, lesions: Lesions) -> Arm:
    return Arm((Phase(Sometimes(change, lesions.probability)),))


ARMS = tuple(all_arms(Lesions(), Path()))
"""Names of all arms; `lesionaug` without more reads rendered variants."""
