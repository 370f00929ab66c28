"""`python -m benchmarks.downstream smoke|simulated|pilot|zero|mslesseg|open_ms`: train what is missing, and test it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import tyro

from benchmarks.command_line import resumable
from benchmarks.downstream.arms import Lesions
from benchmarks.downstream.cases import Cohort
from benchmarks.downstream.files import Pilot, Source, pilot_cohort, source_cohort
from benchmarks.downstream.quick import Quick
from benchmarks.downstream.simulated import Simulation, simulated_cohort
from benchmarks.downstream.study import Study
from benchmarks.downstream.zero import ARMS, Hosts, zero_cohort


@dataclass(frozen=True)
class Simulated:
    """Real anatomy and lesion masks in invented scanners: large enough to tell arms apart, no clinical evidence."""

    study: Study = field(default_factory=Study)
    cohort: Simulation = field(default_factory=Simulation)

    def make(self) -> Cohort:
        """The cohort."""
        return simulated_cohort(self.cohort)


@dataclass(frozen=True)
class Imaged:
    """Imaged patients of the shared data, one left out at a time: a pilot."""

    study: Study = field(default_factory=Study)
    cohort: Pilot = field(default_factory=Pilot)

    def make(self) -> Cohort:
        """The cohort."""
        return pilot_cohort(self.cohort)


@dataclass(frozen=True)
class OnDisk:
    """A whole data set, patients to train and other patients to test."""

    study: Study = field(default_factory=Study)
    cohort: Source = field(default_factory=Source)

    def make(self) -> Cohort:
        """The cohort."""
        return source_cohort(self.cohort)


@dataclass(frozen=True)
class Zero:
    """Synthetic lesions judged by use: nearly healthy hosts to learn from, patients of other scanners to test."""

    study: Study = field(default_factory=Study)
    cohort: Hosts = field(default_factory=Hosts)

    def make(self) -> Cohort:
        """The cohort."""
        return zero_cohort(self.cohort)


SMOKE = Study(
    arms=("none", "copy_paste", "lesionaug"),
    patients=(2,),
    draws=(0,),
    seeds=(0,),
    lesions=Lesions(model="parametric", variants=1),
    quick=Quick(steps=4, batch=2, filters=(4, 4, 8), refresh=2),
)
RESOLVED = Study(
    patients=(1, 2, 3),
    draws=tuple(range(8)),
    seeds=(0, 1, 2, 3),
    lesions=Lesions(variants=8),
    quick=Quick(steps=700, refresh=25),
)
"""All draws of a pool of eight, and as many seeds as tell two points of Dice between two arms on these draws."""
LEAVE_ONE_OUT = Study(
    patients=(3,), draws=(0,), seeds=(0,), lesions=Lesions(variants=8), quick=Quick(steps=1000, refresh=25)
)
SYNTHETIC = Study(
    arms=ARMS,
    patients=(3,),
    draws=(0,),
    seeds=(0, 1, 2),
    lesions=Lesions(probability=1.0, num_lesions=(5, 40), variants=12),
    quick=Quick(steps=1500, refresh=25, grid_mm=1.0),
)
"""All hosts with new lesions whenever they are read; networks see 1 mm."""
LONG = Quick(steps=5000, batch=4, patch=64, filters=(32, 64, 128, 256), refresh=50, device="cuda")
CURVE = Study(patients=(1, 2, 5, 10), draws=(0, 1, 2), seeds=(0, 1), quick=LONG)
"""Protocol of the data sets that users download: the curve of peers' studies, on a GPU."""

PROTOCOLS = {
    "smoke": Simulated(SMOKE, Simulation(pool=2, test=1, healthy_hosts=1, healthy_test=1)),
    "simulated": Simulated(RESOLVED, Simulation(pool=8, healthy_test=2)),
    "pilot": Imaged(LEAVE_ONE_OUT),
    "zero": Zero(SYNTHETIC),
    "mslesseg": OnDisk(CURVE, Source(Path("MSLesSeg"), "mslesseg")),
    "open_ms": OnDisk(CURVE, Source(Path("open_ms_data"), "open_ms")),
}
"""Named values; every field can be given on the command line."""


def main(arguments: list[str] | None = None) -> None:
    """Run a protocol, or say what is wrong."""
    kinds = tyro.extras.subcommand_type_from_defaults(PROTOCOLS)
    protocol = tyro.cli(kinds, args=arguments, prog="benchmarks.downstream")
    with resumable():
        protocol.study.run(protocol.make(), asdict(protocol.cohort))


if __name__ == "__main__":
    main()
