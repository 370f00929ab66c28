"""A study: every missing run of its plan, one after the other, each kept when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool

from benchmarks.downstream.arms import Arm, Lesions, chosen_arms
from benchmarks.downstream.cases import Case, Cohort, Fold, drawn_patients
from benchmarks.downstream.lesions import lesions_of
from benchmarks.downstream.nnunet import Nnunet, masks_by_nnunet
from benchmarks.downstream.quick import Quick, predicted, trained
from benchmarks.downstream.runs import Ledger, Run, as_json, part_of, planned
from benchmarks.downstream.scores import healthy_scores, scores
from lesionaug.dataset.atomic import write_atomically
from lesionaug.errors import LesionAugError

LAST_STEPS = 20
GENERATORS = {
    True: "given models and prior; where lesions usually are is packaged, from all patients of open_ms",
    False: "packaged files among models and prior: these may know test patients",
}
"""What lesions are made with, by whether all of it was given."""
ADDING = ("probability", "num_lesions", "variants", "pretrain", "bank")
"""Fields of `Lesions` that say how lesions are added, not what makes them."""
COMPARED = ("none", "heavy", "copy_paste", "carvemix", "lesionaug", "lesionaug_halo")


@dataclass(frozen=True)
class Study:
    """What is run on a cohort.

    Args:
        output: Folder of the results; run the same again to go on with what is missing.
        arms: From `arms.ARMS`.
        patients: How many to train on.
        draws: Which choices of them; the same number means the same patients.
        seeds: Of the trainings.
        lesions: How arms add them.
        engine: What is trained: a small U-Net on one core, or nnU-Net.
        quick: Trainings of the first.
        nnunet: Trainings of the second.
        part: Which part of the runs, counted from 0.
        num_parts: How many parts there are.
        dry_run: Print the runs, and do none.
    """

    output: Path = Path("downstream")
    arms: tuple[str, ...] = COMPARED
    patients: tuple[int, ...] = (1, 2)
    draws: tuple[int, ...] = (0, 1, 2)
    seeds: tuple[int, ...] = (0, 1)
    lesions: Lesions = field(default_factory=Lesions)
    engine: Literal["quick", "nnunet"] = "quick"
    quick: Quick = field(default_factory=Quick)
    nnunet: Nnunet = field(default_factory=Nnunet)
    part: int = 0
    num_parts: int = 1
    dry_run: bool = False

    def run(self, cohort: Cohort, details: dict[str, Any]) -> None:
        """Do what is missing.

        Args:
            cohort: Who.
            details: How it was made, for the record.

        Raises:
            LesionAugError: An arm that this cohort cannot have, or results of another study.
        """
        check_healthy(self.arms_in(cohort.folds[0]), cohort)
        for fold in cohort.folds:
            drawn_patients(fold, cohort.patients, max(self.patients), 0)
        runs = part_of(self.possible_runs(cohort), self.part, self.num_parts)
        if self.dry_run:
            print("\n".join(run.name for run in runs))
            return
        ledger = Ledger(self.output, self.about(cohort, details), partial(self.generator_of, cohort))
        ledger.open()
        for run in ledger.missing(runs):
            result = self.done(run, cohort)
            ledger.keep(run, result)
            print(line_of(run, result), flush=True)

    def possible_runs(self, cohort: Cohort) -> list[Run]:
        """All runs but those of arms that need two patients and would get one."""
        arms = self.arms_in(cohort.folds[0])
        alone = [name for name in self.arms if arms[name].needs_others]
        if alone and 1 in self.patients:
            print(f"left out with one patient: {', '.join(alone)}, which mixes two", file=sys.stderr)
        runs = planned(self.arms, cohort, self.patients, self.draws, self.seeds)
        return [run for run in runs if run.patients > 1 or run.arm not in alone]

    def about(self, cohort: Cohort, details: dict[str, Any]) -> dict[str, Any]:
        """All that every run has in common; more arms, draws and seeds may join later, and other generators."""
        lesions, engine = asdict(self.lesions), self.quick.settled if self.engine == "quick" else self.nnunet
        return as_json(
            {
                "cohort": cohort.name,
                "details": details,
                "lesions": {name: lesions[name] for name in ADDING},
                "generator": GENERATORS[self.lesions.strict],
                "engine": {"name": self.engine, **asdict(engine)},
            }
        )

    def generator_of(self, cohort: Cohort, run: Run) -> dict[str, Any] | None:
        """What the synthetic lesions of a run depend on."""
        fold = next(fold for fold in cohort.folds if fold.name == run.fold)
        return self.arms_in(fold)[run.arm].generator

    def arms_in(self, fold: Fold) -> dict[str, Arm]:
        """By name, with the generators of a fold."""
        return chosen_arms(self.arms, self.lesions.in_fold(fold.name), self.output / "variants")

    def done(self, run: Run, cohort: Cohort) -> dict[str, Any]:
        """Train a network and test it."""
        start = time.monotonic()
        fold = next(fold for fold in cohort.folds if fold.name == run.fold)
        arm = self.arms_in(fold)[run.arm]
        cases = cohort.cases(drawn_patients(fold, cohort.patients, run.patients, run.draw))
        hosts = cohort.cases(cohort.healthy_hosts if arm.needs_healthy else ())
        tested, healthy = cohort.cases(fold.test), cohort.cases(cohort.healthy_test)
        check_references(tested)
        masks, loss = self._masks(run, arm, cases, hosts, (*tested, *healthy))
        keep(self.output / "masks" / f"{run.name}.npz", lambda file: np.savez_compressed(file, **masks))
        return {
            "trained_on": [case.name for case in cases],
            "training": burden(cases),
            "loss": loss,
            "cases": {case.name: _tested(case, masks[case.name]) for case in tested},
            "healthy": {case.name: healthy_scores(masks[case.name], case.scan.spacing_mm) for case in healthy},
            "seconds": round(time.monotonic() - start, 1),
        }

    def _masks(
        self, run: Run, arm: Arm, cases: Sequence[Case], hosts: Sequence[Case], tested: Sequence[Case]
    ) -> tuple[dict[str, Bool[np.ndarray, "i j k"]], float | None]:
        """What the trained network sees in each case, and the quick engine's last loss."""
        if self.engine == "nnunet":
            folder = self.output / "nnunet" / run.name
            lesions = self.lesions.in_fold(run.fold)
            return masks_by_nnunet(run, arm, lesions, cases, hosts, tested, self.nnunet, folder), None
        net, losses = trained(arm, cases, hosts, self.quick, run.seed)
        keep(self.output / "networks" / f"{run.name}.pt", partial(torch.save, net.state_dict()))
        return {case.name: predicted(net, case, self.quick) for case in tested}, _mean(losses[-LAST_STEPS:])


def check_healthy(arms: dict[str, Arm], cohort: Cohort) -> None:
    """Arms that train on healthy scans have some.

    Raises:
        LesionAugError: They have none.
    """
    if not cohort.healthy_hosts and (wanting := [name for name, arm in arms.items() if arm.needs_healthy]):
        raise LesionAugError(
            f"Expected healthy scans to train on for {', '.join(wanting)}, got a cohort without; leave these arms out"
        )


def keep(path: Path, save: Callable[[BytesIO], None]) -> None:
    """A file beside the results, all of it or nothing: a network, or what it saw, so that errors can be looked at."""
    content = BytesIO()
    save(content)
    write_atomically(path, content.getvalue())


def burden(cases: Sequence[Case]) -> dict[str, float]:
    """How many real lesions there are to learn from."""
    volumes = [lesions_of(case.scan.lesion_mask[0].numpy(), case.scan.voxel_mm3)[1] for case in cases]
    mm3 = sum(float(own.sum()) * case.scan.voxel_mm3 for own, case in zip(volumes, cases, strict=True))
    return {"lesions": sum(len(own) for own in volumes), "load_ml": mm3 / 1000}


def check_references(tested: Sequence[Case]) -> None:
    """All tested cases have lesions to find; asked before a network is trained for them.

    Raises:
        LesionAugError: Some have none.
    """
    if empty := [case.name for case in tested if not case.scan.lesion_mask.any()]:
        raise LesionAugError(
            f"Expected lesions in all tested cases, got none in {', '.join(empty)}; test them as healthy ones"
        )


def _tested(case: Case, mask: Bool[np.ndarray, "i j k"]) -> dict[str, Any]:
    found = scores(mask, case.scan.lesion_mask[0].numpy(), case.scan.spacing_mm)
    return {"patient": case.patient, **found}


def line_of(run: Run, result: dict[str, Any]) -> str:
    """One line of progress."""
    cases = list(result["cases"].values())
    dice, f1 = (_mean([case[name] for case in cases]) for name in ("dice", "f1"))
    return f"{run.name}: Dice {dice:.3f}, F1 {f1:.3f}, {result['seconds']:.0f} s"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
