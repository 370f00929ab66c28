"""What the published models cost, from a few calls of their networks.

A lesion takes hundreds of calls of one cost, so a few of them tell. What is run is the published models themselves,
with a schedule so short that they are done after those few.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.measure import Timing, peak_device_memory_gb, peak_memory_gb, stopwatch, timed
from benchmarks.synthesis_rows import DRAW, PAINT, Row, Work, set_threads

if TYPE_CHECKING:
    from lesionaug.models.base import MaskConditions, PaintConditions
    from lesionaug.models.published import PublishedDiffMask, PublishedLeFusion
    from lesionaug.networks.unet3d import Unet3DConfig

PUBLISHED = "published 2/2"


def measure_published(
    device: str,
    work: Work,
    network: Unet3DConfig | None = None,
    patch_shape: tuple[int, int, int] = (32, 64, 64),
) -> Row:
    """The published models by a few calls of their networks, scaled to RePaint 2/2 after 300 steps of DiffMask.

    Weights are random: they change no time and no count.

    Args:
        device: Where the networks run.
        work: How many calls; the rest is what the result is scaled to.
        network: Another size than the published one.
        patch_shape: Frames, rows and columns.
    """
    startup_s: dict[str, float] = {}
    with stopwatch(lambda s: startup_s.update(imports=s)):
        import lesionaug.models.published  # noqa: F401, its time is wanted
        from lesionaug.models.published_config import DiffMaskConfig, LeFusionConfig
    set_threads(work.threads)
    draw = DiffMaskConfig(patch_shape=patch_shape)
    paint = LeFusionConfig(patch_shape=patch_shape, jump_length=2, jump_n_sample=2)
    if network is not None:
        draw = replace(draw, network=replace(network, in_channels=2))
        paint = replace(paint, network=replace(network, condition_size=16))
    with stopwatch(lambda s: startup_s.update(models=s)):
        models = _published(draw, paint, device, work.published_calls)
    whole = {DRAW: draw.diffusion_steps, PAINT: repaint_calls(paint.diffusion_steps, 2, 2)}
    calls, gflop, stages = _few_calls(models, device)
    lesion_s = sum(stages[job].median_s / calls[job] * whole[job] for job in whole)
    return Row(
        model=PUBLISHED,
        device=device,
        threads=work.threads,
        how=f"scaled from {' + '.join(str(calls[job]) for job in whole)} calls",
        startup_s=startup_s,
        stages={f"{calls[job]} calls of {job}": stages[job] for job in whole},
        lesions=work.lesions,
        lesion_s=lesion_s,
        scan_s=lesion_s * work.lesions,
        calls=dict(whole),
        gflop={job: gflop[job] / calls[job] * whole[job] for job in whole},
        peak_gb=peak_memory_gb(),
        peak_device_gb=peak_device_memory_gb(device),
    )


def repaint_calls(steps: int, jump_length: int, jump_n_sample: int) -> int:
    """Network calls of RePaint: its transitions towards less noise."""
    from lesionaug.diffusion.inpainting import repaint_times

    return sum(then < now for now, then in pairwise(repaint_times(steps, jump_length, jump_n_sample)))


def _published(draw, paint, device: str, calls: int) -> tuple[PublishedDiffMask, PublishedLeFusion]:
    """The published models with a schedule so short that they are done after a few calls."""
    from lesionaug.diffusion.schedules import cosine_tables
    from lesionaug.models.published import PublishedDiffMask, PublishedLeFusion
    from lesionaug.networks.unet3d import Unet3D

    tables = cosine_tables(calls).to(device)
    networks = [Unet3D(config.network).to(device).eval().requires_grad_(False) for config in (draw, paint)]
    return PublishedDiffMask(networks[0], tables, draw), PublishedLeFusion(networks[1], tables, paint)


def _few_calls(
    models: tuple[PublishedDiffMask, PublishedLeFusion], device: str
) -> tuple[dict[str, int], dict[str, float], dict[str, Timing]]:
    """Calls and GFLOP of each network in one run of its model, and the time of that run."""
    import torch

    from benchmarks.compute import counted, networks_of
    from lesionaug.errors import LesionAugWarning

    draw, paint = models
    masks, tissue = _conditions(draw.patch_shapes[0], paint.channels, device)
    runs = {
        DRAW: lambda _: draw(masks, [torch.Generator().manual_seed(0)]),
        PAINT: lambda _: paint(tissue, [torch.Generator().manual_seed(0)]),
    }
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", LesionAugWarning)  # random weights draw no lesion
        with counted(networks_of(**{DRAW: draw, PAINT: paint})) as uses:
            for run in runs.values():
                run(0)
        stages = {job: timed(run, 1, device) for job, run in runs.items()}
    return {job: use.calls for job, use in uses.items()}, {job: use.flop / 1e9 for job, use in uses.items()}, stages


def _conditions(
    shape: tuple[int, int, int], channels: tuple[str, ...], device: str
) -> tuple[MaskConditions, PaintConditions]:
    """A ball of a lesion in noise."""
    import torch

    from lesionaug.models.base import MaskConditions, PaintConditions, patch_offsets_mm

    everywhere = torch.ones(1, 1, *shape, dtype=torch.bool, device=device)
    ball = (patch_offsets_mm(shape, 1.0).norm(dim=0) <= 5)[None, None].to(device)
    background = torch.randn(1, len(channels), *shape, generator=torch.Generator().manual_seed(0)).to(device)
    masks = MaskConditions(torch.tensor([12.0]), torch.tensor([500.0]), everywhere)
    contrast = torch.full((1, len(channels)), 2.0, device=device)
    return masks, PaintConditions(background, channels, ball, everywhere, contrast)
