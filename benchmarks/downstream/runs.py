"""Which networks are trained, and one file for each that was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.downstream.cases import Cohort, draws_of
from benchmarks.measure import provenance
from lesionaug.dataset.atomic import write_atomically
from lesionaug.errors import LesionAugError

VERSION = 2
"""Of the files. Raise it when their numbers come to mean something else."""

STUDY = "study.json"


@dataclass(frozen=True)
class Run:
    """One network.

    Args:
        arm: How it is trained.
        fold: Who is tested.
        patients: How many are trained on.
        draw: Which of the pool.
        seed: Of the training.
    """

    arm: str
    fold: str
    patients: int
    draw: int
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.arm}-{self.fold}-n{self.patients}-d{self.draw}-s{self.seed}"


def planned(
    arms: Sequence[str], cohort: Cohort, patients: Sequence[int], draws: Sequence[int], seeds: Sequence[int]
) -> list[Run]:
    """All runs, those that are compared with each other close together, so that a study that is cut short is of use.

    Draws that would be the same patients again are left out.
    """
    pools = {fold.name: len({cohort.patients[name] for name in fold.pool}) for fold in cohort.folds}
    grid = product(seeds, draws, patients, pools, arms)
    return [
        Run(arm, fold, count, draw, seed)
        for seed, draw, count, fold, arm in grid
        if draw < draws_of(pools[fold], count)
    ]


def part_of(runs: Sequence[Run], part: int, num_parts: int) -> Sequence[Run]:
    """Every so many-th run.

    Raises:
        LesionAugError: There is no such part.
    """
    if not 0 <= part < num_parts:
        raise LesionAugError(f"Expected a part from 0 to {num_parts - 1}, got {part}; count parts from 0")
    return runs[part::num_parts]


@dataclass(frozen=True)
class Ledger:
    """A folder with the results of one study.

    Args:
        folder: Where they are.
        about: Everything that all runs have in common.
        generator_of: What a run's synthetic lesions depend on, or none. A run with lesions of another generator counts
            as missing; arms without any need not be run again for new models.
    """

    folder: Path
    about: dict[str, Any]
    generator_of: Callable[[Run], dict[str, Any] | None] = lambda run: None

    @property
    def study(self) -> str:
        """What distinguishes this study from others."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:16]

    def open(self) -> None:
        """Say what is kept here, for good.

        Raises:
            LesionAugError: The folder has results of another study.
        """
        path = self.folder / STUDY
        if path.exists():
            check_version(found := read_json(path), path)
            if found["study"] != self.study:
                raise LesionAugError(
                    f"Expected results of this study in {self.folder}, got those of another ({STUDY} says which); "
                    "choose another --study.output or the same settings"
                )
        about = {"version": VERSION, "study": self.study, "about": self.about, **provenance()}
        write_json(path, about)

    def missing(self, runs: Sequence[Run]) -> Iterator[Run]:
        """Runs without a result, looked for when their turn comes: others may have done them meanwhile."""
        return (run for run in runs if not self._is_done(run))

    def keep(self, run: Run, result: dict[str, Any]) -> None:
        """Write the result of a run, all of it or nothing."""
        origin = provenance()
        made = {"generator": as_json(self.generator_of(run)), "commit": origin["commit"], "time": origin["time"]}
        about = {"version": VERSION, "study": self.study, "run": asdict(run), **made}
        write_json(self._file(run), {**about, **result})

    def _is_done(self, run: Run) -> bool:
        file = self._file(run)
        return file.exists() and read_json(file).get("generator") == as_json(self.generator_of(run))

    def _file(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.name}.json"


def read_results(path: Path) -> dict[str, Any]:
    """A study with the `records` of its runs, from its folder or from the one file that `report --output` writes.

    Raises:
        LesionAugError: There is no result, or one of another version or study.
    """
    if path.is_file():
        check_version(found := read_json(path), path)
        return found
    if not (path / STUDY).is_file():
        raise LesionAugError(f"Expected a folder with {STUDY}, got {path}; run python -m benchmarks.downstream first")
    check_version(study := read_json(path / STUDY), path / STUDY)
    files = sorted((path / "runs").glob("*.json"))
    records = [read_json(file) for file in files]
    for file, record in zip(files, records, strict=True):
        check_version(record, file)
        if record["study"] != study["study"]:
            raise LesionAugError(f"Expected runs of study {study['study']}, got {record['study']} in {file}; remove it")
    check_one_generator(records)
    if not records:
        raise LesionAugError(f"Expected results in {path}, got none yet; wait for the first run")
    return {**study, "records": records}


def check_one_generator(records: Sequence[dict[str, Any]]) -> None:
    """All runs of an arm in a fold have lesions of one generator.

    Raises:
        LesionAugError: They have not.
    """
    first: dict[tuple[str, str], Any] = {}
    for record in records:
        arm, fold = record["run"]["arm"], record["run"]["fold"]
        if first.setdefault((arm, fold), record.get("generator")) != record.get("generator"):
            raise LesionAugError(
                f"Expected lesions of one generator in all runs of {arm}, fold {fold}, got those of several; run the "
                "study again, which makes the old ones new"
            )


def as_json(value: Any) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(value, default=str))


def check_version(found: dict[str, Any], path: Path) -> None:
    """Numbers mean what this program thinks they mean.

    Raises:
        LesionAugError: They do not.
    """
    if found.get("version") != VERSION:
        raise LesionAugError(
            f"Expected results of version {VERSION}, got {found.get('version')} in {path}; "
            "run the benchmark again, or read them with the program that wrote them"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        LesionAugError: It cannot be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LesionAugError(f"Expected results as JSON, got {path} ({error}); remove it and run again") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a file, all of it or nothing."""
    write_atomically(path, json.dumps(content, indent=1).encode() + b"\n")
