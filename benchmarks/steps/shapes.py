"""DiffMask's part: masks of real lesions' volumes and control spheres, drawn in few calls and in many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float

from benchmarks.realism.hosts import MAX_MM3
from benchmarks.realism.shape import MIN_VOXELS, ks_distance, shape_features
from benchmarks.steps.schedule import Schedule
from benchmarks.steps.sets import Draws, Lesion
from lesionaug.diffusion.edm import Preconditioning
from lesionaug.models.base import MaskConditions
from lesionaug.models.diffmask import DiffMask, predictor
from lesionaug.prior_fit import control_extent_mm

Array = np.ndarray
SHAPE = ("sphericity", "elongation", "surface_to_volume")  # volume is exact by construction
FIELD = "distance field and mask"


@dataclass(frozen=True)
class DrawJob:
    """A mask of a real lesion's volume and control sphere, in free tissue.

    Args:
        conditions: What is asked for.
        real: Shape of that lesion, as `SHAPE`.
    """

    conditions: MaskConditions
    real: Float[Array, " features"]


def draw_jobs(
    model: DiffMask, lesions: Sequence[Bool[Array, "i j k"]], count: int, patch: int, seed: int
) -> list[DrawJob]:
    """Jobs after so many real lesions that fit a patch."""
    jobs = [_job(model, lesion) for lesion in lesions if MIN_VOXELS <= lesion.sum() <= MAX_MM3]
    fitting = [job for job in jobs if max(job.conditions.allowed.shape) <= patch]
    if len(fitting) < count:
        raise ValueError(f"Expected {count} lesions to take sizes from, got {len(fitting)}; ask for fewer")
    chosen = np.random.default_rng(seed).permutation(len(fitting))[:count]
    return [fitting[index] for index in chosen]


def _job(model: DiffMask, lesion: Array) -> DrawJob:
    extent = control_extent_mm(np.argwhere(lesion), np.ones(3))
    shape = next((shape for shape in model.patch_shapes if min(shape) >= extent + 6), model.patch_shapes[-1])
    free = torch.ones(1, 1, *shape, dtype=torch.bool)
    conditions = MaskConditions(torch.tensor([extent]), torch.tensor([float(lesion.sum())]), free)
    return DrawJob(conditions, _shape(lesion))


def _shape(mask: Bool[Array, "i j k"]) -> Float[Array, " features"]:
    measured = shape_features(mask)
    return np.array([measured[name] for name in SHAPE])


@torch.inference_mode()
def draw(model: DiffMask, job: MaskConditions, schedule: Schedule, seeds: Sequence[int]) -> Lesion:
    """One lesion's mask drawn once per seed."""
    count = len(seeds)
    many = MaskConditions(
        job.extent_mm.expand(count), job.volume_mm3.expand(count), job.allowed.expand(count, *job.allowed.shape[1:])
    )
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    problem = model.pose(many, generators)
    field = schedule.sample(
        predictor(model.network, problem), Preconditioning(model.config.sigma_data), problem.context[:, :1], generators
    )
    masks = model.finish(many, problem, field)[:, 0].numpy()
    wanted = float(job.volume_mm3[0].round())
    return Lesion(
        features=np.array([_shape(mask) for mask in masks]),
        values=field.numpy()[:, :, problem.room[0, 0].numpy()],
        errors={
            "relative volume error": np.array([abs(float(mask.sum()) - wanted) / wanted for mask in masks]),
            "Dice of two draws": np.full(count, _likeness(masks)),
        },
    )


def _likeness(masks: Bool[Array, "seeds i j k"]) -> float:
    """How alike draws of one lesion are: a sampler without diversity has 1."""
    pairs = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in combinations(masks, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def draw_all(model: DiffMask, jobs: Sequence[DrawJob], schedule: Schedule, seeds: int, first_seed: int) -> Draws:
    """All lesions, each once per seed, no seed used twice."""
    return Draws(
        tuple(
            draw(model, job.conditions, schedule, [first_seed + index * seeds + k for k in range(seeds)])
            for index, job in enumerate(jobs)
        )
    )


def real_shapes(jobs: Sequence[DrawJob]) -> Float[Array, "lesions features"]:
    """Of the lesions whose volumes and spheres are asked for."""
    return np.array([job.real for job in jobs])


def shape_ks(shapes: Float[Array, "n features"], others: Float[Array, "m features"]) -> dict[str, float]:
    """Kolmogorov-Smirnov distance per feature; volumes are the same on both sides."""
    columns: list[tuple[Float[Array, " n"], ...]] = list(zip(shapes.T, others.T, strict=True))
    return {name: ks_distance(a, b) for name, (a, b) in zip(SHAPE, columns, strict=True)}
