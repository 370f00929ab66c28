from dataclasses import fields

import pytest
import torch
from golden_networks import assert_near, tensors

from lesionaug.diffusion.schedules import (
    DDPMTables,
    add_noise,
    add_step_noise,
    at,
    clean_from_noise,
    cosine_betas,
    cosine_tables,
    posterior_mean,
)

STEP = 1e-5


@pytest.mark.parametrize("num_steps", [10, 20, 300])
@pytest.mark.realdata
def test_tables(golden, num_steps):
    expected, tables = tensors(golden, "schedule_tables"), cosine_tables(num_steps)
    for field in fields(DDPMTables):
        found = getattr(tables, field.name)
        torch.testing.assert_close(found, expected[f"T{num_steps}.{field.name}"], rtol=1e-6, atol=0)
    torch.testing.assert_close(cosine_betas(num_steps), expected[f"T{num_steps}.betas_float64"], rtol=1e-6, atol=0)


@pytest.mark.parametrize(("job", "clean"), [("diffmask", "mask"), ("lefusion", "image")])
@pytest.mark.realdata
def test_forward_and_reverse_step(golden, job, clean):
    s, tables = tensors(golden, f"{job}_small_steps"), cosine_tables(300)
    t, x = s["t"], s["q_sample"]
    assert_near(add_noise(tables, s[clean], t, s["noise"]), x, STEP)
    estimate = clean_from_noise(tables, x, t, s["eps_model"])
    assert_near(posterior_mean(tables, estimate.clamp(-1, 1), x, t), s["p_mean_clipped"], STEP)
    assert_near(at(tables.posterior_log_variance_clipped, t).flatten(), s["p_log_variance"], STEP)


@pytest.mark.realdata
def test_clean_estimate(golden):
    s, tables = tensors(golden, "diffmask_small_steps"), cosine_tables(300)
    found = clean_from_noise(tables, s["q_sample"], s["t"], s["eps_model"])
    torch.testing.assert_close(found, s["x0_unclipped"], rtol=1e-5, atol=1e-5)
    found = clean_from_noise(tables, s["q_sample"], s["t"], s["noise"])
    torch.testing.assert_close(found, s["x0_from_true_noise"], rtol=1e-5, atol=1e-5)


@pytest.mark.realdata
def test_step_back_up(golden):
    s = tensors(golden, "lefusion_small_sampling")
    found = add_step_noise(cosine_tables(10), s["undo_in"], torch.tensor([5]), s["undo_noise"])
    assert_near(found, s["undo_out"], STEP)


def test_true_noise_gives_the_clean_data_back():
    tables, t = cosine_tables(300), torch.tensor([0, 100, 200])
    clean, noise = torch.randn(2, 3, 1, 4, 4, 4)
    x = add_noise(tables, clean, t, noise)
    torch.testing.assert_close(clean_from_noise(tables, x, t, noise), clean, rtol=0, atol=1e-4)


def test_noise_variance_adds_up_over_steps():
    tables = cosine_tables(50)
    scale, variance = torch.tensor(1.0), torch.tensor(0.0)
    for t, beta in enumerate(tables.betas):
        scale, variance = (1 - beta).sqrt() * scale, (1 - beta) * variance + beta
        torch.testing.assert_close(scale, tables.sqrt_alphas_cumprod[t], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(variance.sqrt(), tables.sqrt_one_minus_alphas_cumprod[t], rtol=1e-4, atol=0)


def test_noise_levels_rise():
    assert (cosine_tables(300).sigmas.diff() > 0).all()
