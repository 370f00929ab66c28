import math
from itertools import pairwise

import pytest
import torch
from golden_networks import assert_near, frozen, tensors

from lesionaug.diffusion.samplers import (
    ancestral_trajectory,
    gaussian,
    sample_ancestral,
    sample_dpmpp_2m,
    sample_euler,
    sample_heun,
)
from lesionaug.diffusion.schedules import cosine_tables

SAMPLER = 2e-4


def recorded(noise):
    return iter(noise).__next__


def diffmask_predictor(golden, sphere):
    network = frozen(golden, "diffmask")
    return lambda x, t: network(torch.cat((x, sphere), dim=1), t)


@pytest.mark.realdata
def test_diffmask_every_step_of_ten(golden):
    s = tensors(golden, "diffmask_small_sampling")
    predict = diffmask_predictor(golden, s["sphere"])
    steps = torch.stack(list(ancestral_trajectory(predict, cosine_tables(10), recorded(s["noise_T10"]))))
    assert_near(steps, s["steps_T10"], SAMPLER)
    assert_near(steps[-1], s["out_T10"], SAMPLER)


@pytest.mark.slow
@pytest.mark.realdata
def test_diffmask_three_hundred_steps_from_a_seed(golden):
    s = tensors(golden, "diffmask_small_sampling")
    shape = s["sphere"].shape
    seed = torch.Generator().manual_seed(int(s["seed_T300"]))
    assert torch.equal(torch.randn(shape, generator=seed.clone_state()), s["noise_T300_initial"])
    predict = diffmask_predictor(golden, s["sphere"])
    out = sample_ancestral(predict, cosine_tables(300), gaussian([seed], shape[1:], "cpu"))
    assert_near(out, s["out_T300"], SAMPLER)


@pytest.mark.realdata
def test_lefusion_ten_steps(golden):
    s, network = tensors(golden, "lefusion_small_sampling"), frozen(golden, "lefusion")
    out = sample_ancestral(lambda x, t: network(x, t, s["cond"]), cosine_tables(10), recorded(s["noise_T10"]))
    assert_near(out, s["out_T10"], SAMPLER)


MEAN, SPREAD = 0.7, 0.4
SIGMA_MAX, SIGMA_MIN = 10.0, 0.05


def gaussian_denoiser(x, sigma):
    """Closed form for data that are Gaussian."""
    s2 = sigma[:, None, None, None, None] ** 2
    return (SPREAD**2 * x + s2 * MEAN) / (SPREAD**2 + s2)


def gaussian_flow(x, sigma):
    """Where the probability flow carries `x` from `SIGMA_MAX`."""
    return MEAN + (x - MEAN) * math.sqrt((SPREAD**2 + sigma**2) / (SPREAD**2 + SIGMA_MAX**2))


def error(sampler, num_steps):
    x = SIGMA_MAX * torch.randn(1, 1, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigmas = torch.logspace(math.log10(SIGMA_MAX), math.log10(SIGMA_MIN), num_steps + 1, dtype=torch.float64)
    return (sampler(gaussian_denoiser, x, sigmas) - gaussian_flow(x, SIGMA_MIN)).abs().mean().item()


@pytest.mark.parametrize(("sampler", "order"), [(sample_euler, 1), (sample_heun, 2), (sample_dpmpp_2m, 2)])
def test_convergence_order_on_gaussian_data(sampler, order):
    errors = [error(sampler, num_steps) for num_steps in (64, 128, 256)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("sampler", [sample_euler, sample_heun, sample_dpmpp_2m])
def test_a_step_to_zero_ends_at_the_clean_estimate(sampler):
    last = []

    def denoise(x, sigma):
        last.append(gaussian_denoiser(x, sigma))
        return last[-1]

    out = sampler(denoise, torch.randn(2, 1, 4, 4, 4), torch.tensor([3.0, 1.0, 0.2, 0.0]))
    assert torch.equal(out, last[-1])


def test_ancestral_samples_have_the_moments_of_the_data():
    tables = cosine_tables(100)

    def predict(x, t):
        clean_scale, noise_scale = tables.sqrt_alphas_cumprod[t[0]], tables.sqrt_one_minus_alphas_cumprod[t[0]]
        sigma = (noise_scale / clean_scale).expand(len(x))
        clean = gaussian_denoiser(x / clean_scale, sigma)
        return (x - clean_scale * clean) / noise_scale

    draw = gaussian([torch.Generator().manual_seed(1)], (1, 20, 20, 20), "cpu")
    out = sample_ancestral(predict, tables, draw, clip=10.0)
    assert out.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert out.std().item() == pytest.approx(SPREAD, abs=0.02)


def test_a_samples_noise_does_not_depend_on_its_batch():
    def generators(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together, alone = (gaussian(generators(*seeds), (1, 2, 3, 4), "cpu") for seeds in ((5, 6), (6,)))
    for _ in range(3):
        assert torch.equal(together()[1:], alone())
