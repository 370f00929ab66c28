"""The laws of synthesis, on every pair of models."""

from dataclasses import replace

import pytest
import torch
from scans import random_diffmask, random_lefusion, small_plan, small_scan
from torch.nn.functional import max_pool3d

from lesionaug.intensity import lesion_contrast, robust_scale
from lesionaug.models.base import ConstantContrast, EllipsoidMasks
from lesionaug.models.grain import blur
from lesionaug.prior import LesionPrior
from lesionaug.rendering import DiffusionRenderer
from lesionaug.scan import LesionPlan
from lesionaug.synthesis import LesionSynthesizer

RENDERERS = {
    "parametric": lambda: DiffusionRenderer(EllipsoidMasks(), ConstantContrast()),
    "compact": lambda: DiffusionRenderer(random_diffmask(), random_lefusion()),
    "mixed": lambda: DiffusionRenderer(EllipsoidMasks(), random_lefusion()),
}


def with_halos(plan):
    return LesionPlan(tuple(replace(spec, halo=True) for spec in plan))


@pytest.fixture(params=RENDERERS)
def synthesizer(request):
    return LesionSynthesizer(prior=LesionPrior.load(), renderer=RENDERERS[request.param]())


def test_nothing_changes_outside_new_lesions(synthesizer):
    scan = small_scan()
    after = synthesizer.render(scan, small_plan())
    new = after.lesion_mask & ~scan.lesion_mask
    assert new.any()
    assert torch.equal(after.image.masked_fill(new, 0), scan.image.masked_fill(new, 0))
    assert torch.equal(after.lesion_mask, scan.lesion_mask | new)
    assert not torch.equal(after.image, scan.image)


def test_a_halo_changes_no_label_and_nothing_far_from_lesions(synthesizer):
    scan, plan = small_scan(), small_plan()
    bare, after = (synthesizer.render(scan, each) for each in (plan, with_halos(plan)))
    assert torch.equal(after.lesion_mask, bare.lesion_mask)
    new = after.lesion_mask & ~scan.lesion_mask
    near = max_pool3d(new.float(), 9, stride=1, padding=4) > 0
    assert torch.equal(after.image[:, ~near[0]], scan.image[:, ~near[0]])
    kept = ~scan.brain | scan.lesion_mask
    assert torch.equal(after.image[:, kept[0]], scan.image[:, kept[0]])


def test_a_sharp_scan_has_no_halos():
    """White noise is as sharp as a scan can be."""
    scan, plan = small_scan(), small_plan(1)
    synthesizer = LesionSynthesizer(prior=LesionPrior.load(), renderer=RENDERERS["mixed"]())
    bare, after = (synthesizer.render(scan, each) for each in (plan, with_halos(plan)))
    assert torch.equal(after.image, bare.image)


def test_a_halo_is_a_part_of_the_lesion_next_to_it():
    scan, plan = small_scan(), with_halos(small_plan(1))
    scan = replace(scan, image=200 + 4 * (blur((scan.image - 200)[None], sigma=1.0)[0]))
    synthesizer = LesionSynthesizer(prior=LesionPrior.load(), renderer=RENDERERS["mixed"]())
    after = synthesizer.render(scan, plan)
    new = after.lesion_mask & ~scan.lesion_mask
    next_to_it = (max_pool3d(new.float(), 3, stride=1, padding=1) > 0) & ~new
    change = (after.image - scan.image)[0]
    assert 0.02 < change[next_to_it[0]].mean() / change[new[0]].mean() < 0.8


def test_the_scan_given_is_not_touched(synthesizer):
    scan = small_scan()
    synthesizer.render(scan, small_plan())
    assert torch.equal(scan.image, small_scan().image)
    assert torch.equal(scan.lesion_mask, small_scan().lesion_mask)


def test_same_scan_and_plan_same_bits(synthesizer):
    first, second = (synthesizer.render(small_scan(), small_plan()) for _ in range(2))
    assert torch.equal(first.image, second.image)


def test_a_lesion_does_not_depend_on_its_company(synthesizer):
    """Alone or among others, a lesion has the same voxels with the same bits."""
    scan, plan = small_scan(), small_plan()
    together = synthesizer.render(scan, plan)
    for spec in plan:
        alone = synthesizer.render(scan, LesionPlan((spec,)))
        new = alone.lesion_mask & ~scan.lesion_mask
        assert (together.lesion_mask & new).equal(new)
        assert torch.equal(together.image[:, new[0]], alone.image[:, new[0]])


@pytest.mark.parametrize(("a", "b"), [(4.0, 0.0), (0.25, 0.0), (2.0, 64.0)])
def test_scanner_units_cancel(synthesizer, a, b):
    scan, plan = small_scan(), small_plan()
    here = synthesizer.render(scan, plan)
    there = synthesizer.render(replace(scan, image=a * scan.image + b), plan)
    assert torch.equal(here.lesion_mask, there.lesion_mask)
    torch.testing.assert_close(there.image, a * here.image + b, rtol=0, atol=0.02 * a * 25)


def test_new_lesions_avoid_old_ones_and_stay_in_the_brain(synthesizer):
    scan = small_scan()
    after = synthesizer.render(scan, small_plan())
    assert not (after.lesion_mask & ~scan.brain).any()
    assert torch.equal(after.image[:, scan.lesion_mask[0]], scan.image[:, scan.lesion_mask[0]])


def test_old_lesions_are_painted_over_only_if_asked(synthesizer):
    scan = small_scan()
    spec = replace(small_plan(1).lesions[0], center=(10, 10, 10), diameter_mm=6.0, extent_mm=10.0)
    apart, over = (synthesizer.render(scan, LesionPlan((spec,), overlap=overlap)) for overlap in (False, True))
    old = scan.lesion_mask[0]
    assert torch.equal(apart.image[:, old], scan.image[:, old])
    assert not torch.equal(over.image[:, old], scan.image[:, old])


def test_only_eligible_tissue_is_painted(synthesizer):
    scan = small_scan()
    eligible = scan.eligible.clone()
    eligible[:, :20] = 0
    after = synthesizer.render(replace(scan, eligible=eligible), small_plan())
    new = after.lesion_mask & ~scan.lesion_mask
    assert new.any()
    assert not new[:, :20].any()


def test_the_wanted_contrast_is_painted(synthesizer):
    scan, plan = small_scan(), small_plan(1)
    after = synthesizer.render(scan, plan)
    new = after.lesion_mask & ~scan.lesion_mask
    normalised = robust_scale(scan.image, scan.brain).normalise(after.image)
    contrast = lesion_contrast(normalised, new, scan.brain & ~scan.lesion_mask)
    # What was not noise in the tissue below averages out; a baseline adds to it, a network replaces it.
    torch.testing.assert_close(contrast, torch.tensor([2.0, -1.0]), atol=0.3, rtol=0)


def test_a_label_in_thick_slices_has_the_contrast_and_the_volume_of_the_plan():
    """A rater of such slices outlines more than there is of a lesion; neither size nor brightness grows by that."""
    scan = small_scan(spacing_mm=(1.0, 1.0, 6.0), shape=(64, 64, 16))
    synthesizer = LesionSynthesizer(LesionPrior.load(), DiffusionRenderer(EllipsoidMasks(), random_lefusion()))
    spec = replace(small_plan(1).lesions[0], center=(32, 32, 8), diameter_mm=6.0, extent_mm=9.0, halo=True)
    after = synthesizer.render(scan, LesionPlan((spec,)))
    new = after.lesion_mask & ~scan.lesion_mask
    assert float(new.sum() * scan.voxel_mm3) == pytest.approx(spec.volume_mm3, rel=0.35)
    image = robust_scale(scan.image, scan.brain).normalise(after.image.float())
    around = scan.brain & ~scan.lesion_mask
    beside = around[0, 25:40, 25:40, 8] & ~max_pool3d(new.float(), (7, 7, 1), 1, (3, 3, 0))[0, 25:40, 25:40, 8].bool()
    contrast = image[:, new[0]].mean(dim=1) - image[:, 25:40, 25:40, 8][:, beside].median(dim=1).values
    torch.testing.assert_close(contrast, torch.tensor([2.0, -1.0]), atol=0.35, rtol=0)


@pytest.mark.parametrize("channels", [("flair",), ("t1w",), ("t1w", "flair"), ("flair", "t1w", "t2w")])
def test_any_channels_in_any_order(synthesizer, channels):
    after = synthesizer.render(small_scan(channels=channels), small_plan(2))
    assert after.image.shape[0] == len(channels)


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 0.5), (0.7, 0.7, 3.0), (3.0, 1.0, 1.0), (2.0, 2.0, 2.0)])
def test_any_spacing(synthesizer, spacing_mm):
    """Lesions keep their size in millimetres: a voxel more or less, and what the tissue's edge cuts off."""
    shape = tuple(round(60 / s) for s in spacing_mm)
    scan = replace(small_scan(shape=shape, spacing_mm=spacing_mm), lesion_mask=torch.zeros(1, *shape, dtype=torch.bool))
    spec = replace(small_plan(1).lesions[0], center=tuple(n // 2 for n in shape), diameter_mm=6.0, extent_mm=9.0)
    after = synthesizer.render(scan, LesionPlan((spec,)))
    volume = after.lesion_mask.sum() * scan.voxel_mm3
    assert volume == pytest.approx(spec.volume_mm3, rel=0.35, abs=1.5 * scan.voxel_mm3)


@pytest.mark.parametrize(
    "spacing_mm", [(0.9375, 0.9375, 1.0), (0.91, 0.91, 0.91), (1.1, 1.1, 1.1), (0.9375, 0.9375, 3.0), (1.0, 1.0, 1.0)]
)
def test_voxels_that_count_as_the_models_count_for_what_they_are(spacing_mm):
    shape = tuple(round(60 / s) for s in spacing_mm)
    tissue = torch.ones(1, *shape, dtype=torch.bool)
    scan = replace(
        small_scan(shape=shape, spacing_mm=spacing_mm), lesion_mask=~tissue, brain=tissue, eligible=1.0 * tissue
    )
    spec = replace(small_plan(1).lesions[0], center=tuple(n // 2 for n in shape), diameter_mm=11.0, extent_mm=16.0)
    synthesizer = LesionSynthesizer(prior=LesionPrior.load(), renderer=RENDERERS["compact"]())
    volume = synthesizer.render(scan, LesionPlan((spec,))).lesion_mask.sum() * scan.voxel_mm3
    assert volume == pytest.approx(spec.volume_mm3, rel=0.01, abs=scan.voxel_mm3)


@pytest.mark.parametrize(("spacing_mm", "shape"), [((0.8, 0.8, 3.0), (60, 60, 20)), ((3.0, 1.0, 1.0), (20, 60, 50))])
def test_numbers_are_the_lesions_of_the_label(synthesizer, spacing_mm, shape):
    """Also of lesions that grow, on voxels unlike those of the models; where two meet, the earlier keeps its voxels."""
    scan = small_scan(shape=shape, spacing_mm=spacing_mm)
    near = [tuple(int(place * n) for n in shape) for place in (0.4, 0.5, 0.6)]
    plan = LesionPlan(
        tuple(
            replace(spec, center=center, diameter_mm=8.0, extent_mm=13.0, grown=grown)
            for spec, center, grown in zip(small_plan(3), near, (0.6, 0.4, 1.0), strict=True)
        )
    )
    after, numbers = synthesizer.render_instances(scan, plan)
    assert torch.equal(after.image, synthesizer.render(scan, plan).image)
    assert torch.equal(numbers > 0, after.lesion_mask & ~scan.lesion_mask)
    for number, spec in enumerate(plan, start=1):
        alone = synthesizer.render(scan, LesionPlan((spec,))).lesion_mask & ~scan.lesion_mask
        earlier = (numbers > 0) & (numbers < number)
        assert torch.equal(numbers == number, alone & ~earlier)


@pytest.mark.parametrize("extent_mm", [45.0, 64.0])
def test_no_lesion_is_cut_by_its_patch(extent_mm):
    """A control sphere that no patch holds is taken as large as the largest patch does hold."""
    scan = small_scan(shape=(80, 80, 80))
    scan = replace(scan, brain=torch.ones_like(scan.brain), eligible=torch.ones_like(scan.eligible))
    spec = replace(small_plan(1).lesions[0], center=(40, 40, 40), diameter_mm=24.0, extent_mm=extent_mm)
    synthesizer = LesionSynthesizer(prior=LesionPrior.load(), renderer=RENDERERS["compact"]())
    after = synthesizer.render(scan, LesionPlan((spec,)))
    new = after.lesion_mask & ~scan.lesion_mask
    assert int(new.sum()) == pytest.approx(spec.volume_mm3, rel=0.05)
    assert (new[0].nonzero() - 40.0).norm(dim=1).max() <= 21.5


def test_lesions_that_meet_have_no_seam(synthesizer):
    """Each voxel shows what changes it most, so the order in which lesions are painted does not matter."""
    scan = small_scan()
    first, second = (replace(spec, diameter_mm=8.0, extent_mm=12.0, halo=True) for spec in small_plan(2))
    second = replace(second, center=tuple(c + d for c, d in zip(first.center, (4, 0, 0), strict=True)))
    one, other = (synthesizer.render(scan, LesionPlan(pair)) for pair in ((first, second), (second, first)))
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.lesion_mask, other.lesion_mask)


def test_an_empty_plan_changes_nothing(synthesizer):
    scan = small_scan()
    assert synthesizer.render(scan, LesionPlan()) is scan


def test_progress_counts_every_lesion(synthesizer):
    seen = []
    synthesizer.render(small_scan(), small_plan(), progress=seen.append)
    assert sum(seen) == 4
