"""The published network against tensors of the published implementation; tolerances are those of its table."""

import zlib
from dataclasses import fields

import numpy as np
import pytest
import torch
from golden_networks import FULL, PREFIX, SMALL, assert_near, frozen, numbers, tensors

from lesionaug.diffusion.schedules import DDPMTables
from lesionaug.networks.unet3d import Unet3D

FORWARD = 1e-4
WRAPPED_CONTROL = 2e-3

WEIGHTS = pytest.mark.parametrize("weights", ["model", "ema"])
JOBS = pytest.mark.parametrize("job", ["diffmask", "lefusion"])


@pytest.mark.parametrize(("job", "parameters"), [("diffmask", 35_711_041), ("lefusion", 35_834_897)])
def test_published_size(job, parameters):
    with torch.device("meta"):
        assert sum(weight.numel() for weight in Unet3D(FULL[job]).parameters()) == parameters


@JOBS
@pytest.mark.realdata
def test_keys_and_shapes_are_the_published_ones(golden, job):
    with torch.device("meta"):
        network = {PREFIX + key: list(value.shape) for key, value in Unet3D(FULL[job]).state_dict().items()}
    tables = {field.name: [300] for field in fields(DDPMTables)}
    assert network | tables == numbers(golden, f"{job}_full_keys")["shapes"]


@WEIGHTS
@pytest.mark.realdata
def test_diffmask_forward(golden, weights):
    f = tensors(golden, "diffmask_small_forward")
    out = frozen(golden, "diffmask", weights)(torch.cat((f["x"], f["sphere"]), dim=1), f["t"])
    assert_near(out, f[f"out_{weights}"], FORWARD)


@WEIGHTS
@pytest.mark.realdata
def test_lefusion_forward(golden, weights):
    f = tensors(golden, "lefusion_small_forward")
    assert_near(frozen(golden, "lefusion", weights)(f["x"], f["t"], f["cond"]), f[f"out_{weights}"], FORWARD)


@pytest.mark.realdata
def test_diffmask_forward_with_control_in_wrapped_bytes(golden):
    f = tensors(golden, "diffmask_small_forward")
    control = torch.where(f["sphere"][:1] > 0, 1.0, 255.0)
    out = frozen(golden, "diffmask")(torch.cat((f["x"][:1], control), dim=1), f["t"][:1])
    assert_near(out, f["out_model_sphere_wrapped_uint8"], WRAPPED_CONTROL)


@pytest.mark.realdata
def test_second_patch_size(golden):
    f = tensors(golden, "diffmask_small_forward")
    out = frozen(golden, "diffmask")(torch.cat((f["large_x"], f["large_sphere"]), dim=1), f["large_t"])
    assert_near(out, f["large_out_model"], FORWARD)
    f = tensors(golden, "lefusion_small_forward")
    assert_near(frozen(golden, "lefusion")(f["large_x"], f["large_t"], f["large_cond"]), f["large_out_model"], FORWARD)


@pytest.mark.realdata
def test_conditions(golden):
    f, network = tensors(golden, "lefusion_small_forward"), frozen(golden, "lefusion")
    x, t = f["x"], f["t"]
    assert_near(network(x, t, network.null_cond_emb), f["out_null_cond"], FORWARD)
    assert_near(network(x[:1], t[:1]), f["out_cond_none"], FORWARD)
    assert_near(network(x, t, f["cond"][:1])[1:], f["out_cond_row0_for_both"], FORWARD)


@pytest.mark.realdata
def test_embeddings(golden):
    f, network = tensors(golden, "diffmask_small_forward"), frozen(golden, "diffmask")
    assert_near(network.time_mlp(f["t"]), f["time_emb"], 1e-5)
    assert_near(network.time_rel_pos_bias(32), f["pos_bias_32"], 0)


@JOBS
@pytest.mark.realdata
def test_every_module_on_the_way(golden, job):
    f, network, found = tensors(golden, f"{job}_small_forward"), frozen(golden, job), {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
    x = torch.cat((f["x"], f["sphere"]), dim=1) if job == "diffmask" else f["x"]
    network(x, f["t"], f.get("cond"))
    expected = {name: value for name, value in numbers(golden, f"{job}_small_modules").items() if name in found}
    assert len(expected) == 68  # all but the two activations, which are no modules here
    for name, value in expected.items():
        out = found[name]
        assert list(out.shape) == value["shape"], name
        statistics = [out.mean(), out.std(unbiased=False), out.abs().max()]
        assert_near(torch.stack(statistics), torch.tensor([value[key] for key in ("mean", "std", "absmax")]), FORWARD)


def full_network(job: str) -> Unet3D:
    """The published size with weights that are a formula of their names."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in Unet3D(FULL[job]).state_dict().items()}
    network = Unet3D(FULL[job])
    state = {key: torch.from_numpy(formula(key, shape)).float() for key, shape in shapes.items()}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def formula(key: str, shape: tuple[int, ...]) -> np.ndarray:
    if key.endswith("rotary_emb.freqs"):
        return 10_000.0 ** (-np.arange(0, 32, 2) / 32)
    z = np.random.RandomState(zlib.crc32(key.encode("ascii"))).standard_normal(shape)
    if key.endswith("gamma") or (len(shape) == 1 and key.endswith(".weight")):
        return 1 + 0.1 * z
    return 0.1 * z if len(shape) == 1 else z / np.sqrt(np.prod(shape[1:]))


def full_input() -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(1).standard_normal((1, 1, 32, 64, 64))).float()


def full_control() -> torch.Tensor:
    i, j, k = np.ogrid[:32, :64, :64]
    first = (i - 16) ** 2 + (j - 30) ** 2 + (k - 34) ** 2 <= 36
    second = (i - 10) ** 2 + (j - 45) ** 2 + (k - 20) ** 2 <= 16
    return torch.from_numpy(np.where(first | second, 1, -1)).float()[None, None]


def assert_full_output(golden, name: str, out: torch.Tensor) -> None:
    assert_near(out[:, :, ::2, ::2, ::2], tensors(golden, "full_forward")[f"{name}_stride2"], FORWARD)
    expected = numbers(golden, "full_forward")[name]
    statistics = torch.stack([out.mean(), out.std(unbiased=False), out.min(), out.max()])
    assert_near(statistics, torch.tensor([expected[key] for key in ("mean", "std", "min", "max")]), FORWARD)


@pytest.mark.slow
@pytest.mark.realdata
def test_published_size_diffmask(golden):
    out = full_network("diffmask")(torch.cat((full_input(), full_control()), dim=1), torch.tensor([123]))
    assert_full_output(golden, "diffmask.out", out)


@pytest.mark.slow
@pytest.mark.realdata
def test_published_size_lefusion(golden):
    network, t = full_network("lefusion"), torch.tensor([123])
    assert_full_output(
        golden, "lefusion.out", network(full_input(), t, tensors(golden, "full_forward")["lefusion.cond"])
    )
    assert_full_output(golden, "lefusion.out_null", network(full_input(), t, network.null_cond_emb))


def small_input(batch: int) -> torch.Tensor:
    return torch.randn(batch, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_sample_does_not_depend_on_its_batch():
    network = Unet3D(SMALL["diffmask"]).eval().requires_grad_(False)
    x, t = small_input(3), torch.tensor([3, 100, 299])
    together = network(x, t)
    alone = torch.cat([network(x[n : n + 1], t[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_steps_may_be_fractions():
    network = Unet3D(SMALL["diffmask"]).eval().requires_grad_(False)
    x = small_input(1)
    at = {t: network(x, torch.tensor([t])) for t in (10, 10.0, 10.01, 11)}
    assert torch.equal(at[10], at[10.0])
    assert 0 < (at[10.01] - at[10]).norm() < (at[11] - at[10]).norm()
