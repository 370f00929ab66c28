"""A table that names the files, where no layout fits.

CSV or TSV with columns `subject`, `lesion`, and where there are any `patient`, `flair`, `t1w`, `t2w`, `brain`. Paths
are relative to the table; an empty cell is a file that is not there. Other columns are left to their owners.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lesionaug.pretrain.layouts.core import ScanFiles, patient_of

from lesionaug.errors import LesionAugError
from lesionaug.scan import CHANNELS

NEEDED = ("subject", "lesion")


def find(root: Path) -> Iterator[ScanFiles]:
    """All rows of a table."""
    for row in _rows(root):
        files = {column: root.parent / row[column] for column in (*CHANNELS, "lesion", "brain") if row.get(column)}
        images = {channel: files[channel] for channel in CHANNELS if channel in files}
        patient = row.get("patient") or patient_of(row["subject"])
        yield ScanFiles(row["subject"], patient, images, files.get("lesion"), brain=files.get("brain"))


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, delimiter="\t" if table.suffix == ".tsv" else ",")
        rows = [
            {(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
            for row in reader
        ]
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
    missing = [column for column in NEEDED if column not in columns]
    if missing or not all(row["subject"] for row in rows):
        raise LesionAugError(
            f"Expected a table with a column subject that is filled in, and lesion, {', '.join(CHANNELS)}, patient, "
            f"brain where there are any, got {', '.join(columns) or 'nothing'} in {table}; "
            f"add {', '.join(missing) or 'the missing names'}"
        )
    return rows
