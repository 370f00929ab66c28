"""What do the methods without a network cost beside ours: CarveMix, copy and paste, and the package, in one process?

`python -m benchmarks.bench_baselines` changes one scan with each and prints seconds per changed scan.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from benchmarks.cases import Head, PhantomCase
from benchmarks.measure import Timing, provenance, timed

if TYPE_CHECKING:
    from lesionaug.scan import Scan

QUICK = PhantomCase(shape=(110, 130, 110))
MODELS = ("parametric", "default")


@dataclass(frozen=True)
class BenchBaselines:
    """Seconds per scan: CarveMix, copy-paste, ours.

    Args:
        lesions: That copy-paste and ours put in; CarveMix carves all of its donor's.
        repeats: Scans changed by each, after a first that is not counted.
        threads: Of the processor.
        quick: A smaller phantom, once, without the default models: shows that all of it runs.
        output: JSON file for timings, hardware, versions and commit.
    """

    lesions: int = 10
    repeats: int = 5
    threads: int = 1
    quick: bool = False
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write."""
        import torch

        torch.set_num_threads(self.threads)
        case = QUICK if self.quick else PhantomCase()
        host, donor = (scan_of(PhantomCase(case.shape, seed=seed).head()) for seed in (0, 1))
        repeats = 1 if self.quick else self.repeats
        found = {name: timed(run, repeats) for name, run in runs(self, host, donor).items()}
        print("\n".join(lines(found)))
        if self.output:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            rows = {name: asdict(timing) for name, timing in found.items()}
            written = {"rows": rows, "settings": {**asdict(self), "output": None}, **provenance()}
            self.output.write_text(json.dumps(written, indent=1) + "\n")


def runs(config: BenchBaselines, host: Scan, donor: Scan) -> dict[str, Callable[[int], Scan]]:
    """Each method as a function from a seed to a changed scan; what it may prepare once is prepared."""
    import numpy as np
    import torch

    from benchmarks.baselines import carvemix, copy_paste, donors_in
    from lesionaug.prior import PlanOptions
    from lesionaug.synthesis import load_synthesizer

    donors, options = donors_in(donor, "donor"), PlanOptions(num_lesions=config.lesions)
    found: dict[str, Callable[[int], Scan]] = {
        "carvemix": lambda seed: carvemix(host, donor, np.random.default_rng(seed)),
        "copy_paste": lambda seed: copy_paste(host, donors, np.random.default_rng(seed), (config.lesions,) * 2),
    }
    for model in MODELS[:1] if config.quick else MODELS:
        ours = load_synthesizer(model)

        def synthesize(seed: int, ours=ours) -> Scan:
            plan = ours.plan(host, torch.Generator().manual_seed(seed), options)
            return ours.render(host, plan)

        found[f"lesionaug {model}"] = synthesize
    return found


def scan_of(head: Head) -> Scan:
    """With the anatomy that every method may know beforehand."""
    from lesionaug.assemble import assemble_scan

    images = {channel: image[None] for channel, image in zip(head.channels, head.image, strict=True)}
    return assemble_scan(images, head.affine, head.lesion_mask)


def lines(found: dict[str, Timing]) -> list[str]:
    """One for each method."""
    head = f"{'':24s} {'median s':>9s} {'90 % s':>9s} {'cpu s':>9s}"
    return [head, *(f"{name:24s} {t.median_s:9.2f} {t.p90_s:9.2f} {t.cpu_s:9.2f}" for name, t in found.items())]


if __name__ == "__main__":
    tyro.cli(BenchBaselines).run()
