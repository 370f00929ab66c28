"""One row of the synthesis benchmark: what a pair of models costs. Each is meant to run in a fresh process.

Nothing heavy is imported before the clock runs, so that start-up can be told from steady work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cases import Head
from benchmarks.measure import Timing, peak_device_memory_gb, peak_memory_gb, stopwatch, timed

if TYPE_CHECKING:
    from lesionaug.scan import LesionPlan, Scan
    from lesionaug.synthesis import LesionSynthesizer

DRAW, PAINT = "diffmask", "lefusion"


@dataclass(frozen=True)
class Work:
    """What a row is measured on.

    Args:
        lesions: In a scan.
        repeats: Plans that are rendered, each with other lesions.
        published_calls: Of each published network, instead of the hundreds that a lesion takes.
        threads: Of the processor.
        seed: Of the plans.
    """

    lesions: int = 10
    repeats: int = 5
    published_calls: int = 2
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """What a pair of models costs on a device.

    Args:
        model: Its name.
        device: Where its networks ran.
        threads: Of the processor.
        how: Whether all was measured, or a part of it and scaled.
        startup_s: What happens once per process: imports, loading the models.
        stages: What happens once per scan, or for the published networks once per call.
        lesions: In a scan.
        lesion_s: Seconds per lesion, to draw and to paint it.
        scan_s: Seconds per scan after start-up: its anatomy (where measured), the plan, and all lesions.
        calls: Network calls per lesion.
        gflop: Billions of operations of the networks per lesion.
        peak_gb: Largest memory of the process.
        peak_device_gb: Largest memory on the GPU.
        digests: Which weights.
    """

    model: str
    device: str
    threads: int
    how: str
    startup_s: dict[str, float]
    stages: dict[str, Timing]
    lesions: int
    lesion_s: float
    scan_s: float
    calls: dict[str, float]
    gflop: dict[str, float]
    peak_gb: float
    peak_device_gb: float | None
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def gflop_per_lesion(self) -> float:
        """Of both networks."""
        return sum(self.gflop.values())


def measure_synthesizer(model: str, device: str, head_file: Path, work: Work) -> Row:
    """A packaged pair of models on a scan: anatomy, plan and lesions."""
    startup_s: dict[str, float] = {}
    with stopwatch(lambda s: startup_s.update(imports=s)):
        from lesionaug.anatomy import anatomy_from_images
        from lesionaug.models.registry import model_digest
        from lesionaug.synthesis import load_synthesizer
    set_threads(work.threads)
    with stopwatch(lambda s: startup_s.update(models=s)):
        synthesizer = load_synthesizer(model, device=device)
    head = Head.read(head_file)
    anatomy = timed(
        lambda _: anatomy_from_images(head.image, head.channels, head.affine, head.lesion_mask), work.repeats
    )
    scan = _scan(head)
    plan = timed(lambda index: _plan(synthesizer, scan, work, index), work.repeats)
    plans = [_plan(synthesizer, scan, work, index) for index in range(work.repeats)]
    render = timed(lambda index: synthesizer.render(scan, plans[index]), work.repeats, device)
    peaks = peak_memory_gb(), peak_device_memory_gb(device)
    calls, gflop = _compute(synthesizer, scan, plans[0])
    return Row(
        model=model,
        device=device,
        threads=work.threads,
        how="measured",
        startup_s=startup_s,
        stages={"anatomy": anatomy, "plan": plan, "render": render},
        lesions=work.lesions,
        lesion_s=render.median_s / work.lesions,
        scan_s=anatomy.median_s + plan.median_s + render.median_s,
        calls=calls,
        gflop=gflop,
        peak_gb=peaks[0],
        peak_device_gb=peaks[1],
        digests={job: model_digest(model, job) for job in (DRAW, PAINT)},
    )


def set_threads(threads: int) -> None:
    """Of the processor, for torch."""
    import torch

    torch.set_num_threads(threads)


def _scan(head: Head) -> Scan:
    from lesionaug.assemble import assemble_scan

    images = {channel: values[None] for channel, values in zip(head.channels, head.image, strict=True)}
    return assemble_scan(images, head.affine, head.lesion_mask)


def _plan(synthesizer: LesionSynthesizer, scan: Scan, work: Work, index: int) -> LesionPlan:
    import torch

    from lesionaug.plan_options import PlanOptions

    generator = torch.Generator().manual_seed(work.seed + index)
    plan = synthesizer.plan(scan, generator, PlanOptions(num_lesions=work.lesions))
    if len(plan) != work.lesions:
        raise RuntimeError(f"Expected room for {work.lesions} lesions, got {len(plan)}; ask for fewer")
    return plan


def _compute(synthesizer: LesionSynthesizer, scan: Scan, plan: LesionPlan) -> tuple[dict[str, float], dict[str, float]]:
    """Calls and GFLOP per lesion of each network, as the mean over a plan."""
    from benchmarks.compute import counted, networks_of

    renderer = synthesizer.renderer
    with counted(networks_of(**{DRAW: renderer.masks, PAINT: renderer.inpainter})) as uses:
        synthesizer.render(scan, plan)
    calls = {job: use.calls / len(plan) for job, use in uses.items()}
    return calls, {job: use.flop / 1e9 / len(plan) for job, use in uses.items()}
