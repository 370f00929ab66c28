import hashlib
from itertools import pairwise

import pytest
import torch
from golden_networks import assert_near, frozen, numbers, tensors

from lesionaug.diffusion.denoiser import guided
from lesionaug.diffusion.inpainting import known_background, repaint_times, repaint_trajectory, sample_repaint
from lesionaug.diffusion.samplers import sample_dpmpp_2m, sample_euler, sample_heun
from lesionaug.diffusion.schedules import cosine_tables

REPAINT = 2e-4
RUNS = {"T10_j2_n2": (10, 2, 2), "T20_j5_n2": (20, 5, 2)}


def arguments(golden, tag, scale=1.0):
    r, network = tensors(golden, "lefusion_small_repaint"), frozen(golden, "lefusion")
    num_steps, jump_length, jump_n_sample = RUNS[tag]
    predict = guided(lambda x, t: network(x, t, r["cond"]), lambda x, t: network(x, t, network.null_cond_emb), scale)
    draw = iter(r[f"noise_{tag}"]).__next__
    times = repaint_times(num_steps, jump_length, jump_n_sample)
    return predict, cosine_tables(num_steps), r["background"], r["lesion_mask"] > 0, draw, times


@pytest.mark.parametrize("tag", RUNS)
@pytest.mark.realdata
def test_repaint(golden, tag):
    expected = tensors(golden, "lefusion_small_repaint")[f"out_{tag}"]
    assert_near(sample_repaint(*arguments(golden, tag)), expected, REPAINT)


@pytest.mark.realdata
def test_repaint_after_each_denoising(golden):
    trajectory = repaint_trajectory(*arguments(golden, "T10_j2_n2"))
    found = torch.stack([x for denoised, x in trajectory if denoised])
    assert_near(found, tensors(golden, "lefusion_small_repaint")["denoise_outputs_T10_j2_n2"], REPAINT)


@pytest.mark.realdata
def test_repaint_with_guidance(golden):
    expected = tensors(golden, "lefusion_small_repaint")["out_T20_j5_n2_cond_scale_3"]
    assert_near(sample_repaint(*arguments(golden, "T20_j5_n2", scale=3.0)), expected, REPAINT)


@pytest.mark.realdata
def test_repaint_schedules(golden):
    for expected in numbers(golden, "repaint_schedules").values():
        times = repaint_times(expected["t_T"], expected["jump_length"], expected["jump_n_sample"])
        down = sum(then < now for now, then in pairwise(times))
        assert down == expected["denoise_calls"]
        assert len(times) - 1 - down == expected["renoise_calls"]
        assert hashlib.sha256(",".join(map(str, times)).encode()).hexdigest() == expected["sha256_of_comma_joined"]


def test_without_jumps_the_schedule_falls():
    assert repaint_times(5, 1, 1) == [4, 3, 2, 1, 0, -1]


def test_every_stretch_is_denoised_so_often():
    times = repaint_times(12, 3, 4)
    crossings = [sum(pair == (t, t - 1) for pair in pairwise(times)) for t in range(12)]
    assert crossings == [1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1, 1]


def shrink(x, sigma):
    """Some denoiser; it moves every voxel."""
    return x / (1 + sigma[:, None, None, None, None] ** 2)


@pytest.mark.parametrize("sampler", [sample_euler, sample_heun, sample_dpmpp_2m])
@pytest.mark.parametrize("num_steps", [1, 2, 4, 17])
def test_known_background_keeps_its_bits(sampler, num_steps):
    image, noise = torch.randn(2, 3, 2, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 1, 6, 6, 6, dtype=torch.bool)
    mask[..., 2:4, 2:4, 2:4] = True
    sigmas = torch.cat((torch.logspace(1.9, -1.5, num_steps), torch.zeros(1)))
    out = sampler(known_background(shrink, image, mask), image + sigmas[0] * noise, sigmas)
    everywhere = mask.expand_as(image)
    assert torch.equal(out[~everywhere], image[~everywhere])
    assert (out[everywhere] != image[everywhere]).all()
