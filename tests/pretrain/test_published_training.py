"""The published trainings, number by number: loss, gradient and Adam step through the loop that trains."""

import json
from dataclasses import replace

import pytest
import torch
from golden_networks import assert_near, network, numbers, tensors
from lesionaug.pretrain import published_diffmask, published_lefusion
from lesionaug.pretrain.fit import fit
from lesionaug.pretrain.labelled import BRAIN, CUT, OTHER, THIS
from lesionaug.pretrain.patches import PatchGroup
from lesionaug.pretrain.presets import PRESETS
from lesionaug.pretrain.published_lessons import pool

from lesionaug.diffusion.schedules import cosine_tables
from lesionaug.errors import LesionAugError
from lesionaug.networks.unet3d import Unet3D, Unet3DConfig

ONE_STEP = {"steps": 1, "track": (), "bf16": False, "device": "cpu"}


def fit_of(job):
    return PRESETS[job]["published"].fit


def diffmask_loss(golden, net):
    s = tensors(golden, "diffmask_small_steps")
    given = (s["mask"], s["sphere"], s["t"], s["noise"], cosine_tables(300))
    return lambda _: published_diffmask.loss_of(net, *given, PRESETS["diffmask"]["published"].extra)


def lefusion_loss(golden, net):
    s = tensors(golden, "lefusion_small_steps")
    given = (s["image"], s["lesion_mask"] > 0, s["cond"], s["t"], s["noise"], cosine_tables(300))
    return lambda _: published_lefusion.loss_of(net, *given)


JOBS = pytest.mark.parametrize(
    ("job", "loss_on", "name"), [("diffmask", diffmask_loss, "fork_l1"), ("lefusion", lefusion_loss, "fork_ms_l1")]
)


@JOBS
@pytest.mark.realdata
def test_loss_and_gradients(golden, job, loss_on, name):
    expected, net = numbers(golden, f"{job}_small_grads"), network(golden, job)
    loss = loss_on(golden, net)(None)
    loss.backward()
    assert loss.item() == pytest.approx(expected["losses"][name], rel=1e-4)
    found = {key: 0.0 if p.grad is None else p.grad.norm().item() for key, p in net.named_parameters()}
    assert not {k: (found[k], b) for k, b in expected["grad_l2"].items() if abs(found[k] - b) > 1e-3 * b + 1e-5}


@JOBS
@pytest.mark.realdata
def test_a_step_of_the_loop_is_the_published_step(golden, tmp_path, job, loss_on, name):
    """With the preset's own settings: accumulating the same batch is that batch, and the average starts as a copy."""
    net, f = network(golden, job), tensors(golden, f"{job}_small_forward")
    average = fit(net, loss_on(golden, net), replace(fit_of(job), **ONE_STEP), tmp_path)
    given = (torch.cat((f["x"], f["sphere"]), dim=1),) if job == "diffmask" else (f["x"],)
    rest = (f["t"], f["cond"]) if job == "lefusion" else (f["t"],)
    with torch.no_grad():
        out = average(*(part[:1] for part in (*given, *rest)))
    assert_near(out, tensors(golden, f"{job}_small_steps")["out_after_one_adam_step"], 2e-4)


def test_settings_are_those_published():
    diffmask, lefusion = (PRESETS[job]["published"] for job in ("diffmask", "lefusion"))
    assert (diffmask.batch, diffmask.fit.accumulate, diffmask.fit.learning_rate) == (10, 2, 3e-4)
    assert (lefusion.batch, lefusion.fit.accumulate, lefusion.fit.learning_rate) == (4, 8, 1e-4)
    for preset in (diffmask, lefusion):
        assert preset.model.diffusion_steps == 300
        assert preset.model.patch_shape == (32, 64, 64)
        assert (preset.fit.ema, preset.fit.ema_every, preset.fit.ema_from) == (0.995, 10, 2000)
        assert (preset.fit.weight_decay, preset.fit.clip, preset.fit.warmup, preset.fit.cosine) == (0, 0, 0, False)


@pytest.mark.parametrize("job", ["diffmask", "lefusion"])
def test_networks_are_those_published(golden, job):
    expected = json.loads((golden / f"{job}_full_keys.json").read_text())["shapes"]
    with torch.device("meta"):
        state = Unet3D(PRESETS[job]["published"].model.network).state_dict()
    prefix = "denoise_fn.module."
    published = {key.removeprefix(prefix): shape for key, shape in expected.items() if key.startswith(prefix)}
    assert {key: list(value.shape) for key, value in state.items()} == published


def group(label, channels=("t1w", "flair")):
    label = torch.stack(label)[:, None]
    image = torch.arange(len(channels)).view(1, -1, 1, 1, 1).expand(len(label), -1, *label.shape[2:])
    return PatchGroup("s", "p", channels, image.half(), label.byte(), healthy=False)


def lesion(bits):
    label = torch.full((8, 8, 8), BRAIN)
    label[2:4, 2:4, 2:4] |= bits
    return label


def test_lessons_are_whole_lesions_of_the_wanted_contrast():
    lessons = pool([group([lesion(THIS), lesion(THIS | CUT), lesion(OTHER)])], (8, 8, 8), "flair")
    assert lessons.masks.sum(dim=(1, 2, 3, 4)).tolist() == [8, 8]
    assert (lessons.images == 1).all()


@pytest.mark.parametrize("wanted", [((16, 16, 16), "flair"), ((8, 8, 8), "t2w")])
def test_a_store_without_such_patches_is_refused(wanted):
    with pytest.raises(LesionAugError, match=r"got none among patches of 8x8x8 in flair, t1w; .*published"):
        pool([group([lesion(THIS)])], *wanted)


def test_flips_are_of_image_and_mask_together():
    label = lesion(0)
    label[0, 1, 2] |= THIS
    patches = group([label], channels=("flair",))
    patches.image[0, 0] = ((label & THIS) > 0).half()
    lessons, generator = pool([patches], (8, 8, 8), "flair"), torch.Generator().manual_seed(0)
    places = set()
    for _ in range(20):
        mask, image = lessons.draw(generator, (0, 2))
        assert torch.equal(mask.float(), image)
        places.add(tuple(mask.nonzero()[0].tolist()))
    assert places == {(0, i, 1, k) for i in (0, 7) for k in (2, 5)}


def test_a_forgotten_histogram_teaches_the_null_condition():
    """Upstream's is never trained; ours is, unless `forget` is 0."""
    config = replace(
        PRESETS["lefusion"]["published"],
        batch=2,
        model=replace(
            PRESETS["lefusion"]["published"].model,
            patch_shape=(8, 8, 8),
            network=Unet3DConfig(dim=8, dim_mults=(1, 2), condition_size=16),
        ),
    )
    torch.manual_seed(0)
    net = Unet3D(config.model.network)
    lessons = pool([group([lesion(THIS)])], (8, 8, 8), "flair")
    for forget, learns in ((0.0, False), (1.0, True)):
        net.zero_grad()
        loss = published_lefusion.draw_loss(replace(config, forget=forget), lessons, net, torch.Generator())
        loss.backward()
        assert bool(net.null_cond_emb.grad.any()) == learns
