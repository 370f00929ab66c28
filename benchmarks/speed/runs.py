"""One benchmark as a process, unless its result is there already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import PROJECT, commit
from benchmarks.result_files import read_result, without_places
from benchmarks.speed.benches import Bench
from lesionaug.errors import LesionAugError

LAST_CHARACTERS = 300

Say = Callable[[str], None]


class BenchError(LesionAugError):
    """A benchmark ended with an error, or not in time."""


def run_all(todo: Sequence[Bench], folder: Path, deadline_s: float, say: Say) -> tuple[dict[str, str], set[str]]:
    """Run what is missing.

    Args:
        todo: In this order.
        folder: Of results and logs.
        deadline_s: Longest time for each.
        say: Is told what happens.

    Returns:
        Why there is no result, by benchmark, and which of these failed.
    """
    missing: dict[str, str] = {}
    failed = set()
    for bench in todo:
        if reason := bench.lacks():
            missing[bench.name] = f"skipped: {reason}"
            say(f"{bench.name}: {missing[bench.name]}")
            continue
        try:
            run(bench, folder, deadline_s, say)
        except BenchError as error:
            missing[bench.name] = f"failed: {error}"
            failed.add(bench.name)
            say(f"{bench.name}: {missing[bench.name]}")
    return missing, failed


def run(bench: Bench, folder: Path, deadline_s: float, say: Say) -> None:
    """Measure, unless this was measured at this commit.

    Raises:
        BenchError: Its last words.
    """
    output = (folder / f"{bench.name}.json").resolve()
    if reason := is_there(bench, output):
        say(f"{bench.name}: not run again, {reason}; remove {output.name} to measure it anew")
        return
    folder.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)  # what is there after a failure must not be taken for its result
    log = output.with_suffix(".log")
    say(f"{bench.name}: running, {log.name} has what it says")
    call = [sys.executable, "-m", *bench.command, "--output", str(output)]
    code = ended(call, log, deadline_s)
    if code is None:
        raise BenchError(f"not done in {deadline_s:.0f} s; give it a longer --deadline-s")
    if code or not output.exists():
        raise BenchError(f"ended with {code}; {last_words(log)}")


def ended(call: Sequence[str], log: Path, deadline_s: float) -> int | None:
    """The exit code of a program; none if it had to be ended, with all that it had started."""
    with open(log, "w") as stream:
        process = subprocess.Popen(call, cwd=PROJECT, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        return process.wait(deadline_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_there(bench: Bench, path: Path) -> str:
    """Why its result need not be measured again; empty where it must be."""
    try:
        found = read_result(path)
    except LesionAugError:
        return ""
    now = commit()
    if found.get("command") != without_places(bench.command) or now is None or found["commit"] != now:
        return ""
    changes = ", both with changes that are not committed" if now.endswith("-dirty") else ""
    return f"it was measured with these settings at this commit{changes}"


def last_words(log: Path) -> str:
    """The last line of a log."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][-LAST_CHARACTERS:] if lines else "it said nothing"
