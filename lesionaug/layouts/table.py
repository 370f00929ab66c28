"""A table that names the files, where no layout fits.

CSV or TSV with a column `subject`, and where there are any `patient`, `flair`, `t1w`, `t2w`, `lesion`, `brain`,
`eligible`, `labels`. Paths are relative to the table; an empty cell is a file that is not there. Other columns are left
to their owners.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan, patient_of
from lesionaug.scan import CHANNELS

GUIDES = ("eligible", "labels")
FILES = (*CHANNELS, "lesion", "brain", *GUIDES)


def find(root: Path) -> Iterator[SourceScan]:
    """All rows of a table."""
    for row in _rows(root):
        files = {column: root.parent / row[column] for column in FILES if row.get(column)}
        images = {channel: files[channel] for channel in CHANNELS if channel in files}
        patient = row.get("patient") or patient_of(row["subject"])
        guides = {role: files[role] for role in GUIDES if role in files}
        yield SourceScan(row["subject"], patient, images, files.get("lesion"), brain=files.get("brain"), guides=guides)


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, delimiter="\t" if table.suffix == ".tsv" else ",")
        rows = [
            {(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
            for row in reader
        ]
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
    if "subject" not in columns or not set(columns) & set(FILES) or not all(row["subject"] for row in rows):
        raise LesionAugError(
            f"Expected a table with a column subject that is filled in, and patient, {', '.join(FILES)} where there "
            f"are any, got {', '.join(columns) or 'nothing'} in {table}; name what is missing"
        )
    return rows
