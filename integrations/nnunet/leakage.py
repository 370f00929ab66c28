"""Whether cases that a network is validated on are called like subjects that the lesion models have learned from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lesionaug.layouts.core import patient_of
from lesionaug.loaded import ModelChoice
from lesionaug.models.registry import PACKAGED

CARD = "CARD.md"
LEARNED = re.compile(r"^- Learned from: (.+)$", re.MULTILINE)


def learned_subjects(choice: ModelChoice) -> set[str]:
    """Subjects that the cards of both models name.

    Args:
        choice: Which models; those without a card name nobody.
    """
    cards = [folder / CARD for folder in _folders(choice) if (folder / CARD).is_file()]
    lists = [found for card in cards for found in LEARNED.findall(card.read_text())]
    return {subject.strip() for found in lists for subject in found.split(",")}


def suspects(cases: Iterable[str], subjects: Iterable[str]) -> dict[str, list[str]]:
    """Cases that may be scans of such patients, whichever time point; a name is no proof, so this is for a warning.

    Args:
        cases: Identifiers in the dataset.
        subjects: Names on the cards.

    Example:
        >>> suspects(["open_ms_patient07", "MSL_P14_T2", "P140"], ["patient07", "P14_T1"])
        {'open_ms_patient07': ['patient07'], 'MSL_P14_T2': ['P14']}
    """
    patterns = {patient: _pattern(patient) for patient in sorted({*map(patient_of, subjects)})}
    found = {case: [name for name, pattern in patterns.items() if pattern.search(case.lower())] for case in cases}
    return {case: names for case, names in found.items() if names}


def _pattern(patient: str) -> re.Pattern[str]:
    """The name as a whole, however its letters and digits are separated."""
    parts = re.findall(r"[a-z]+|\d+", patient.lower())
    return re.compile(r"(?<![a-z0-9])" + r"[^a-z0-9]*".join(map(re.escape, parts)) + r"(?![0-9])")


def _folders(choice: ModelChoice) -> list[Path]:
    packaged = PACKAGED.get(choice.model, {})
    chosen = (choice.diffmask or packaged.get("diffmask"), choice.lefusion or packaged.get("lefusion"))
    return [Path(path) for path in chosen if path]
