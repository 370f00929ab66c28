"""One loop, and what it promises: an interrupted run ends with the weights of an uninterrupted one."""

import pytest
import torch
from lesionaug.pretrain.fit import FitConfig, fit
from torch import nn

from lesionaug.errors import LesionAugError


def problem():
    torch.manual_seed(0)
    network = nn.Linear(4, 1)

    def loss(generator):
        x = torch.randn(8, 4, generator=generator)
        return ((network(x) - x.sum(dim=1, keepdim=True)) ** 2).mean()

    return network, loss


CONFIG = FitConfig(steps=40, warmup=5, keep_every=10, learning_rate=1e-1)


class InterruptedRunError(Exception):
    """Stands for the end of a session."""


def interrupted_after(loss, steps):
    drawn = iter(range(steps))

    def broken(generator):
        if next(drawn, None) is None:
            raise InterruptedRunError
        return loss(generator)

    return broken


def test_it_learns(tmp_path):
    network, loss = problem()
    before = loss(torch.Generator().manual_seed(1)).item()
    fit(network, loss, CONFIG, tmp_path)
    assert loss(torch.Generator().manual_seed(1)).item() < 0.2 * before


@pytest.mark.parametrize("steps", [10, 25, 39])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, steps):
    network, loss = problem()
    whole = fit(network, loss, CONFIG, tmp_path / "whole")
    network, loss = problem()
    with pytest.raises(InterruptedRunError):
        fit(network, interrupted_after(loss, steps), CONFIG, tmp_path / "parts")
    network, loss = problem()
    parts = fit(network, loss, CONFIG, tmp_path / "parts")
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path):
    network, loss = problem()
    fit(network, loss, FitConfig(steps=10, keep_every=10), tmp_path)
    kept = (tmp_path / "last.pt").read_bytes()
    network, loss = problem()
    with pytest.raises(LesionAugError, match="step 10"):
        fit(network, lambda generator: loss(generator) * torch.nan, FitConfig(steps=20, keep_every=10), tmp_path)
    assert (tmp_path / "last.pt").read_bytes() == kept
