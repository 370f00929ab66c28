"""The gate: what a radiologist would not call a lesion is not painted, and the same request is judged alike."""

from dataclasses import replace

import pytest
import torch
from scans import random_lefusion, small_plan, small_scan

from lesionaug.gate import LEAST_DEPTH, depth_ratio, is_compact, is_visible, is_whole
from lesionaug.models.base import EllipsoidMasks
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer
from lesionaug.scan import LesionPlan
from lesionaug.synthesis import LesionSynthesizer

SHAPE = (24, 24, 24)


def ball(radius=4.0):
    offsets = torch.stack(torch.meshgrid(*[torch.arange(24.0) - 12] * 3, indexing="ij"))
    return (offsets.norm(dim=0) <= radius)[None]


def tissue(noise=0.3):
    return noise * torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))


def visible(mask, background, height, channel="flair"):
    brain = torch.ones(1, *SHAPE, dtype=torch.bool)
    return is_visible(mask, background, brain, torch.tensor([height]), (channel,))


def test_a_ball_is_compact_and_a_wire_is_not():
    wire = torch.zeros(1, *SHAPE, dtype=torch.bool)
    wire[:, 2:22, 12:14, 12] = True
    assert is_compact(ball())
    assert not is_compact(wire)


def test_a_sheet_of_one_voxel_is_not_compact():
    sheet = torch.zeros(1, *SHAPE, dtype=torch.bool)
    sheet[:, 6:18, 6:18, 12] = True
    assert not is_compact(sheet)


def test_a_lesion_with_arms_is_not_compact():
    """Thick enough everywhere, but a star."""
    star = torch.zeros(1, 32, 32, 32, dtype=torch.bool)
    for axis in range(3):
        arm = [slice(14, 18)] * 3
        arm[axis] = slice(4, 28)
        star[(0, *arm)] = True
    assert depth_ratio(star) > LEAST_DEPTH
    assert not is_compact(star)


def test_a_lesion_without_room_is_not_whole():
    assert is_whole(ball(), float(ball().sum()))
    assert not is_whole(ball(), 2.0 * float(ball().sum()))
    assert not is_whole(torch.zeros(1, *SHAPE, dtype=torch.bool), 5.0)


@pytest.mark.parametrize(
    ("channel", "height", "seen"), [("flair", 1.5, True), ("flair", 0.2, False), ("t1w", -1.5, True)]
)
def test_contrast_is_judged_by_the_spread_of_the_tissue_around(channel, height, seen):
    assert visible(ball(), tissue(), height, channel) is seen
    assert not visible(ball(), tissue(noise=9.0), height, channel)


def test_a_lesion_of_the_wrong_sign_is_none():
    assert not visible(ball(), tissue(), -1.5)


def test_a_label_over_tissue_as_bright_as_the_lesion_is_refused():
    bright = tissue()
    bright[:, 8:12, 8:16, 8:16] += 1.5
    assert not visible(ball(), bright, 1.5)


def synthesizer():
    return LesionSynthesizer(LesionPrior.load(), DiffusionRenderer(EllipsoidMasks(), random_lefusion()))


def test_what_never_passes_is_left_out_and_changes_nothing():
    scan, plan = small_scan(), small_plan(2)
    faint = replace(
        plan.lesions[0], gate=True, halo=True, contrast=tuple((c, 0.01) for c, _ in plan.lesions[0].contrast)
    )
    after, numbers = synthesizer().render_instances(scan, LesionPlan((faint, plan.lesions[1])))
    assert set(numbers.unique().tolist()) == {0, 2}
    alone = synthesizer().render(scan, LesionPlan((plan.lesions[1],)))
    assert torch.equal(after.image, alone.image)


def test_what_passes_at_once_has_the_bits_of_no_gate():
    scan, plan = small_scan(), small_plan(2)
    bright = tuple(replace(spec, contrast=(("flair", 9.0), ("t1w", -3.0)), diameter_mm=6.0) for spec in plan)
    bare, gated = (
        synthesizer().render(scan, LesionPlan(tuple(replace(spec, gate=gate) for spec in bright)))
        for gate in (False, True)
    )
    assert torch.equal(bare.image, gated.image)
