"""One file that speaks of all cases, merged from the records that each case has of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lesionaug.dataset.atomic import write_atomically
from lesionaug.dataset.layouts_out import layout_named
from lesionaug.dataset.place import CASE_FILE, RECORDS, WORK
from lesionaug.dataset.settings import read_settings

MANIFEST, FAILURES = "manifest.jsonl", "failures.jsonl"


@dataclass(frozen=True)
class Failure:
    """A case that could not be made.

    Args:
        case: Its name.
        source: Name of its source.
        variant: From 0.
        error: What was wrong.
        traceback: Where it was our bug.
    """

    case: str
    source: str
    variant: int
    error: str
    traceback: str = ""


def record_failure(out: Path, failure: Failure) -> None:
    """Keep a failure until the case is made."""
    write_atomically(_failures(out) / f"{failure.case}.json", json.dumps(asdict(failure)).encode())


def forget_failure(out: Path, case: str) -> None:
    """It was made."""
    (_failures(out) / f"{case}.json").unlink(missing_ok=True)


def merge(out: Path) -> tuple[list[dict], list[dict]]:
    """Write the files that speak of all cases there are, sorted by name: the same, whoever merges.

    Every part does so when it is through. Where two do at once, the later look at the records decides: each looks again
    after it has written, so that nobody's last word is an old one.

    Returns:
        Lines of the manifest and of the failures.
    """
    cases, failures = read_cases(out), read_failures(out)
    while True:
        described = layout_named(read_settings(out)["layout"]).describe(read_settings(out), cases)
        files = {MANIFEST: lines_of(cases), **({FAILURES: lines_of(failures)} if failures else {}), **described}
        for name, content in files.items():
            write_atomically(out / name, content)
        if not failures:
            (out / FAILURES).unlink(missing_ok=True)
        written, (cases, failures) = (cases, failures), (read_cases(out), read_failures(out))
        if written == (cases, failures):
            _tidy(out)
            return cases, failures


def read_cases(out: Path) -> list[dict]:
    """Manifest lines of the complete cases, by name."""
    pattern = f"*/{CASE_FILE}" if read_settings(out)["layout"] == "folders" else f"{RECORDS}/*/{CASE_FILE}"
    return sorted((json.loads(path.read_text()) for path in out.glob(pattern)), key=lambda line: line["case"])


def read_failures(out: Path) -> list[dict]:
    """Failures of cases that have not been made since."""
    return sorted(
        (json.loads(path.read_text()) for path in _failures(out).glob("*.json")), key=lambda line: line["case"]
    )


def lines_of(entries: Iterable[dict]) -> bytes:
    """JSON lines."""
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


def _failures(out: Path) -> Path:
    return out / WORK / "failures"


def _tidy(out: Path) -> None:
    """Take away folders for unfinished things, where nothing is unfinished."""
    for folder in (out / WORK / "cases", out / WORK / "failures", out / WORK):
        with suppress(OSError):  # somebody's is
            folder.rmdir()
