"""All benchmarks of speed run, are not run twice, and end in one table that says where each number is from."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from result_samples import ORIGIN, baselines, cache, write_sample

from benchmarks.measure import PROJECT, commit
from benchmarks.result_files import read_result
from benchmarks.speed.benches import Bench, NnunetData, benches
from benchmarks.speed.gathering import NAMES, ONLY_QUICK, OTHER_COMMIT, OTHER_MACHINE, gathered, where_from
from benchmarks.speed.page import draw
from benchmarks.speed.runs import run_all
from lesionaug.errors import LesionAugError

FAKE = """
import subprocess
import sys
from pathlib import Path
from result_samples import cache, write_sample
from benchmarks.measure import commit
if "--fail" in sys.argv:
    raise SystemExit("the disk is full")
if "--sleep" in sys.argv:
    subprocess.run([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"])
output = Path(sys.argv[sys.argv.index("--output") + 1])
with open(output.with_name("calls"), "a") as calls:
    calls.write("x")
write_sample(output, "cache", cache(), commit=commit())
"""


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Bench:
    """A benchmark that counts how often it is run."""
    (tmp_path / "fake_bench.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{PROJECT / 'tests'}")
    return Bench("cache", "fake_bench", ("--repeats", "3"))


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text())


def test_what_was_measured_is_not_measured_again(fake, tmp_path):
    if commit() is None:
        pytest.skip("needs git, which tells whether the program is the same")
    folder, said = tmp_path / "results", []
    assert run_all([fake], folder, 60, said.append) == ({}, set())
    assert run_all([fake], folder, 60, said.append) == ({}, set())
    assert calls(folder) == 1
    assert "not run again" in said[-1]
    other_settings = Bench("cache", "fake_bench", ("--repeats", "4"))
    run_all([other_settings], folder, 60, said.append)
    assert calls(folder) == 2
    found = json.loads((folder / "cache.json").read_text())
    for changed in ({"commit": "another"}, {"version": 0}):
        (folder / "cache.json").write_text(json.dumps(found | changed))
        before = calls(folder)
        run_all([other_settings], folder, 60, said.append)
        assert calls(folder) == before + 1


def test_an_interrupted_file_is_measured_again(fake, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "cache.json").write_text('{"benchmark": "cac')
    assert run_all([fake], folder, 60, print) == ({}, set())
    assert read_result(folder / "cache.json")["benchmark"] == "cache"


def test_what_cannot_run_and_what_fails_is_told_and_the_others_run(fake, tmp_path):
    cannot = Bench("steps", "fake_bench", lacks=lambda: "no shared data")
    fails = Bench("loading", "fake_bench", ("--fail",))
    folder = tmp_path / "results"
    write_sample(folder / "loading.json", "cache", cache())  # of an earlier run
    missing, failed = run_all([cannot, fails, fake], folder, 60, print)
    assert missing["steps"] == "skipped: no shared data"
    assert "the disk is full" in missing["loading"]
    assert failed == {"loading"}
    assert not (folder / "loading.json").exists()
    rows = {row["name"]: row for row in gathered(folder, missing)["rows"]}
    assert rows["out of the cache"]["value"] == pytest.approx(10)
    assert rows["steps"] | {"value": None, "note": "skipped: no shared data"} == rows["steps"]
    assert rows["loading"]["note"].startswith("failed: ")


def test_a_benchmark_that_takes_too_long_is_ended_with_all_that_it_started(fake, tmp_path):
    missing, failed = run_all([Bench("cache", "fake_bench", ("--sleep",))], tmp_path, 8, print)
    assert failed == {"cache"}
    assert "--deadline-s" in missing["cache"]
    child = int((tmp_path / "cache.log").read_text().split()[0])
    end_s = time.monotonic() + 30
    while is_alive(child) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    """A process that has ended may still wait for somebody to ask how."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_every_number_says_where_it_is_from_and_what_differs(tmp_path):
    write_sample(tmp_path / "new.json", "baselines", baselines(), time="2026-11-22T11:00:00Z")
    write_sample(tmp_path / "old.json", "cache", cache(), commit="b" * 40, hardware={"cores": 64})
    write_sample(tmp_path / "speed-less.json", "realism held", {"yardsticks": []})
    result = gathered(tmp_path)
    assert {name: source["differs"] for name, source in result["sources"].items()} == {
        "new.json": [],
        "old.json": [OTHER_COMMIT, OTHER_MACHINE],
    }
    assert {row["source"] for row in result["rows"] if row["value"] is not None} == {"new.json", "old.json"}
    assert "OTHER MACHINE" in where_from("old.json", result["sources"]["old.json"])
    absent = {row["name"] for row in result["rows"] if row["group"] == "not measured"}
    assert absent == {*NAMES, "everything on a GPU"} - {"baselines", "cache"}


def test_a_gpu_is_missed_only_where_there_is_none(tmp_path):
    write_sample(tmp_path / "a.json", "cache", cache(), hardware={"gpus": ["one"]})
    assert "everything on a GPU" not in {row["name"] for row in gathered(tmp_path)["rows"]}


def test_nothing_to_gather_is_an_error(tmp_path):
    with pytest.raises(LesionAugError, match="got none"):
        gathered(tmp_path)


def test_the_figure_is_drawn_of_whatever_there_is(tmp_path):
    write_sample(tmp_path / "a.json", "baselines", baselines())
    for name, missing in (("a", {}), ("nothing", {"cache": "skipped: no reason"})):
        folder = tmp_path if name == "a" else tmp_path / "empty"
        draw(gathered(folder, missing), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 0


def test_there_is_a_benchmark_for_every_name_and_quick_ones_differ():
    whole, quick = (benches(1, NnunetData("501"), quick=quick) for quick in (False, True))
    assert {bench.name for bench in whole} == {bench.name for bench in quick} == set(NAMES)
    assert all(a.command != b.command for a, b in zip(whole, quick, strict=True))


@pytest.mark.slow
def test_quick_runs_all_of_it(tmp_path):
    """As a user calls it; what cannot run on this machine says why."""
    call = [sys.executable, "-m", "benchmarks.speed", "--quick", "--folder", str(tmp_path)]
    ended = subprocess.run(call, cwd=PROJECT, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = read_result(tmp_path / "speed-cpu.json")
    ran = {source["benchmark"] for source in result["sources"].values()}
    assert {"baselines", "synthesis", "cache", "loading"} <= ran
    assert all(ONLY_QUICK in source["differs"] for source in result["sources"].values())
    told = {row["name"]: row["note"] for row in result["rows"] if row["value"] is None}
    assert set(NAMES) - ran <= {name for name, note in told.items() if note.startswith("skipped: ")}
    assert (tmp_path / "speed-cpu.png").stat().st_size > 0


def test_origin_of_samples_is_of_the_shape_that_benchmarks_write():
    from benchmarks.measure import provenance

    assert set(ORIGIN) == set(provenance())
    assert set(ORIGIN["hardware"]) == set(provenance()["hardware"])
