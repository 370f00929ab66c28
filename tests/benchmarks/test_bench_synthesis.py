"""The benchmark runs from end to end, and counts and scales as it says; no test looks at a time."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.bench_synthesis import BenchSynthesis, targets
from benchmarks.cases import Head, PhantomCase
from benchmarks.compute import counted
from benchmarks.measure import commit, in_fresh_process, peak_memory_gb, timed
from benchmarks.published_row import PUBLISHED, measure_published, repaint_calls
from benchmarks.synthesis_rows import DRAW, PAINT, Row, Work
from lesionaug.networks.attention import Attention
from lesionaug.networks.unet3d import Unet3DConfig


def row(**changes) -> Row:
    known = Row(
        "default", "cpu", 2, "measured", {}, {}, 10, 0.5, 6.0, {DRAW: 4, PAINT: 4}, {DRAW: 10, PAINT: 20}, 1, None
    )
    return replace(known, **changes)


@pytest.mark.slow
def test_quick_run_writes_what_it_measured_and_on_what(tmp_path, capsys):
    path = tmp_path / "new" / "synthesis.json"
    BenchSynthesis(models=("parametric", "published"), device=("cpu",), quick=True, output=path).run()
    written = json.loads(path.read_text())
    (found,) = written["rows"]
    assert (found["model"], found["how"], found["lesions"]) == ("parametric", "measured", 1)
    assert set(found["stages"]) == {"anatomy", "plan", "render"}
    assert found["gflop"] == {}
    assert found["scan_s"] == pytest.approx(sum(stage["median_s"] for stage in found["stages"].values()))
    assert {"cpu", "cores", "load_average"} <= set(written["hardware"])
    assert written["versions"]["torch"] == torch.__version__
    assert written["config"]["case"]["shape"] == [80, 96, 80]
    assert "parametric" in capsys.readouterr().out


def test_a_few_published_calls_are_scaled_to_all_and_the_row_says_so():
    tiny = Unet3DConfig(dim=8, dim_mults=(1, 2))
    work = Work(published_calls=2, threads=torch.get_num_threads())
    found = measure_published("cpu", work, tiny, (4, 8, 8))
    other = measure_published("cpu", replace(work, published_calls=4), tiny, (4, 8, 8))
    assert other.how == "scaled from 4 + 6 calls"
    assert found.how == "scaled from 2 + 2 calls"
    assert found.calls == {DRAW: 300, PAINT: 598}
    per_call = [timing.median_s / 2 for timing in found.stages.values()]
    assert found.lesion_s == pytest.approx(per_call[0] * 300 + per_call[1] * 598)
    assert other.gflop == pytest.approx(found.gflop)


@pytest.mark.parametrize(("jumps", "calls"), [(1, 300), (2, 598), (5, 1480), (10, 2910)])
def test_network_calls_of_repaint_are_the_published_ones(jumps, calls):
    assert repaint_calls(300, jumps, jumps) == calls


def test_operations_and_calls_are_those_of_the_watched_network_alone():
    watched, other = nn.Conv3d(2, 3, 3, padding=1), nn.Linear(5, 7)
    with counted({"a": watched}) as uses, torch.inference_mode():
        watched(torch.zeros(1, 2, 4, 5, 6))
        other(torch.zeros(9, 5))
        watched(torch.zeros(1, 2, 4, 5, 6))
    assert (uses["a"].calls, uses["a"].flop) == (2, 2 * 2 * 3 * 2 * 27 * 4 * 5 * 6)


def test_attention_counts_on_a_processor():
    sequences, tokens, dim, width = 3, 16, 8, 256
    network = Attention(dim, rotary=False).eval()
    with counted({"a": network}) as uses, torch.inference_mode():
        network(torch.zeros(1, sequences, tokens, dim))
    projections = 2 * sequences * tokens * dim * 4 * width
    assert uses["a"].flop == projections + 2 * 2 * sequences * tokens**2 * width


@pytest.mark.parametrize(
    ("ours", "published", "reached"),
    [
        (row(), row(model=PUBLISHED, gflop={DRAW: 1.0, PAINT: 30_000.0}), [True, True, True]),
        (row(), row(model=PUBLISHED, gflop={DRAW: 9e9, PAINT: 29_000.0}), [True, False, True]),
        (row(scan_s=20.1, peak_gb=3.1), None, [False, None, False]),
        (row(lesions=3), None, [None, None, True]),
        (row(threads=16), None, [None, None, True]),
        (row(device="cuda:0"), None, [None, None, None]),
    ],
)
def test_targets(ours, published, reached):
    assert [target.reached for target in targets([ours, *([published] if published else [])])] == reached


def test_first_time_is_kept_apart():
    seen = []
    found = timed(seen.append, repeats=3)
    assert seen == [0, 0, 1, 2]
    assert found.repeats == 3
    assert found.median_s <= found.p90_s


def test_memory_is_that_of_the_process_alone():
    """A large parent leaves no trace in its child."""
    ballast = torch.ones(200_000_000, dtype=torch.uint8)
    small = in_fresh_process(peak_memory_gb, deadline_s=120)
    assert peak_memory_gb() - small > 0.9 * len(ballast) / 1e9


@pytest.mark.parametrize(
    ("function", "argument", "deadline_s", "message"),
    [(len, 3, 120, "TypeError"), (os._exit, 1, 120, "dead process"), (time.sleep, 60, 1, "no answer")],
)
def test_a_failed_process_says_why(function, argument, deadline_s, message):
    with pytest.raises(RuntimeError, match=message):
        in_fresh_process(function, argument, deadline_s=deadline_s)


def test_phantoms_are_the_same_each_time_and_survive_a_file(tmp_path):
    case = PhantomCase(shape=(20, 24, 20), spacing_mm=(7.0, 7.0, 7.0))
    head, path = case.head(), tmp_path / "head.npz"
    case.head().save(path)
    read = Head.read(path)
    assert torch.equal(read.image, head.image)
    assert torch.equal(read.lesion_mask, head.lesion_mask)
    assert (read.channels, read.affine.tolist()) == (head.channels, head.affine.tolist())


def test_commit_is_a_hash_where_there_is_git():
    if (Path(__file__).parents[2] / ".git").exists():
        assert len(commit().removesuffix("-dirty")) == 40
