"""Whoever makes the cases, every case is made or told about, once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dying_job import DyingJob
from waiting import END_S, eventually

from lesionaug.commands.progress import progress_lines
from lesionaug.dataset.cases import cases_of, chunks_of
from lesionaug.dataset.executors import executor_for, here, in_processes
from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan


def cases(sources=3, variants=5):
    return cases_of([SourceScan(f"s{n}", f"s{n}") for n in range(sources)], variants, seed=0)


@pytest.mark.parametrize("execute", [here, in_processes(2)], ids=["here", "processes"])
def test_every_case_is_made_once(execute, tmp_path):
    assert list(execute(DyingJob(tmp_path, "nobody"), cases())) == [None] * 15
    assert {path.name for path in tmp_path.iterdir()} == {case.name for case in cases()}


def test_a_killed_worker_costs_the_cases_it_had(tmp_path):
    results = list(in_processes(2)(DyingJob(tmp_path, "s1_v002"), cases()))
    failed = {result.case for result in results if result}
    assert len(results) == 15
    assert "s1_v002" in failed
    assert "memory" in next(result.error for result in results if result)
    made = {path.name for path in tmp_path.iterdir()}
    assert failed | made == {case.name for case in cases()}
    assert not failed & made
    assert len(made) >= 13 - 1  # the pool that broke had two chunks of one case each, and maybe a third


@pytest.mark.parametrize("to_all", [False, True], ids=["the program", "its whole group"])
def test_sigterm_stops_the_workers_in_the_middle_of_a_case_and_they_clean_up(to_all, tmp_path):
    program = Path(__file__).parents[1] / "endless_job.py"
    process = subprocess.Popen(
        [sys.executable, program, tmp_path], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    eventually(lambda: len(list(tmp_path.glob("*.half"))) == 2)
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=END_S)[1] == ""  # which is read to its end when the last worker is gone
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())  # nothing half-written, and no case that counts as failed


def test_nothing_to_do_is_done():
    for execute in (here, in_processes(2)):
        assert list(execute(DyingJob, [])) == []


def test_chunks_are_of_one_source_and_leave_nobody_idle():
    for workers in (1, 2, 7):
        chunks = chunks_of(cases(4, 10), workers)
        assert [case for chunk in chunks for case in chunk] == cases(4, 10)
        assert all(len({case.source.subject for case in chunk}) == 1 for chunk in chunks)
        assert len(chunks) >= min(40, 4 * workers)


def test_workers_are_counted():
    with pytest.raises(LesionAugError, match="Expected one worker or more"):
        executor_for(0, None)


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_told(tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(LesionAugError, match="Expected a Dask scheduler at"):
        list(executor_for(1, "tcp://127.0.0.1:9")(DyingJob(tmp_path, ""), cases()))


def test_a_log_tells_rate_and_remaining_time(capsys, monkeypatch):
    seconds = iter([0.0, 10.0, 20.0, 90.0, 100.0])
    monkeypatch.setattr("lesionaug.commands.progress.time.monotonic", lambda: next(seconds))
    with progress_lines(40, "cases") as advance:
        for _ in range(4):
            advance(1)
    assert capsys.readouterr().err == "3 of 40 cases, 30.0 s each, 18 min left\n"
