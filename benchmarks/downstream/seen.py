"""Does a network that has learnt from real lesions see synthetic ones as it sees real ones?

`python -m benchmarks.downstream.seen cohort:pilot` trains on real lesions alone and puts synthetic ones into the tested
scans. Where these are found less often than real ones of the same size, or are seen larger or smaller than their
labels, they would teach a network something that is not so. In `cohort:simulation` "real" lesions are made, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Bool
from scipy import ndimage

from benchmarks.downstream.arms import Lesions, all_arms
from benchmarks.downstream.cases import Cohort, Fold, drawn_patients
from benchmarks.downstream.changes import Change, CopyPaste
from benchmarks.downstream.files import Pilot, pilot_cohort
from benchmarks.downstream.lesions import BINS_MM3, ENOUGH, bin_names, lesions_of
from benchmarks.downstream.quick import Quick, predicted, trained
from benchmarks.downstream.report import markdown
from benchmarks.downstream.simulated import Simulation, simulated_cohort
from benchmarks.measure import provenance
from benchmarks.result_files import write_result

Array = np.ndarray
Mask = Bool[Array, "i j k"]
AROUND = 2
"""Voxels around a lesion in which what is predicted counts as seen of it."""
SOURCES = ("real", "copy_paste", "lesionaug", "lesionaug_halo")


@dataclass(frozen=True)
class Sight:
    """One lesion, as a network sees it.

    Args:
        labelled: Voxels of its label.
        seen: Voxels predicted in it and around it.
        both: Voxels of its label that are predicted.
        mm3: Volume of a voxel.
    """

    labelled: int
    seen: int
    both: int
    mm3: float

    @property
    def size(self) -> int:
        """Index of its bin of volume."""
        return int(np.digitize(self.labelled * self.mm3, BINS_MM3[1:-1], right=True))

    @property
    def found(self) -> bool:
        """By the rule of the metrics."""
        return self.both >= ENOUGH * self.labelled


@dataclass(frozen=True)
class Seen:
    """Synthetic lesions through the eyes of a network that learnt from real ones.

    Args:
        cohort: Who is trained on and who is tested.
        patients: To train on; all of the pool if there are fewer.
        draw: Which of them.
        count: Synthetic lesions put into a scan at a time.
        rounds: Times that is done with each scan.
        lesions: How they are made.
        quick: The training.
        seed: Of all that is random.
        output: File of the result.
    """

    cohort: Simulation | Pilot
    patients: int = 2
    draw: int = 0
    count: int = 25
    rounds: int = 1
    lesions: Lesions = field(default_factory=Lesions)
    quick: Quick = field(default_factory=lambda: Quick(steps=1000, refresh=100))
    seed: int = 0
    output: Path | None = None

    def run(self) -> None:
        """Train, look, print."""
        origin = provenance()
        cohort = simulated_cohort(self.cohort) if isinstance(self.cohort, Simulation) else pilot_cohort(self.cohort)
        sights: dict[str, list[Sight]] = {source: [] for source in SOURCES}
        for fold in cohort.folds:
            for source, found in self.sights_in(fold, cohort).items():
                sights[source] += found
            print(f"fold {fold.name} done", flush=True)
        rows = list(table(sights))
        print("\n".join(markdown(list(rows[0]), [list(map(_shown, row.values())) for row in rows])))
        if self.output:
            write_result(self.output, "seen", asdict(self), origin, {"rows": rows})

    def sights_in(self, fold: Fold, cohort: Cohort) -> dict[str, list[Sight]]:
        """All lesions of the tested scans of a fold, real ones and each source's."""
        pool = len({cohort.patients[name] for name in fold.pool})
        cases = cohort.cases(drawn_patients(fold, cohort.patients, min(self.patients, pool), self.draw))
        net, _ = trained(all_arms(self.lesions, Path())["none"], cases, (), self.quick, self.seed)
        found: dict[str, list[Sight]] = {source: [] for source in SOURCES}
        for case in cohort.cases(fold.test):
            real = case.scan.lesion_mask[0].numpy()
            found["real"] += sights(predicted(net, case, self.quick), real, real, case.scan.voxel_mm3)
            for source, change in self.changes(fold).items():
                for number in range(self.rounds):
                    after = change(case, cases, np.random.default_rng([self.seed, number]))
                    both = after.lesion_mask[0].numpy()
                    mask = predicted(net, replace(case, scan=after), self.quick)
                    found[source] += sights(mask, both & ~real, both, case.scan.voxel_mm3)
        return found

    def changes(self, fold: Fold) -> Mapping[str, Change]:
        """What puts synthetic lesions in."""
        made = replace(self.lesions.in_fold(fold.name), num_lesions=(self.count, self.count))
        return {
            "copy_paste": CopyPaste(made.num_lesions),
            "lesionaug": made.new(halo=False),
            "lesionaug_halo": made.new(halo=True),
        }


def sights(predicted_mask: Mask, lesions: Mask, all_lesions: Mask, voxel_mm3: float) -> list[Sight]:
    """Each lesion that has no other one near it, so that what is seen there is of it.

    Args:
        predicted_mask: What the network sees.
        lesions: Those asked about.
        all_lesions: Those and all others.
        voxel_mm3: Volume of a voxel.
    """
    numbered, _ = lesions_of(lesions, voxel_mm3)
    found = []
    for number, box in enumerate(ndimage.find_objects(numbered), 1):
        wide = tuple(slice(max(side.start - AROUND, 0), side.stop + AROUND) for side in box)
        own = numbered[wide] == number
        near = ndimage.binary_dilation(own, iterations=AROUND)
        if not (all_lesions[wide] & near & ~own).any():
            seen = predicted_mask[wide] & near
            found.append(Sight(int(own.sum()), int(seen.sum()), int((seen & own).sum()), voxel_mm3))
    return found


def table(found: Mapping[str, Sequence[Sight]]) -> Iterator[dict[str, Any]]:
    """A row for each size and source: how many there are, share found, and what is seen of those that are found."""
    for index, name in enumerate(bin_names()):
        for source, all_sights in found.items():
            own = [sight for sight in all_sights if sight.size == index]
            yield {"mm3": name, "lesions": source, "count": len(own), **_summary(own)}


def _summary(own: Sequence[Sight]) -> dict[str, float | None]:
    found = [sight for sight in own if sight.found]
    labelled, seen, both = (sum(getattr(sight, name) for sight in found) for name in ("labelled", "seen", "both"))
    return {
        "found": len(found) / len(own) if own else None,
        "seen / labelled volume": seen / labelled if found else None,
        "Dice of found": 2 * both / (labelled + seen) if found else None,
    }


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    tyro.cli(Seen).run()
