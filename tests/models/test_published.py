"""The published models as a mask generator and an inpainter: what they must never do, whatever their weights."""

import json
from dataclasses import replace

import pytest
import torch
from golden_networks import assert_near, frozen, tensors
from published_models import SHAPE, diffmask, lefusion
from scans import small_plan, small_scan

from lesionaug.diffusion.inpainting import repaint_times, sample_repaint
from lesionaug.diffusion.samplers import gaussian, sample_ancestral
from lesionaug.diffusion.schedules import cosine_tables
from lesionaug.errors import LesionAugWarning
from lesionaug.models.base import Inpainter, MaskConditions, MaskGenerator, PaintConditions, patch_offsets_mm
from lesionaug.models.checkpoints import CONFIG
from lesionaug.models.control import encode, lesion_histogram
from lesionaug.models.conversion import convert_published
from lesionaug.models.published import PublishedDiffMask, top_voxels
from lesionaug.models.published_config import DIFFMASK_PRESETS, LEFUSION_PRESETS
from lesionaug.synthesis import load_synthesizer

STEPS = pytest.mark.parametrize("num_steps", [None, 2], ids=["published sampler", "two steps"])
EXTENTS = (5.0, 7.0)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def mask_conditions(allowed=None):
    allowed = torch.ones(2, 1, *SHAPE, dtype=torch.bool) if allowed is None else allowed
    return MaskConditions(torch.tensor(EXTENTS), torch.tensor([20.0, 60.0]), allowed)


def paint_conditions(contrast=2.0, shift=0.0):
    background = shift + torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(2, 1, *SHAPE, dtype=torch.bool)
    mask[:, :, 1:3, 3:5, 2:5] = True
    brain = torch.ones_like(mask)
    return PaintConditions(background, ("flair",), mask, brain, torch.full((2, 1), contrast))


@pytest.fixture
def certain():
    """A mask model that is sure there is no lesion."""
    model = diffmask(num_steps=1)
    torch.nn.init.zeros_(model.network.final_conv[1].weight)
    model.network.final_conv[1].bias.fill_(100.0)
    return model


def test_they_keep_to_the_protocols():
    assert isinstance(diffmask(), MaskGenerator)
    assert isinstance(lefusion(), Inpainter)


@STEPS
@pytest.mark.filterwarnings("ignore::lesionaug.errors.LesionAugWarning")
def test_masks_stay_in_their_control_and_in_allowed_tissue(num_steps):
    allowed = torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(1)) > 0.3
    masks = diffmask(num_steps)(mask_conditions(allowed), generators(1, 2))
    distance = patch_offsets_mm(SHAPE, 1.0).norm(dim=0)
    for mask, extent in zip(masks, EXTENTS, strict=True):
        assert mask.any()
        assert distance[mask[0]].max() <= extent / 2
    assert not (masks & ~allowed).any()


@STEPS
@pytest.mark.filterwarnings("ignore::lesionaug.errors.LesionAugWarning")
def test_a_mask_depends_on_its_seed_and_not_on_its_batch(num_steps):
    model, conditions = diffmask(num_steps), mask_conditions()
    second = MaskConditions(conditions.extent_mm[1:], conditions.volume_mm3[1:], conditions.allowed[1:])
    together, alone = model(conditions, generators(1, 2)), model(second, generators(2))
    assert torch.equal(together[1:], alone)
    assert not torch.equal(alone, model(second, generators(3)))


def test_where_the_network_draws_nothing_the_wanted_volume_is_taken_and_said(certain):
    allowed = torch.ones(2, 1, *SHAPE, dtype=torch.bool)
    allowed[..., : SHAPE[2] // 2] = False
    with pytest.warns(LesionAugWarning, match="none in 2 of 2"):
        masks = certain(mask_conditions(allowed), generators(1, 2))
    room = [int((patch_offsets_mm(SHAPE, 1.0).norm(dim=0)[None] <= e / 2)[allowed[0]].sum()) for e in EXTENTS]
    assert masks.flatten(1).sum(1).tolist() == [min(20, room[0]), min(60, room[1])]
    assert not (masks & ~allowed).any()


def test_no_room_no_mask(certain):
    with pytest.warns(LesionAugWarning):
        masks = certain(mask_conditions(torch.zeros(2, 1, *SHAPE, dtype=torch.bool)), generators(1, 2))
    assert not masks.any()


def test_lesions_of_a_few_voxels_are_kept():
    drawn = torch.full((1, 4, 4, 4), -1.0)
    drawn[0, 1, 2, 3] = 1
    assert top_voxels(drawn, torch.ones_like(drawn, dtype=torch.bool), 1).nonzero().tolist() == [[0, 1, 2, 3]]


def test_the_control_is_coded_as_configured():
    seen = []
    model = diffmask(num_steps=1, control_outside=-1.0)
    model.network.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 1:]))
    model(mask_conditions(), generators(1, 2))
    control = patch_offsets_mm(SHAPE, 1.0).norm(dim=0) <= EXTENTS[0] / 2
    assert torch.equal(seen[0][0, 0], encode(control, inside=1.0, outside=-1.0))


@STEPS
def test_background_keeps_its_bits(num_steps):
    conditions = paint_conditions()
    out = lefusion(num_steps)(conditions, generators(1, 2))
    assert torch.equal(out.masked_fill(conditions.mask, 0), conditions.background.masked_fill(conditions.mask, 0))
    assert (out[conditions.mask] != conditions.background[conditions.mask]).all()
    assert out.isfinite().all()


@STEPS
def test_the_network_is_shown_nothing_of_the_tissue_it_replaces(num_steps):
    """Where a lesion goes, the healthy intensities must not matter."""
    conditions = paint_conditions()
    hidden = replace(conditions, background=conditions.background.masked_fill(conditions.mask, 1.3))
    model = lefusion(num_steps)
    assert torch.equal(
        model(conditions, generators(1, 2))[conditions.mask], model(hidden, generators(1, 2))[conditions.mask]
    )


@STEPS
def test_painting_depends_on_the_seed_and_not_on_the_batch(num_steps):
    model, both = lefusion(num_steps), paint_conditions()
    second = PaintConditions(both.background[1:], both.channels, both.mask[1:], both.brain[1:], both.contrast[1:])
    alone = model(second, generators(2))
    torch.testing.assert_close(model(both, generators(1, 2))[1:], alone, rtol=0, atol=1e-4)
    assert not torch.equal(alone, model(second, generators(3)))


def test_no_guidance_unless_it_is_asked_for():
    calls = []
    for scale in (1.0, 3.0):
        model = lefusion(num_steps=3, guidance_scale=scale)
        handle = model.network.register_forward_hook(lambda *_: calls.append(1))
        model(paint_conditions(), generators(1, 2))
        handle.remove()
        calls.append(0)
    assert calls == [1] * 3 + [0] + [1] * 6 + [0]
    assert LEFUSION_PRESETS["fork"].guidance_scale == LEFUSION_PRESETS["original"].guidance_scale == 1


@pytest.mark.parametrize("preset", LEFUSION_PRESETS)
def test_windows_have_an_inverse(preset):
    config, robust = LEFUSION_PRESETS[preset], torch.linspace(-6, 8, 50)
    torch.testing.assert_close(config.from_network(config.to_network(robust)), robust, rtol=0, atol=1e-4)
    low, high = config.window
    assert config.to_network(torch.tensor([low, high])).tolist() == pytest.approx([-1, 1], abs=1e-5)


def test_the_forks_window_is_its_training_window_on_a_typical_flair():
    raw = torch.tensor([0.0, 225.0])
    found = LEFUSION_PRESETS["fork"].to_network((raw - 150) / 36)
    assert found.tolist() == pytest.approx([0.4286, 0.75], abs=0.03)


def test_no_preset_cuts_off_a_bright_lesion():
    for config in LEFUSION_PRESETS.values():
        assert config.window[1] >= 5


def test_the_histogram_is_that_of_the_lesion_wanted():
    conditions = paint_conditions(contrast=2.0, shift=1.0)
    model = lefusion(window=(-5.0, 5.0), lesion_spread=0.5)
    bright = 1.0 + 2.0 + 0.5 * torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    wanted = lesion_histogram(model.config.to_network(bright).clamp(-1, 1), torch.ones(100_000, dtype=torch.bool))
    for found in model.histogram(conditions):
        assert (found.cumsum(0) - wanted.cumsum(0)).abs().max() < 0.15  # the ring's median is a guess from few voxels
    brighter = model.histogram(paint_conditions(contrast=4.0, shift=1.0))
    assert (brighter.cumsum(1) <= model.histogram(conditions).cumsum(1) + 1e-6).all()


def test_presets_are_named_alike():
    assert DIFFMASK_PRESETS.keys() == LEFUSION_PRESETS.keys()


@pytest.mark.realdata
def test_diffmask_is_the_published_sampler_within_control_and_tissue(golden):
    """With the published weights, the mask is the sign of the published sample."""
    shape = (8, 16, 16)
    config = replace(DIFFMASK_PRESETS["fork-as-sampled"], diffusion_steps=10, patch_shape=shape)
    network, tables = frozen(golden, "diffmask"), cosine_tables(10)
    allowed = torch.ones(1, 1, *shape, dtype=torch.bool)
    conditions = MaskConditions(torch.tensor([9.0]), torch.tensor([60.0]), allowed)
    masks = PublishedDiffMask(network, tables, config)(conditions, generators(4))
    control = (patch_offsets_mm(shape, 1.0).norm(dim=0) <= 4.5)[None, None]
    coded = encode(control, inside=1.0, outside=-1.0)
    sample = sample_ancestral(
        lambda x, t: network(torch.cat((x, coded), dim=1), t), tables, gaussian(generators(4), (1, *shape), "cpu")
    )
    assert torch.equal(masks, (sample > 0) & control)


@pytest.mark.realdata
def test_lefusion_is_the_published_repaint_inside_the_mask(golden):
    r, network = tensors(golden, "lefusion_small_repaint"), frozen(golden, "lefusion")
    model = replace(
        lefusion(window=(-1.0, 1.0), diffusion_steps=10, jump_length=5, jump_n_sample=1),
        network=network,
        tables=cosine_tables(10),
    )
    mask = r["lesion_mask"] > 0
    conditions = PaintConditions(r["background"], ("flair",), mask, torch.ones_like(mask), torch.tensor([[0.3]]))
    painted = model(conditions, generators(4))
    histogram = model.histogram(conditions)
    published = sample_repaint(
        lambda x, t: network(x, t, histogram),
        model.tables,
        r["background"],
        mask,
        gaussian(generators(4), r["background"].shape[1:], "cpu"),
        repaint_times(10, 5, 1),
    )
    assert_near(painted[mask], published[mask], 1e-5)
    assert torch.equal(painted[~mask], r["background"][~mask])


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::lesionaug.errors.LesionAugWarning")
def test_converted_checkpoints_make_a_synthesizer(golden, tmp_path):
    for job in ("diffmask", "lefusion"):
        convert_published(golden / f"{job}_small.pt", job, tmp_path / job)
        config = json.loads((tmp_path / job / CONFIG).read_text())
        config["settings"]["patch_shape"] = [16, 16, 16]  # the published size is slow
        (tmp_path / job / CONFIG).write_text(json.dumps(config))
    synthesizer = load_synthesizer(diffmask=tmp_path / "diffmask", lefusion=tmp_path / "lefusion", num_steps=2)
    scan = small_scan(channels=("flair",))
    after = synthesizer.render(scan, small_plan(2))
    new = after.lesion_mask & ~scan.lesion_mask
    assert new.any()
    assert not (new & ~scan.brain).any()
    assert torch.equal(after.image.masked_fill(new, 0), scan.image.masked_fill(new, 0))
    assert after.image.isfinite().all()
