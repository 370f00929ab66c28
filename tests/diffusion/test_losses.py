"""The published losses, their gradients and the step they lead to."""

import pytest
import torch
from golden_networks import assert_near, network, numbers, tensors

from lesionaug.diffusion.losses import lesion_l1, masked_l1, masked_l2, noise_l1

LOSS = 1e-4  # relative
ADAM = 2e-4


def diffmask_step(golden):
    s, net = tensors(golden, "diffmask_small_steps"), network(golden, "diffmask")
    predicted = net(torch.cat((s["q_sample"], s["sphere"]), dim=1), s["t"])
    return net, predicted, s["noise"], s["mask"] > 0


def lefusion_step(golden):
    s, net = tensors(golden, "lefusion_small_steps"), network(golden, "lefusion")
    return net, net(s["q_sample"], s["t"], s["cond"]), s["noise"], s["lesion_mask"] > 0


@pytest.mark.realdata
def test_predicted_noise(golden):
    for job, step in (("diffmask", diffmask_step), ("lefusion", lefusion_step)):
        assert_near(step(golden)[1], tensors(golden, f"{job}_small_steps")["eps_model"], 1e-4)


@pytest.mark.realdata
def test_diffmask_losses(golden):
    expected = numbers(golden, "diffmask_small_grads")["losses"]
    _, predicted, noise, lesion = diffmask_step(golden)
    assert lesion_l1(predicted, noise, lesion).item() == pytest.approx(expected["fork_l1"], rel=LOSS)
    assert noise_l1(predicted, noise).item() == pytest.approx(expected["original_l1"], rel=LOSS)


@pytest.mark.realdata
def test_lefusion_losses(golden):
    expected = numbers(golden, "lefusion_small_grads")["losses"]
    _, predicted, noise, mask = lefusion_step(golden)
    assert masked_l1(predicted, noise, mask).item() == pytest.approx(expected["fork_ms_l1"], rel=LOSS)
    assert masked_l2(predicted, noise, mask).item() == pytest.approx(expected["fork_ms_l2"], rel=LOSS)


@pytest.mark.parametrize(
    ("job", "step", "loss"), [("diffmask", diffmask_step, lesion_l1), ("lefusion", lefusion_step, masked_l1)]
)
@pytest.mark.realdata
def test_gradients(golden, job, step, loss):
    expected = numbers(golden, f"{job}_small_grads")["grad_l2"]
    net, predicted, noise, mask = step(golden)
    loss(predicted, noise, mask).backward()
    found = {name: 0.0 if p.grad is None else p.grad.norm().item() for name, p in net.named_parameters()}
    assert found.keys() == expected.keys()
    wrong = {n: (found[n], b) for n, b in expected.items() if abs(found[n] - b) > 1e-3 * b + 1e-5}
    assert not wrong


@pytest.mark.realdata
def test_diffmask_after_one_adam_step(golden):
    net, predicted, noise, lesion = diffmask_step(golden)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-4)
    lesion_l1(predicted, noise, lesion).backward()
    optimiser.step()
    f = tensors(golden, "diffmask_small_forward")
    with torch.no_grad():
        out = net(torch.cat((f["x"], f["sphere"]), dim=1)[:1], f["t"][:1])
    assert_near(out, tensors(golden, "diffmask_small_steps")["out_after_one_adam_step"], ADAM)


@pytest.mark.realdata
def test_lefusion_after_one_adam_step(golden):
    net, predicted, noise, mask = lefusion_step(golden)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)
    masked_l1(predicted, noise, mask).backward()
    optimiser.step()
    f = tensors(golden, "lefusion_small_forward")
    with torch.no_grad():
        out = net(f["x"][:1], f["t"][:1], f["cond"][:1])
    assert_near(out, tensors(golden, "lefusion_small_steps")["out_after_one_adam_step"], ADAM)


def test_masked_losses_see_the_mask_alone():
    noise, predicted = torch.randn(2, 1, 1, 4, 4, 4)
    mask = torch.rand(1, 1, 4, 4, 4) < 0.3
    elsewhere = torch.where(mask, predicted, predicted + 7)
    for loss in (masked_l1, masked_l2):
        assert torch.equal(loss(predicted, noise, mask), loss(elsewhere, noise, mask))


def test_a_lesion_voxel_weighs_eleven_times_a_background_voxel():
    noise, lesion = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool)
    inside, outside = noise.clone(), noise.clone()
    lesion[..., 0], inside[..., 0, 0, 0], outside[..., 0, 0, 1] = True, 1, 1
    torch.testing.assert_close(lesion_l1(inside, noise, lesion), 11 * lesion_l1(outside, noise, lesion))
