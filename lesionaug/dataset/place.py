"""Names that every layout of an output shares."""

from __future__ import annotations

RECORDS = "records"
"""Folder of the records, where a case has none of its own."""

CASE_FILE, PLAN_FILE = "case.json", "plan.json"
"""Of every case: its line of the manifest, and what `lesionaug replay` needs."""

WORK = ".generate"
"""Folder of what is not finished: cases being written, and failures."""
