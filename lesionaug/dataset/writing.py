"""A case on disk: staged beside, moved into place, there when its record is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lesionaug.dataset.atomic import write_durably
from lesionaug.dataset.cases import Case
from lesionaug.dataset.layouts_out import OutputLayout
from lesionaug.dataset.place import CASE_FILE, WORK
from lesionaug.dataset.produce import Product
from lesionaug.dataset.settings import Settings


def is_complete(out: Path, layout: OutputLayout, case: Case) -> bool:
    """Whether a case is there as a whole."""
    return (out / layout.home(case) / CASE_FILE).is_file()


def commit(out: Path, layout: OutputLayout, case: Case, product: Product, settings: Settings) -> None:
    """Write a case so that it is there as a whole, or will be written again.

    All files are on the disk before the first is moved; the folder of the record, moved last in one step, is what makes
    the case count.

    Args:
        out: The data set.
        layout: Of its files.
        case: To write.
        product: Its content.
        settings: Of the data set.
    """
    channels = settings.channels or tuple(product.facts["channels"])
    places = {name: layout.place(case, name, channels) for name in product.files}
    home = layout.home(case)
    plans = {name: f"{home}/{name}" for name in product.records}
    line = manifest_line(case, product, settings, {**places, **plans})
    files = {
        **{places[name]: content for name, content in product.files.items()},
        **layout.sidecars(places, product.facts),
        **{plans[name]: record.to_json().encode() for name, record in product.records.items()},
        f"{home}/{CASE_FILE}": (json.dumps(line, indent=1) + "\n").encode(),
    }
    work = out / WORK / "cases" / case.name
    with _staging(work) as staged:
        for path, content in files.items():
            write_durably(staged / path, content)
        _move(staged, out, home)
    shutil.rmtree(work, ignore_errors=True)  # also what a killed process left of this case


def manifest_line(case: Case, product: Product, settings: Settings, places: dict[str, str]) -> dict:
    """What the manifest says of a case."""
    record = next(iter(product.records.values()))
    return {
        "case": case.name,
        "source": case.source.subject,
        "patient": case.source.patient,
        "variant": case.variant,
        "seed": settings.seed,
        "case_seed": case.seed,
        "files": places,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in product.files.items()},
        "digests": record.digests,
        "prior": record.prior["digest"],
        "version": record.versions["lesionaug"],
        **product.facts,
    }


@contextmanager
def _staging(work: Path) -> Iterator[Path]:
    """A folder of one's own, gone after the block, also where another process makes the same case and is faster."""
    work.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(dir=work))
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        with suppress(OSError):
            work.rmdir()


def _move(staged: Path, out: Path, home: str) -> None:
    inside = staged / home
    for path in sorted(path for path in staged.rglob("*") if path.is_file() and not path.is_relative_to(inside)):
        target = out / path.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    target = out / home
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(inside, target)
