"""What a server is given to serve in tests: right answers, and on demand errors, slowness and a broken GPU."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch

from lesionaug.errors import LesionAugError
from lesionaug.loaded import ModelChoice
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.rendering import DiffusionRenderer, RenderRequest

RAISES, REFUSES, BREAKS_THE_GPU, SLOW = 1001, 1002, 1003, 1004
"""Seeds of lesions that make the renderer do so."""

SLOW_S = 0.4


@dataclass(frozen=True)
class Faulty:
    """The parametric pair with a taste for certain seeds."""

    renderer: DiffusionRenderer = field(default_factory=lambda: DiffusionRenderer(EllipsoidMasks(), ConstantContrast()))

    @property
    def spacing_mm(self):
        return self.renderer.spacing_mm

    @property
    def channels(self):
        return self.renderer.channels

    def patch_shape(self, extent_mm):
        return self.renderer.patch_shape(extent_mm)

    def __call__(self, request: RenderRequest, progress=None):
        for lesion in request.lesions:
            _misbehave(lesion.spec.seed)
        return self.renderer(request, progress)


def _misbehave(seed: int) -> None:
    if seed == RAISES:
        raise ZeroDivisionError("as the test wants it")
    if seed == REFUSES:
        raise LesionAugError("Expected another seed, got this one; choose another")
    if seed == BREAKS_THE_GPU:
        raise torch.AcceleratorError("CUDA error: as the test wants it")
    if seed == SLOW:
        time.sleep(SLOW_S)


def faulty_models(**choice):
    """A factory of a server's `Recipe`; what it serves passes for the parametric pair."""
    return Faulty(), ModelChoice(**choice).identity()


def with_seeds(request: RenderRequest, *seeds: int) -> RenderRequest:
    """The same lesion with these seeds."""
    lesion = request.lesions[0]
    lesions = tuple(replace(lesion, spec=replace(lesion.spec, seed=seed)) for seed in seeds)
    return RenderRequest(request.channels, lesions)
