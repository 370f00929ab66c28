"""What do synthetic lesions teach? Networks that learn from nearly healthy scans, tested on patients.

    python -m benchmarks.downstream zero --study.lesions.lefusion MODEL
    python -m benchmarks.downstream.report downstream --output downstream-zero.json
    python -m benchmarks.downstream.zero downstream-zero.json

Three scans have few lesions of their own, or none; all else that an arm learns from is synthetic, with equal plans in
all arms. So what a network sees in patients tells whether label and image of synthetic lesions agree as they do in real
ones. Scans of a third scanner, with slices of 6 to 8 mm, are interpolated to the 1 mm that the network knows, and its
answer is brought back to the slices before it is scored. A voxel is lesion from a probability of 0.5, in all arms; a
lesion is 26-connected and has 3 mm3 or more. Tested scans have the brain masks that came with them.

LeFusion has to be one that has not learnt from the tested patients. The packaged DiffMask and prior know their masks.
MSLesSeg's brains are larger than life, in training and in test alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.downstream.cases import Cohort, Fold, remembering
from benchmarks.downstream.files import case_of_host
from benchmarks.downstream.report import arms_of, markdown, shared_runs
from benchmarks.downstream.runs import read_results
from benchmarks.realism.hosts import DEFAULT_HOSTS, HEALTHY, load_host, patient_of
from lesionaug.errors import LesionAugError

ARMS = ("none", "lesionaug_ellipsoids", "lesionaug_halo", "lesionaug")
"""`lesionaug_halo` is the default of the package in everything but the number of lesions."""
SMALL = ("10-50", "50-100")
"""Bins of volume in mm3 that a small lesion is in."""
THIN = ("patient19", "P14_T1", "P14_T2", "P14_T3")
"""Of open_ms and MSLesSeg, 1 mm."""
THICK = tuple(f"ms3_{number:02d}" for number in (1, 3, 4, 6, 7, 9, 10, 11, 13, 14))
"""Of ms3seg; two of them are one patient's."""
WITH_SKULL = ("ms3_03", "ms3_06", "ms3_07", "ms3_09", "ms3_13")
"""Eyes, marrow or fat lie in their brain masks, and networks are shown them."""
DOMAINS = ("1 mm", "thick slices", "thick slices, skull left")
COLUMNS = ("dice", "f1", "precision", "recall")

Case = Mapping[str, Any]


@dataclass(frozen=True)
class Hosts:
    """Who learns and who is tested.

    Args:
        hosts: Scans of the shared data with few lesions or none, to train on.
        test: Scans of patients, of whom neither networks nor LeFusion have seen any.
    """

    hosts: tuple[str, ...] = (HEALTHY, *DEFAULT_HOSTS)
    test: tuple[str, ...] = (*THIN, *THICK)


def zero_cohort(chosen: Hosts) -> Cohort:
    """One fold, FLAIR alone.

    Raises:
        LesionAugError: A patient is trained on and tested.
    """
    patients = {name: patient_of(name) for name in (*chosen.hosts, *chosen.test)}
    tested = len({patients[name] for name in chosen.test})
    return Cohort(
        name=f"zero: {len(chosen.hosts)} nearly healthy hosts, {tested} patients tested",
        load=remembering(lambda name: case_of_host(load_host(name, ("flair",)), only_tested=name in chosen.test)),
        patients=patients,
        folds=(Fold("all", chosen.hosts, chosen.test),),
    )


@dataclass(frozen=True)
class Table:
    """Print what each arm reaches, by kind of scan.

    Args:
        results: Folder of a study, or the file that `report --output` wrote.
    """

    results: tyro.conf.Positional[Path]

    def run(self) -> None:
        """Print it."""
        print("\n".join(page(read_results(self.results)["records"])))


def page(records: Sequence[dict[str, Any]]) -> list[str]:
    """A table: mean over patients and seeds, and the least and largest of the seeds; of seeds that all arms have."""
    shown = shared_runs(records) or records
    head = ["scans", "arm", "seeds", *COLUMNS, "recall, 10 to 100 mm3"]
    return markdown(head, [_row(domain, arm, shown) for domain in DOMAINS for arm in arms_of(shown)])


def _row(domain: str, arm: str, records: Sequence[dict[str, Any]]) -> list[str]:
    runs = [patients_in(record["cases"], domain) for record in records if record["run"]["arm"] == arm]
    of_all: list[Callable[[Sequence[Case]], float | None]] = [*(_mean_of(name) for name in COLUMNS), small_recall]
    return [domain, arm, str(len(runs)), *(_spread([over_patients(run, of) for run in runs]) for of in of_all)]


def patients_in(cases: Mapping[str, Case], domain: str) -> dict[str, list[Case]]:
    """Results of each patient's scans, of the patients whose scans are of a kind."""
    found: dict[str, list[Case]] = {}
    for name, case in cases.items():
        if domain_of(name) == domain:
            found.setdefault(case["patient"], []).append(case)
    return found


def domain_of(name: str) -> str:
    """The kind of a tested scan."""
    return DOMAINS[(name in THICK) + (name in WITH_SKULL)]


def over_patients(patients: Mapping[str, Sequence[Case]], of: Callable[[Sequence[Case]], float | None]) -> float:
    """Mean over the patients for whom there is a number."""
    values = [value for cases in patients.values() if (value := of(cases)) is not None]
    return float(np.mean(values)) if values else float("nan")


def small_recall(cases: Sequence[Case]) -> float | None:
    """Found among the lesions of 10 to 100 mm3 of a patient's scans; none where there are no such lesions."""
    found, real = np.sum([case["by_size"][name] for case in cases for name in SMALL], axis=0)
    return float(found / real) if real else None


def _mean_of(metric: str) -> Callable[[Sequence[Case]], float | None]:
    return lambda cases: float(np.mean([case[metric] for case in cases]))


def _spread(values: Sequence[float]) -> str:
    """As it is shown."""
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def main() -> None:
    """Print the table, or say why not."""
    try:
        tyro.cli(Table).run()
    except LesionAugError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
