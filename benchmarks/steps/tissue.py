"""LeFusion's part: the same lesion-shaped holes in the same hosts, painted in few calls and in many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from benchmarks.realism.appearance import channel_features
from benchmarks.realism.baselines import donors_of
from benchmarks.realism.generator import GivenMasks, donor_contrasts, placed_plan, real_shapes, scan_of
from benchmarks.realism.hosts import HostScan
from benchmarks.steps.schedule import Schedule
from benchmarks.steps.sets import Draws, Lesion
from lesionaug.diffusion.edm import Preconditioning
from lesionaug.intensity import robust_scale
from lesionaug.models.base import MaskConditions, PaintConditions
from lesionaug.models.lefusion import LeFusion, pose, predictor
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer, LesionRequest
from lesionaug.synthesis import LesionSynthesizer

Array = np.ndarray
RAW, PAINTED = "network's sample", "painted lesion"


def paint_jobs(
    model: LeFusion,
    hosts: Sequence[HostScan],
    masks: Mapping[str, Bool[Array, "i j k"]],
    count: int,
    patch: int,
    seed: int,
) -> list[PaintConditions]:
    """Shapes of other patients' lesions in white matter, with the contrasts of the host's own lesions.

    A host has room for 1.5 times as many lesions as it has; for more it is filled anew.

    Args:
        model: Says how large a patch a lesion needs.
        hosts: Scans to paint into.
        masks: Of patients, by name.
        count: Of lesions.
        patch: Lesions that need a larger one are left out.
        seed: Of all that is random.
    """
    found: list[PaintConditions] = []
    while len(found) < count:
        jobs = (job for host in hosts for job in _host_jobs(model, host, masks, seed))
        found.extend(job for job in jobs if max(job.mask.shape) <= patch)
        seed += 1
    # Drawn and not the first: those are the largest of the first host.
    return [found[index] for index in np.random.default_rng(seed).permutation(len(found))[:count]]


def _host_jobs(model: LeFusion, host: HostScan, masks, seed: int) -> Iterator[PaintConditions]:
    rng, scan = np.random.default_rng(seed), scan_of(host)
    wanted = real_shapes(host, masks, rng)
    plan, footprints = placed_plan(host, scan, wanted, donor_contrasts(donors_of(host), host, wanted, rng), rng)
    shapes = GivenMasks(footprints)
    scan = replace(scan, eligible=scan.brain.float())  # a real shape keeps the corner that leaves white matter
    synthesizer = LesionSynthesizer(LesionPrior.load(), DiffusionRenderer(shapes, model))
    request, _ = synthesizer.request(scan, plan, robust_scale(scan.image, scan.brain))
    yield from (_conditions(lesion, request.channels, shapes) for lesion in request.lesions)


def _conditions(lesion: LesionRequest, channels: tuple[str, ...], shapes: GivenMasks) -> PaintConditions:
    spec, allowed = lesion.spec, lesion.allowed[None]
    sizes = MaskConditions(torch.tensor([spec.extent_mm]), torch.tensor([spec.volume_mm3]), allowed)
    mask = shapes(sizes, [torch.Generator().manual_seed(spec.seed)])
    contrast = torch.tensor([[dict(spec.contrast)[channel] for channel in channels]], dtype=torch.float32)
    return PaintConditions(lesion.background[None], channels, mask, lesion.brain[None], contrast)


@torch.inference_mode()
def paint(model: LeFusion, job: PaintConditions, schedule: Schedule, seeds: Sequence[int]) -> dict[str, Lesion]:
    """One lesion painted once per seed: as the network left it, and as it is pasted."""
    many = _repeated(job, len(seeds))
    problem = pose(many, model.channels)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    sampled = problem.active * schedule.sample(
        predictor(model.network, problem), Preconditioning(model.config.sigma_data), problem.plateau, generators
    )
    own = [model.channels.index(channel) for channel in job.channels]
    level = problem.level[:, own][:, :, None, None, None]
    raw = torch.where(many.mask, (problem.plateau + sampled)[:, own], many.background - level)
    return {
        RAW: _lesion(job, raw),
        PAINTED: _lesion(job, model.finish(many, problem, sampled) - level),
    }


def _repeated(job: PaintConditions, count: int) -> PaintConditions:
    parts = {field.name: getattr(job, field.name) for field in fields(job)}
    tensors = {name: part for name, part in parts.items() if isinstance(part, torch.Tensor)}
    return replace(job, **{name: part.expand(count, *part.shape[1:]) for name, part in tensors.items()})


def _lesion(job: PaintConditions, images: torch.Tensor) -> Lesion:
    """Measures of one lesion; images are relative to the tissue around it."""
    mask = job.mask[0, 0].numpy()
    tissue = job.brain[0, 0].numpy() & ~mask
    rows = [[channel_features(channel, mask, tissue) for channel in image] for image in images.numpy()]
    inside = images.numpy()[:, :, mask]
    return Lesion(
        features=np.array([[value for row in channels for value in row.values()] for channels in rows]),
        values=inside,
        errors={
            f"{name} contrast error": np.abs(inside[:, c].mean(axis=1) - float(job.contrast[0, c]))
            for c, name in enumerate(job.channels)
        },
        profiles={name: np.array([_profile(row[c]) for row in rows]) for c, name in enumerate(job.channels)},
    )


def _profile(features: Mapping[str, float]) -> Float[Array, " distances"]:
    return np.array([value for name, value in features.items() if name.startswith("profile")])


def paint_all(
    model: LeFusion, jobs: Sequence[PaintConditions], schedule: Schedule, seeds: int, first_seed: int
) -> dict[str, Draws]:
    """All lesions, each once per seed, no seed used twice."""
    found = [
        paint(model, job, schedule, [first_seed + index * seeds + k for k in range(seeds)])
        for index, job in enumerate(jobs)
    ]
    return {stage: Draws(tuple(lesions[stage] for lesions in found)) for stage in (RAW, PAINTED)}
