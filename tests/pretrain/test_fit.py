"""One loop, and what it promises: an interrupted run ends with the weights of an uninterrupted one."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lesionaug.pretrain.fit import FitConfig, fit
from torch import nn

from lesionaug.errors import LesionAugError


def problem(inputs=4):
    torch.manual_seed(0)
    network = nn.Linear(inputs, 1)

    def loss(generator):
        x = torch.randn(8, inputs, generator=generator)
        return ((network(x) - x.sum(dim=1, keepdim=True)) ** 2).mean()

    return network, loss


CONFIG = FitConfig(steps=40, warmup=5, keep_every=10, learning_rate=1e-1, track=())


class InterruptedRunError(Exception):
    """Stands for the end of a session."""


def failing_after(loss, calls, error):
    drawn = iter(range(calls))

    def broken(generator):
        if next(drawn, None) is None:
            raise error
        return loss(generator)

    return broken


def kept(run):
    return sorted(path.name for path in run.glob("*.pt"))


def test_it_learns(tmp_path):
    network, loss = problem()
    before = loss(torch.Generator().manual_seed(1)).item()
    fit(network, loss, CONFIG, tmp_path)
    assert loss(torch.Generator().manual_seed(1)).item() < 0.2 * before


@pytest.mark.parametrize(("steps", "accumulate"), [(10, 1), (25, 1), (39, 1), (25, 3)])
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, steps, accumulate):
    config = replace(CONFIG, accumulate=accumulate)
    network, loss = problem()
    whole = fit(network, loss, config, tmp_path / "whole")
    network, loss = problem()
    broken = failing_after(loss, steps * accumulate + accumulate // 2, InterruptedRunError)
    with pytest.raises(InterruptedRunError):
        fit(network, broken, config, tmp_path / "parts")
    network, loss = problem()
    parts = fit(network, loss, config, tmp_path / "parts")
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_killed_run_goes_on_from_the_checkpoint_before(tmp_path):
    """Between two renamings there is no last checkpoint."""
    network, loss = problem()
    whole = fit(network, loss, CONFIG, tmp_path)
    (tmp_path / "last.pt").unlink()
    network, loss = problem()
    parts = fit(network, loss, CONFIG, tmp_path)
    assert torch.equal(whole.weight, parts.weight)


def test_accumulated_batches_are_one_large_batch(tmp_path):
    batches = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(2))
    config = replace(CONFIG, steps=1, clip=0.0)

    def trained(name, accumulate, parts):
        network, _ = problem()
        drawn = iter(parts)
        return fit(
            network,
            lambda _: (network(next(drawn)) ** 2).mean(),
            replace(config, accumulate=accumulate),
            tmp_path / name,
        )

    one, three = trained("one", 1, [batches.flatten(0, 1)]), trained("three", 3, batches)
    torch.testing.assert_close(one.weight, three.weight)


def test_the_average_is_a_copy_until_it_begins_and_then_moves_by_its_decay(tmp_path):
    seen = []
    config = replace(CONFIG, steps=12, keep_every=1, ema=0.3, ema_every=2, ema_from=4)
    network, loss = problem()
    fit(network, loss, config, tmp_path, validate=lambda average: seen.append(weights(network, average)) or {})
    now, mean = zip(*seen, strict=True)
    assert mean[0] == now[0]
    assert mean[1] == now[0]  # steps in between leave it as it is
    assert mean[2] == now[2]
    for step in (4, 6, 8, 10):
        assert mean[step] == pytest.approx(0.3 * mean[step - 1] + 0.7 * now[step], rel=1e-5)


def weights(network, average):
    return network.weight[0, 0].item(), average.weight[0, 0].item()


def test_earlier_checkpoints_are_pruned(tmp_path):
    network, loss = problem()
    fit(network, loss, replace(CONFIG, keep=2), tmp_path)
    assert kept(tmp_path) == ["last.pt", "step-00000020.pt", "step-00000030.pt"]
    fit(*problem(), replace(CONFIG, steps=50, keep=0), tmp_path)
    assert kept(tmp_path) == ["last.pt"]


def test_the_best_average_is_kept_and_remembered(tmp_path):
    best, held = [], iter([3.0, 1.0, 2.0, 1.5, 0.5])

    def train(steps):
        network, loss = problem()
        fit(
            network,
            loss,
            replace(CONFIG, steps=steps),
            tmp_path,
            validate=lambda _: {"held": next(held)},
            keep_best=lambda average: best.append(average.weight.clone()),
        )

    train(30)
    assert len(best) == 2
    train(50)
    assert len(best) == 3


def test_the_log_has_a_line_for_each_milestone(tmp_path, capsys):
    network, loss = problem()
    fit(network, loss, CONFIG, tmp_path, validate=lambda _: {"held": 0.25})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40]
    assert all(line["held"] == 0.25 and math.isfinite(line["loss"]) for line in lines)
    out = capsys.readouterr().out
    assert "step 10/40  loss" in out
    assert "held 0.25" in out
    assert out.count("left") == 3


def not_a_number(loss, network):
    return lambda generator: loss(generator) * torch.nan


def gradient_not_a_number(loss, network):
    return lambda generator: loss(generator) + torch.sqrt(0 * network.weight.sum())


@pytest.mark.parametrize(
    ("broken", "what"), [(not_a_number, "finite loss"), (gradient_not_a_number, "finite gradient")]
)
def test_what_is_not_finite_keeps_the_last_good_checkpoint(tmp_path, broken, what):
    fit(*problem(), replace(CONFIG, steps=10), tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    network, loss = problem()
    with pytest.raises(LesionAugError, match=rf"{what} at step 10.*learning-rate.*last good checkpoint"):
        fit(network, broken(loss, network), replace(CONFIG, steps=20), tmp_path)
    assert (tmp_path / "last.pt").read_bytes() == before


FULL = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nand much more"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
)


@pytest.mark.parametrize("error", FULL, ids=["gpu", "cpu"])
def test_a_full_memory_is_told_with_a_remedy_and_keeps_the_last_checkpoint(tmp_path, error):
    network, loss = problem()
    with pytest.raises(LesionAugError, match=r"memory.*lower --batch.*--fit.accumulate \(now 2\)") as raised:
        fit(network, failing_after(loss, 30, error), replace(CONFIG, accumulate=2), tmp_path)
    assert "\n" not in str(raised.value)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 10


def test_other_errors_stay_as_they_are(tmp_path):
    network, loss = problem()
    with pytest.raises(RuntimeError, match="shapes"):
        fit(network, failing_after(loss, 3, RuntimeError("shapes differ")), CONFIG, tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    fit(*problem(), replace(CONFIG, steps=10), tmp_path)
    with pytest.raises(LesionAugError, match=r"weight 1x4 for 1x5.*another --output"):
        fit(*problem(inputs=5), CONFIG, tmp_path)


def test_a_damaged_checkpoint_is_refused_and_named(tmp_path):
    fit(*problem(), replace(CONFIG, steps=20), tmp_path)
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:500])
    with pytest.raises(LesionAugError, match=r"last\.pt.*remove it.*step-00000010\.pt"):
        fit(*problem(), CONFIG, tmp_path)


@pytest.mark.slow
def test_two_processes_agree_learn_from_different_data_and_go_on(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    script = Path(__file__).with_name("two_processes.py")
    for steps in (20, 40):
        subprocess.run([*command, str(script), str(tmp_path), str(steps)], check=True, timeout=600)
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert torch.equal(one["weight"], two["weight"])
    assert not torch.equal(one["generator"], two["generator"])
    checkpoint = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert checkpoint["step"] == 40
    assert len(checkpoint["generators"]) == 2
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 4
