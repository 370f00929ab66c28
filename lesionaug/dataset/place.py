"""Names that every layout of an output shares."""

from __future__ import annotations

from collections.abc import Mapping

from lesionaug.evolution import FOLLOWUP, VISITS

RECORDS = "records"
"""Folder of the records, where a case has none of its own."""

CASE_FILE, PLAN_FILE = "case.json", "plan.json"
"""Of every case: its line of the manifest, and what `lesionaug replay` needs, of each visit of a pair."""

CHANGE = "change.nii.gz"
"""Label of a pair: what becomes of lesions."""

WORK = ".generate"
"""Folder of what is not finished: cases being written, and failures."""


def at_visit(visit: str, name: str) -> str:
    """Name of a visit's file among those of its case.

    Example:
        >>> at_visit("baseline", "flair.nii.gz")
        'baseline/flair.nii.gz'
    """
    return f"{visit}/{name}"


def visit_of(name: str) -> tuple[str, str]:
    """Visit and own name of one of a case's files; no visit where the case is no pair, or the file of both.

    Example:
        >>> [visit_of(name) for name in ("followup/plan.json", "plan.json")]
        [('followup', 'plan.json'), ('', 'plan.json')]
    """
    visit, slash, own = name.partition("/")
    return (visit, own) if slash and visit in VISITS else ("", name)


def last_plan(files: Mapping[str, str]) -> str:
    """File of a case's plan among its files, of a pair's follow-up."""
    return files.get(PLAN_FILE) or files[at_visit(FOLLOWUP, PLAN_FILE)]
