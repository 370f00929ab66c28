"""The laws of a renderer, for every kind of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from scans import small_plan, small_scan

from lesionaug.intensity import robust_scale
from lesionaug.models.base import patch_offsets_mm
from lesionaug.prior import LesionPrior
from lesionaug.rendering import RenderedLesion, Renderer, RenderRequest
from lesionaug.scan import LesionPlan
from lesionaug.synthesis import LesionSynthesizer


def small_request(renderer: Renderer, plan: LesionPlan | None = None, spacing_mm=(1.0, 1.0, 1.0)) -> RenderRequest:
    """Four lesions, in patches of the size that the renderer wants."""
    scan = small_scan(spacing_mm=spacing_mm)
    synthesizer = LesionSynthesizer(LesionPrior.load(), renderer)
    request, _ = synthesizer.request(scan, plan or small_plan(), robust_scale(scan.image, scan.brain))
    return request


def assert_same_lesions(found: tuple[RenderedLesion, ...], expected: tuple[RenderedLesion, ...]) -> None:
    """Bit for bit, also outside the masks: patches coarser than the scan are interpolated from there."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.mask.dtype == other.mask.dtype == torch.bool
        assert one.image.dtype == other.image.dtype == torch.float32
        assert torch.equal(one.mask, other.mask)
        assert torch.equal(one.full_grown, other.full_grown)
        assert torch.equal(one.image.view(torch.int32), other.image.view(torch.int32))


def check_renderer(make: Callable[[], Renderer], reference: Renderer | None = None) -> None:
    """Same request, same bits; no matter the company and the order; masks where they may be; arguments untouched.

    Args:
        make: A new renderer, which has seen nothing yet.
        reference: A renderer whose bits it must have, if there is one.
    """
    renderer = make()
    assert isinstance(renderer, Renderer)
    request = small_request(renderer)
    before = [(lesion.background.clone(), lesion.brain.clone(), lesion.allowed.clone()) for lesion in request.lesions]
    expected = (reference or make())(request)

    first = renderer(request)
    assert_same_lesions(first, expected)
    assert_same_lesions(renderer(request), expected)  # again, now that it has seen them
    assert_same_lesions(make()(_chosen(request, [3, 1])), (expected[3], expected[1]))  # less company, another order
    assert_same_lesions(renderer(_chosen(request, [2, 2])), (expected[2], expected[2]))
    assert renderer(_chosen(request, [])) == ()
    _check_places(request, first)
    _check_progress(make(), request)

    seed_matters = make()(small_request(renderer, _reseeded(small_plan())))
    assert not all(
        torch.equal(one.mask, other.mask) and torch.equal(one.image, other.image)
        for one, other in zip(seed_matters, expected, strict=True)
    )
    for lesion, (background, brain, allowed) in zip(request.lesions, before, strict=True):
        assert torch.equal(lesion.background, background)
        assert torch.equal(lesion.brain, brain)
        assert torch.equal(lesion.allowed, allowed)


def _check_places(request: RenderRequest, rendered: tuple[RenderedLesion, ...]) -> None:
    for asked, lesion in zip(request.lesions, rendered, strict=True):
        radius_mm = asked.spec.extent_mm / 2
        distance_mm = patch_offsets_mm(asked.background.shape[1:], 1.0).norm(dim=0, keepdim=True)
        assert lesion.mask.shape == asked.allowed.shape
        assert lesion.image.shape == asked.background.shape
        assert lesion.mask.any()
        assert not (lesion.mask & ~asked.allowed).any()
        assert not (lesion.mask & (distance_mm > radius_mm + 1e-4)).any()


def _check_progress(renderer: Renderer, request: RenderRequest) -> None:
    counts: list[int] = []
    for _ in range(2):
        renderer(request, counts.append)
    assert sum(counts) == 2 * len(request.lesions)


def _chosen(request: RenderRequest, indices: list[int]) -> RenderRequest:
    return RenderRequest(request.channels, tuple(request.lesions[index] for index in indices))


def _reseeded(plan: LesionPlan) -> LesionPlan:
    return LesionPlan(tuple(replace(spec, seed=spec.seed + 1000) for spec in plan))
