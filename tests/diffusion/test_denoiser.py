import pytest
import torch
from golden_networks import assert_near, frozen, tensors

from lesionaug.diffusion.denoiser import NoisePredictionDenoiser, guided, step_sigmas
from lesionaug.diffusion.samplers import sample_dpmpp_2m
from lesionaug.diffusion.schedules import cosine_tables

TABLES = cosine_tables(300)


@pytest.mark.realdata
def test_guidance_scale_3(golden):
    f, network = tensors(golden, "lefusion_small_forward"), frozen(golden, "lefusion")
    predict = guided(
        lambda x, t: network(x, t, f["cond"]), lambda x, t: network(x, t, network.null_cond_emb), scale=3.0
    )
    assert_near(predict(f["x"], f["t"]), f["out_cond_scale_3"], 3e-4)


def test_scale_1_never_asks_the_null_condition():
    def never(x, t):
        raise AssertionError

    x, t = torch.randn(1, 1, 2, 2, 2), torch.tensor([5])
    assert torch.equal(guided(lambda x, t: 2 * x, never, scale=1.0)(x, t), 2 * x)


def oracle(clean):
    """Predicts the true noise of data that are always `clean`."""

    def predict(x, t):
        step = t.round().long()
        scale = TABLES.sqrt_alphas_cumprod[step], TABLES.sqrt_one_minus_alphas_cumprod[step]
        mean, spread = (s[:, None, None, None, None] for s in scale)
        return (x - mean * clean) / spread

    return predict


def test_known_levels_are_whole_steps():
    denoise = NoisePredictionDenoiser(oracle(0), TABLES, 1.0)
    steps = denoise.step(TABLES.sigmas)
    torch.testing.assert_close(steps, torch.arange(300.0), rtol=0, atol=1e-3)


def test_levels_between_steps_are_fractions_and_keep_their_order():
    denoise = NoisePredictionDenoiser(oracle(0), TABLES, 1.0)
    steps = denoise.step(torch.logspace(-3, 5, 200))
    assert (steps.diff() >= 0).all()
    assert steps.min() == 0
    assert steps.max() == 299


def test_true_noise_gives_the_clean_data():
    clean = torch.rand(3, 1, 4, 4, 4) * 2 - 1
    t = torch.tensor([20, 150, 250])
    sigma = TABLES.sigmas[t]
    x = clean + sigma[:, None, None, None, None] * torch.randn_like(clean)
    found = NoisePredictionDenoiser(oracle(clean), TABLES, 1.0)(x, sigma)
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-3)


@pytest.mark.parametrize("num_steps", [1, 2, 8, 299])
def test_any_number_of_steps_reaches_clean_data(num_steps):
    clean = torch.rand(1, 1, 4, 4, 4) * 2 - 1
    calls = []

    def counted(x, t):
        calls.append(t)
        return oracle(clean)(x, t)

    sigmas = step_sigmas(TABLES, num_steps)
    denoise = NoisePredictionDenoiser(counted, TABLES, 1.0)
    found = sample_dpmpp_2m(denoise, sigmas[0] * torch.randn(clean.shape), sigmas)
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-2)
    assert len(calls) == num_steps
