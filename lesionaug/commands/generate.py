"""`lesionaug generate`: whole data sets with new lesions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from lesionaug.commands.options import Lesions, Models
from lesionaug.commands.progress import progress_lines, spinner
from lesionaug.stopping import exit_code
from lesionaug.words import counted

if TYPE_CHECKING:
    from lesionaug.dataset.cases import Case
    from lesionaug.dataset.manifest import Failure
    from lesionaug.dataset.settings import Settings
    from lesionaug.dataset.sources import Sources

LayoutIn = Literal["auto", "nnunet", "bids", "table", "mslesseg", "open_ms", "folders"]
LayoutOut = Literal["folders", "nnunet", "bids"]
Change = Literal["stable", "new", "enlarging", "shrinking", "vanishing"]


@dataclass(frozen=True)
class Generate:
    """Put new lesions into all scans of a data set, each several times.

    Scans of patients and of healthy people alike. The lesions of a case depend on the seed, the scan's name and the
    variant alone: any number of workers, parts or machines makes the same bytes. A case is there as a whole or not at
    all; run the same command again to go on, or to add variants. What cannot be used is told in failures.jsonl and
    left out. manifest.jsonl has a line for each case; lesionaug replay makes a case again from its plan.json.

    Examples:
      lesionaug generate patients --output more --variants 10
      lesionaug generate Dataset501_MS --output Dataset601_MS --output-layout nnunet --variants 20 --workers 8
      lesionaug generate scans.csv --output out --output-layout bids --load-ml 3 --instances
      lesionaug generate scans --patterns 'flair={id}/*FLAIR.nii.gz' 'lesion={id}/mask.nii.gz' --output out
      lesionaug generate scans --output out --num-parts 100 --part-id $SLURM_ARRAY_TASK_ID
      lesionaug generate scans --output pairs --longitudinal --changes stable new enlarging

    Args:
        input: Folder of scans, or a table (CSV, TSV) with columns subject, flair, t1w, t2w, lesion and more.
        output: Data set to write, or to go on with.
        variants: How many for each scan.
        layout: How files are named in INPUT; auto looks.
        patterns: Names of files instead of a layout, ROLE=PATTERN, with {id} for the name of the scan.
        output_layout: folders (CASE/flair.nii.gz), nnunet (raw data set with splits_final.json) or bids (derivative).
        channels: Take flair, t1w, t2w or some of them; else all, for nnunet those that all scans have.
        instances: Also write a label that gives each new lesion a number.
        new_only: Also write a label of the new lesions alone.
        longitudinal: Make pairs of a baseline and a follow-up, with a label of what became of each lesion.
        changes: What may become of new lesions from baseline to follow-up, all equally likely; the host's are stable.
        workers: Processes on this machine; each uses one core.
        num_parts: Divide the work, for one of several jobs of a cluster to do.
        part_id: Which of the parts, from 0.
        dask: Address of a Dask scheduler whose workers see the same files, or local. Needs lesionaug[dask].
        dry_run: Say what would be made, and stop.
    """

    input: tyro.conf.Positional[Path]
    output: Path
    variants: int = 1
    layout: LayoutIn = "auto"
    patterns: tuple[str, ...] = ()
    output_layout: LayoutOut = "folders"
    channels: tuple[str, ...] = ()
    instances: bool = False
    new_only: bool = False
    longitudinal: bool = False
    changes: tuple[Change, ...] = ()
    workers: int = 1
    num_parts: int = 1
    part_id: int = 0
    dask: str | None = None
    dry_run: bool = False
    lesion: Lesions = field(default_factory=Lesions)
    models: Models = field(default_factory=Models)

    def run(self) -> None:
        """Find, make, merge."""
        from lesionaug.dataset.cases import cases_of, part_of
        from lesionaug.dataset.executors import executor_for
        from lesionaug.dataset.sources import find_sources

        execute, out = executor_for(self.workers, self.dask), self.output.expanduser().absolute()
        self._check(out)
        sources = find_sources(self.input, self.layout, self.patterns)
        settings = self._settings(sources)
        cases = part_of(cases_of(sources.scans, self.variants, self.lesion.seed or 0), self.num_parts, self.part_id)
        print("\n".join([*sources.notes, *self._intentions(cases, settings)]))
        if not self.dry_run:
            make(out, cases, settings, execute)

    def _check(self, out: Path) -> None:
        from lesionaug.errors import LesionAugError

        if self.variants < 1:
            raise LesionAugError(f"Expected one variant or more, got {self.variants}; correct --variants")
        if self.changes and not self.longitudinal:
            raise LesionAugError(
                f"Expected --longitudinal with --changes {' '.join(self.changes)}, got none; add it, or leave them out"
            )
        if out.is_relative_to(self.input.expanduser().absolute()):
            raise LesionAugError(
                f"Expected an output outside of the input, got {out}, whose scans would be taken for sources by the "
                "next run; choose another --output"
            )

    def _settings(self, sources: Sources) -> Settings:
        from lesionaug.dataset.layouts_out import layout_named
        from lesionaug.dataset.settings import Settings
        from lesionaug.dataset.sources import choose_channels
        from lesionaug.evolution import CHANGES

        alike = layout_named(self.output_layout).alike
        channels = choose_channels(sources.scans, self.channels, alike=alike)
        with spinner("loading the models"):
            choice = self.models.load()
        return Settings(
            seed=self.lesion.seed or 0,
            options=self.lesion.plan_options(),
            models=choice,
            prior=self.models.prior_path(),
            layout=self.output_layout,
            channels=channels,
            instances=self.instances,
            new_only=self.new_only,
            changes=(self.changes or CHANGES) if self.longitudinal else None,
        )

    def _intentions(self, cases: list[Case], settings: Settings) -> list[str]:
        part = f" in part {self.part_id} of {self.num_parts}" if self.num_parts > 1 else ""
        channels = ", ".join(settings.channels) if settings.channels else "all that a scan has"
        number = counted(len(cases), "pair" if self.longitudinal else "case")
        return [f"{number}{part}{names(cases)}", f"channels: {channels}; layout: {self.output_layout}"]


def names(cases: list[Case]) -> str:
    """Of cases: all, where they are few, or the first and the last."""
    if len(cases) > 3:
        return f": {cases[0].name}, ..., {cases[-1].name}"
    return f": {', '.join(case.name for case in cases)}" if cases else ""


def make(out: Path, cases: list[Case], settings: Settings, execute) -> None:
    """Make those cases that are not there, and tell about it.

    Raises:
        LesionAugError: Some could not be made.
    """
    from lesionaug.dataset.job import Job
    from lesionaug.dataset.manifest import merge
    from lesionaug.dataset.settings import begin

    begin(out, settings)
    job = Job(out, settings)
    pending = [case for case in cases if not job.has(case)]
    if len(pending) < len(cases):
        print(f"there already: {len(cases) - len(pending)}")
    try:
        failures = watch(execute(job, pending), len(pending))
    except KeyboardInterrupt as error:
        lines, _ = merge(out)
        print(
            f"lesionaug: interrupted with {counted(len(lines), 'case')} complete, run the same again", file=sys.stderr
        )
        raise SystemExit(exit_code(error)) from None
    lines, _ = merge(out)
    print(summary(out, lines, settings.layout))
    check(failures, len(cases), out)


def watch(results: Iterable[Failure | None], total: int) -> list[Failure]:
    """Follow the work, and return what failed."""
    failures = []
    with progress_lines(total, "cases") as advance:
        for failure in results:
            advance(1)
            if failure:
                failures.append(failure)
    return failures


def summary(out: Path, lines: list[dict], layout: str) -> str:
    """What is there now."""
    new = [line["new"] for line in lines]
    load_ml, count = sum(facts["load_ml"] for facts in new), sum(len(facts["volume_mm3"]) for facts in new)
    text = [f"{counted(len(lines), 'case')} in {out}: {counted(count, 'new lesion')}, {load_ml:.1f} ml"]
    if warned := sum(bool(line["warnings"]) for line in lines):
        text.append(f"with warnings: {warned}, see manifest.jsonl")
    if layout == "nnunet":
        several = len({line["patient"] for line in lines}) > 1
        splits = "splits_final.json goes to nnUNet_preprocessed" if several else "one patient: use fold all"
        text.append(f"for nnU-Net: call it Dataset5xx_NAME in nnUNet_raw; {splits}")
    return "\n".join([*text, f"look at it: lesionaug report {out}"])


def check(failures: list[Failure], total: int, out: Path) -> None:
    """Nothing failed.

    Raises:
        LesionAugError: Something did.
    """
    from lesionaug.errors import LesionAugError

    if failures:
        raise LesionAugError(
            f"Expected {counted(total, 'case')}, got {total - len(failures)}; {failures[0].case}: {failures[0].error} "
            f"(all {len(failures)} in {out}/failures.jsonl; correct and run the same again)"
        )
