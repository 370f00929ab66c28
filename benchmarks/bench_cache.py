"""What does a cached variant cost: to know the scan again, to read, to paste; and how large is it?

`python -m benchmarks.bench_cache` fills a cache for one scan with the default models, one thread, and reads from it.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.cases import QUICK_PHANTOM, Case, FileCase, Head, PhantomCase
from benchmarks.measure import Timing, provenance
from benchmarks.result_files import write_result

if TYPE_CHECKING:
    import torchio as tio

    from lesionaug import SyntheticMSLesion

TARGET_S = 0.020
STAGES = {
    "render": "rendered in this process instead: anatomy, plan, lesions",
    "fingerprint": "know the scan again",
    "read": "read plan and voxels, check, unpack",
    "paste": "write into the images and the label",
    "total": "the transform, on a subject of its own",
    "copy": "TorchIO's copy of the subject before it",
    "call": "both, as a pipeline pays",
}


@dataclass(frozen=True)
class BenchCache:
    """Milliseconds and bytes of a cached variant, beside rendering it, in one run.

    Examples:
      python -m benchmarks.bench_cache --output benchmarks/results/cache-cpu.json
      python -m benchmarks.bench_cache --flair flair.nii.gz --t1w t1w.nii.gz

    Args:
        flair: FLAIR image; a phantom as large as a 1 mm scan where no image is given.
        t1w: T1-weighted image on the same grid.
        model: Models that fill the cache.
        lesions: In each variant.
        variants: How many.
        repeats: Of everything that is read.
        quick: A small phantom, without networks: shows that all of it runs.
        output: JSON file for times, sizes, hardware, versions and commit.
    """

    flair: Path | None = None
    t1w: Path | None = None
    model: str = "default"
    lesions: int = 10
    variants: int = 5
    repeats: int = 40
    quick: bool = False
    output: Path | None = None

    @property
    def case(self) -> Case:
        """The scan that is measured on."""
        given = tuple((name, path) for name, path in (("flair", self.flair), ("t1w", self.t1w)) if path is not None)
        return FileCase(given) if given else QUICK_PHANTOM if self.quick else PhantomCase()

    def run(self) -> None:
        """Measure, print, write."""
        import torch

        torch.set_num_threads(1)
        console, origin = Console(), provenance()
        with tempfile.TemporaryDirectory() as folder:
            found = measure(self, subject_of(self.case.head()), Path(folder))
        console.print(table(found))
        console.print(line(found), soft_wrap=True)
        if self.output:
            config = {**asdict(self), "case": asdict(self.case)}
            write_result(self.output, "cache", config, origin, asdict(found))
            console.print(f"wrote {self.output}")


@dataclass(frozen=True)
class Found:
    """What was measured.

    Args:
        stages: Time of each of `STAGES`.
        size: Bytes of the scan and of what is kept for one variant.
    """

    stages: dict[str, Timing]
    size: dict[str, float]


@dataclass
class Laps:
    """Seconds of each stage, on the wall's clock and of the processor; the first of each warms up."""

    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @contextmanager
    def lap(self, stage: str) -> Iterator[None]:
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        taken = (time.perf_counter() - start, time.process_time() - cpu_start)
        self.seconds.setdefault(stage, []).append(taken)

    def timings(self) -> dict[str, Timing]:
        return {stage: _timing(self.seconds[stage]) for stage in STAGES}


def subject_of(head: Head) -> tio.Subject:
    """As a data loader has it, in memory."""
    import torch
    import torchio as tio

    images = {
        channel: tio.ScalarImage(tensor=image[None], affine=head.affine)
        for channel, image in zip(head.channels, head.image, strict=True)
    }
    return tio.Subject(images, lesion=tio.LabelMap(tensor=head.lesion_mask.to(torch.uint8), affine=head.affine))


def measure(config: BenchCache, subject: tio.Subject, folder: Path) -> Found:
    """Fill, then read again and again, each time into a fresh copy of the scan."""
    import torch

    from lesionaug import SyntheticMSLesion

    images = {name: name for name in ("flair", "t1w") if name in subject}
    model = "parametric" if config.quick else config.model
    options: dict[str, Any] = {"images": images, "model": model, "num_lesions": config.lesions}
    transform = SyntheticMSLesion(**options, cache=folder, variants=config.variants)
    assert all(transform.fill(subject))
    uncached, laps = SyntheticMSLesion(**options), Laps()
    for repeat in range(1 + config.repeats):
        torch.manual_seed(repeat)
        if repeat <= config.variants:
            owned = copy.deepcopy(subject)
            with laps.lap("render"):
                uncached.apply_transform(owned)
        with laps.lap("copy"):
            owned = copy.deepcopy(subject)
        _stages(laps, transform, owned, repeat % config.variants)
        owned = copy.deepcopy(subject)
        with laps.lap("total"):
            transform.apply_transform(owned)
        with laps.lap("call"):
            transform(subject)
    return Found(laps.timings(), _sizes(subject, folder, config.variants))


def _stages(laps: Laps, transform: SyntheticMSLesion, owned: tio.Subject, variant: int) -> None:
    augmenter = transform.augmenter
    with laps.lap("fingerprint"):
        parts = transform._parts(owned)
        assert parts.content
    with laps.lap("read"):
        change = augmenter.rendering.change(parts, augmenter.variant(parts, variant))
    with laps.lap("paste"):
        transform.keys.write(owned, parts, change, in_place=True)


def _sizes(subject: tio.Subject, folder: Path, variants: int) -> dict[str, float]:
    scan = sum(image.data.nbytes for image in subject.get_images(intensity_only=False))
    files = [path.stat().st_size for path in folder.rglob("*.lesions")]
    variant = sum(files) / variants
    return {"scan_bytes": scan, "variant_bytes": variant, "share": variant / scan, "files": len(files)}


def _timing(seconds: list[tuple[float, float]]) -> Timing:
    wall, cpu = np.transpose(seconds[1:])
    median_s, p90_s = float(np.median(wall)), float(np.percentile(wall, 90))
    return Timing(seconds[0][0], median_s, p90_s, float(np.median(cpu)), len(wall))


def table(found: Found) -> Table:
    """A row for each stage."""
    shown = Table(caption="one thread; processor: median time that the process itself had")
    for name in ("ms", "median", "90 %", "processor", ""):
        shown.add_column(name, justify="left" if name in ("ms", "") else "right")
    for stage, what in STAGES.items():
        timing = found.stages[stage]
        times = (timing.median_s, timing.p90_s, timing.cpu_s)
        shown.add_row(stage, *(f"{1000 * seconds:,.1f}" for seconds in times), what)
    return shown


def line(found: Found) -> str:
    """Sizes, the ratio, and whether the target is reached."""
    total, render, size = found.stages["total"], found.stages["render"], found.size
    reached = "reached" if total.median_s < TARGET_S else "MISSED"
    return (
        f"{size['variant_bytes'] / 1000:,.1f} kB for a variant, {100 * size['share']:.3f} % of the scan's "
        f"{size['scan_bytes'] / 1e6:,.1f} MB; {render.median_s / total.median_s:,.0f} times faster than rendering\n"
        f"{reached}: below {1000 * TARGET_S:.0f} ms on one thread (found {1000 * total.median_s:.1f} ms, "
        f"{1000 * total.cpu_s:.1f} ms of the processor)"
    )


if __name__ == "__main__":
    tyro.cli(BenchCache).run()
