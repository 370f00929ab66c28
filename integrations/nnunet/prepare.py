"""`lesionaug nnunet prepare`: render ahead of training, from the cases as nnU-Net has preprocessed them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from lesionaug.errors import LesionAugError

if TYPE_CHECKING:
    from lesionaug.integrations.nnunet.job import VariantJob
    from lesionaug.integrations.nnunet.places import Configuration
    from lesionaug.integrations.nnunet.prepared import Prepared

    from lesionaug.dataset.cases import Case
    from lesionaug.dataset.manifest import Failure


@dataclass(frozen=True)
class Prepare:
    """Render variants of all preprocessed cases, so that training needs neither models nor a GPU for lesions.

    The lesions are those that the settings ask for: LESIONAUG_NNUNET_CONFIG names their file, as in training. Training
    lays a variant over a case when it loads it; the cases themselves are not touched, and validation never sees one.
    A variant depends on the seed, the case and its number alone, whoever renders it. What is there already is left
    alone: run the same command again to go on, or with more variants to add some.

    Examples:
      lesionaug nnunet prepare 501
      lesionaug nnunet prepare 501 --configuration 2d --variants 20 --workers 8
      lesionaug nnunet prepare 501 --device cuda --leave-alone case_007

    Args:
        dataset: Number or name, as nnU-Net's commands take it.
        configuration: Of nnU-Net.
        plans: Name of nnU-Net's plans.
        variants: Sets of lesions per case; those of the settings if not given.
        leave_alone: Cases that get no lesions.
        workers: Processes; each uses one core.
        device: cpu, cuda, cuda:1, ...; auto is that of the settings or, if they leave it open, cuda where there is one.
        overwrite: Begin anew where variants were prepared with other settings or from another preprocessing.
        dry_run: Say what would be rendered, and stop.
    """

    dataset: tyro.conf.Positional[str]
    configuration: str = "3d_fullres"
    plans: str = "nnUNetPlans"
    variants: int | None = None
    leave_alone: tuple[str, ...] = ()
    workers: int = 1
    device: str = "auto"
    overwrite: bool = False
    dry_run: bool = False

    def run(self) -> None:
        """Find, render, tell."""
        from lesionaug.integrations.nnunet.places import configuration_of

        from lesionaug.commands.generate import watch
        from lesionaug.dataset.cases import cases_of
        from lesionaug.dataset.executors import executor_for
        from lesionaug.layouts.core import SourceScan

        execute = executor_for(self.workers, dask=None)
        job = self._job(configuration_of(self.dataset, self.configuration, self.plans))
        names = [name for name in job.prepared.cases if name not in job.prepared.untouched]
        cases = cases_of([SourceScan(name, name) for name in names], job.settings.variants, job.settings.seed)
        pending = [case for case in cases if not job.has(case)]
        print(
            f"{len(names)} cases in {job.preprocessed}, {job.settings.variants} variants each, {len(pending)} to render"
        )
        if not self.dry_run:
            job.prepared.write(job.folder)
            failures = watch(execute(job, pending), len(pending))
            _finish(job, cases, failures)

    def _job(self, configuration: Configuration) -> VariantJob:
        from lesionaug.integrations.nnunet.channels import roles_of
        from lesionaug.integrations.nnunet.job import VariantJob
        from lesionaug.integrations.nnunet.overlays import overlays_folder, settings_identity
        from lesionaug.integrations.nnunet.settings import read_settings

        from lesionaug.loaded import loaded_synthesizer

        settings = read_settings(configuration.plans)
        if self.variants is not None:
            settings = replace(settings, variants=self.variants)
        roles, device = roles_of(configuration.dataset, settings), self._device(settings.device)
        loaded_synthesizer(settings.choice(device), settings.prior)  # says what is wrong before anything is read
        return VariantJob(
            preprocessed=configuration.folder,
            transpose=configuration.transpose,
            folder=overlays_folder(configuration.folder),
            prepared=self._prepared(configuration.folder, settings_identity(settings, roles)),
            settings=settings,
            roles=roles,
            device=device,
        )

    def _device(self, of_settings: str) -> str:
        import torch

        wanted = of_settings if self.device == "auto" else self.device
        return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted

    def _prepared(self, preprocessed: Path, identity: dict) -> Prepared:
        """What is to be there: all cases, and what was prepared of them already."""
        from lesionaug.integrations.nnunet.prepared import (
            Prepared,
            case_digest,
            case_names,
            check_cases,
            check_settings,
            is_prepared,
            overlays_folder,
        )

        folder, names = overlays_folder(preprocessed), case_names(preprocessed)
        self._check_names(names)
        if self.overwrite and not self.dry_run:
            shutil.rmtree(folder, ignore_errors=True)
        there = Prepared.read(folder) if is_prepared(preprocessed) else Prepared(identity, {}, {}, 0)
        check_settings(there.settings, identity, folder)
        check_cases(there, preprocessed, [name for name in names if name in there.cases])
        digests = {name: case_digest(preprocessed, name) for name in names}
        return replace(there, cases=digests, untouched=self.leave_alone)

    def _check_names(self, names: Sequence[str]) -> None:
        if unknown := [name for name in self.leave_alone if name not in names]:
            raise LesionAugError(
                f"Expected cases of the dataset for --leave-alone, got {', '.join(unknown)}; correct their names"
            )


def _finish(job: VariantJob, cases: Sequence[Case], failures: Sequence[Failure]) -> None:
    """Write down what is there now, and tell.

    Raises:
        LesionAugError: Some variants could not be rendered.
    """
    from lesionaug.integrations.nnunet.prepared import some

    lesions = lesions_there(job, cases)
    replace(job.prepared, lesions=lesions, variants=job.settings.variants).write(job.folder)
    print(f"{sum(map(len, lesions.values()))} variants with {sum(map(sum, lesions.values()))} lesions in {job.folder}")
    if bare := [name for name, counts in lesions.items() if not any(counts)]:
        print(f"no lesions in {some(bare)}; {job.folder / 'plans'} says why")
    if failures:
        errors = {failure.source: failure.error for failure in failures}
        lines = "\n  ".join(f"{name}: {error}" for name, error in errors.items())
        raise LesionAugError(
            f"Expected {len(cases)} variants, got {len(cases) - len(failures)}:\n  {lines}\ncorrect the cases and run "
            f"the same again, or train with them as they are: --leave-alone {' '.join(errors)}"
        )


def lesions_there(job: VariantJob, cases: Sequence[Case]) -> dict[str, list[int]]:
    """How many lesions each variant has, of those cases that have all their variants."""
    from lesionaug.integrations.nnunet.job import lesions_of

    of_case: dict[str, list[Case]] = {}
    for case in cases:
        of_case.setdefault(case.source.subject, []).append(case)
    return {
        name: [lesions_of(job.folder, variant) for variant in variants]
        for name, variants in of_case.items()
        if all(map(job.has, variants))
    }
