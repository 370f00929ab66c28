"""Can tissue that fills a hole be told from the tissue that was there?

`python -m benchmarks.bench_filling` cuts lesion-shaped holes into healthy tissue, fills them, and has the two-sample
test of `benchmarks.realism` tell filled from true tissue at the same places. 0.5: it cannot; 1: always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.measure import provenance
from benchmarks.realism.appearance import feature_names, robust_units, scan_features
from benchmarks.realism.hosts import HostScan, load_host
from benchmarks.realism.twosample import TwoSample, in_host_auc
from benchmarks.result_files import write_result
from lesionaug.assemble import assemble_scan
from lesionaug.filling import fill_lesions, level_of
from lesionaug.plan_options import PlanOptions
from lesionaug.scan import LesionPlan, Scan
from lesionaug.synthesis import LesionSynthesizer, load_synthesizer

CHANNEL = ("flair",)


@dataclass(frozen=True)
class Cut:
    """A scan with holes in its healthy tissue.

    Args:
        scan: As it is.
        plan: Lesions whose masks the holes are.
        holes: Shape `(1, i, j, k)`.
    """

    scan: Scan
    plan: LesionPlan
    holes: torch.Tensor

    @property
    def patient(self) -> Scan:
        """As if there were lesions in the holes, besides those that there are."""
        return replace(self.scan, lesion_mask=self.holes | self.scan.lesion_mask)


Fill = Callable[[LesionSynthesizer, Cut], np.ndarray]


def fill(synthesizer: LesionSynthesizer, cut: Cut) -> np.ndarray:
    """What `lesionaug fill` does."""
    return fill_lesions(cut.patient, margin_mm=0.0).image[0].numpy()


def level(synthesizer: LesionSynthesizer, cut: Cut) -> np.ndarray:
    """The level of the tissue around, without grain and without a look at what that tissue is."""
    patient, spacing = cut.patient, np.asarray(cut.scan.spacing_mm)
    healthy = ((patient.eligible > 0) & patient.brain & ~patient.lesion_mask)[0].numpy()
    return level_of(patient.image[0].numpy(), healthy, spacing)


def lefusion(synthesizer: LesionSynthesizer, cut: Cut) -> np.ndarray:
    """LeFusion, told that there is no contrast; with the true grain, which it could not have of a patient."""
    plain = tuple(replace(spec, contrast=tuple((name, 0.0) for name, _ in spec.contrast)) for spec in cut.plan)
    return synthesizer.render(cut.scan, replace(cut.plan, lesions=plain)).image[0].numpy()


FILLS: dict[str, Fill] = {"fill": fill, "level": level, "lefusion": lefusion}


@dataclass(frozen=True)
class BenchFilling:
    """Two-sample test and errors of filled holes, in FLAIR.

    Args:
        hosts: Scans of the shared data.
        lesions: Holes in each.
        seed: Of where they are.
        output: JSON file for the figures, hardware, versions and commit.
    """

    hosts: tuple[str, ...] = ("patient07", "P14_T1", "flair_example")
    lesions: int = 30
    seed: int = 0
    output: Path | None = None

    def run(self) -> None:
        """Cut, fill, test, print, write."""
        torch.set_num_threads(1)
        synthesizer, origin = load_synthesizer(), provenance()
        cuts = {name: self._cut(synthesizer, load_host(name, CHANNEL)) for name in self.hosts}
        true = {name: features(cut, cut.scan.image[0].numpy()) for name, cut in cuts.items()}
        found = {}
        for kind, filled in FILLS.items():
            images = {name: filled(synthesizer, cut) for name, cut in cuts.items()}
            found[kind] = judged(cuts, true, images)
            print(f"{kind:10s} {found[kind]['line']}", flush=True)
        if self.output:
            write_result(self.output, "filling", asdict(self), origin, {"found": found})

    def _cut(self, synthesizer: LesionSynthesizer, host: HostScan) -> Cut:
        images = {name: torch.from_numpy(image)[None] for name, image in host.images.items()}
        scan = assemble_scan(images, host.affine, torch.from_numpy(host.lesions)[None])
        options = PlanOptions(num_lesions=self.lesions, diameter_mm=(4.0, 12.0))
        plan = synthesizer.plan(scan, torch.Generator().manual_seed(self.seed), options)
        return Cut(scan, plan, synthesizer.render(scan, plan).lesion_mask & ~scan.lesion_mask)


def features(cut: Cut, image: np.ndarray) -> np.ndarray:
    """Of the tissue in each hole."""
    brain, lesions = cut.scan.brain[0].numpy(), cut.patient.lesion_mask[0].numpy()
    units = {CHANNEL[0]: robust_units(image, brain)}
    return scan_features(units, brain, cut.holes[0].numpy(), lesions, cut.scan.spacing_mm)


def judged(cuts: Mapping[str, Cut], true: Mapping[str, np.ndarray], images: Mapping[str, np.ndarray]) -> dict:
    """Figures of one way to fill, over all hosts."""
    filled = {name: features(cut, images[name]) for name, cut in cuts.items()}
    hosts = np.concatenate([[name] * len(rows) for name, rows in true.items()])
    one, other = (np.concatenate(list(rows.values())) for rows in (true, filled))
    test = in_host_auc(one, other, hosts, hosts)
    spread = feature_names(CHANNEL).index("flair_sd")
    figures = {
        "error": float(np.mean([error(cut, images[name]) for name, cut in cuts.items()])),
        "sd_ratio": float(np.median(other[:, spread] / one[:, spread])),
    }
    return {**asdict(test), **figures, "line": line(test, figures)}


def error(cut: Cut, image: np.ndarray) -> float:
    """Mean absolute difference from what was there, robust units."""
    brain, hole = cut.scan.brain[0].numpy(), cut.holes[0].numpy()
    was = robust_units(cut.scan.image[0].numpy(), brain)[hole]
    return float(np.abs(robust_units(image, brain)[hole] - was).mean())


def line(test: TwoSample, figures: Mapping[str, float]) -> str:
    """For people."""
    return f"AUC {test}; error {figures['error']:.2f} robust units; SD {figures['sd_ratio']:.2f} of the true one"


if __name__ == "__main__":
    tyro.cli(BenchFilling, description=__doc__).run()
