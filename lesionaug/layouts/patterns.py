"""Files found by patterns that the user gives: `flair={id}/*FLAIR.nii.gz`, where `{id}` is the scan's name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan, only, patient_of
from lesionaug.layouts.table import FILES, GUIDES
from lesionaug.scan import CHANNELS


def find_by_patterns(root: Path, patterns: Sequence[str]) -> list[SourceScan]:
    """All scans below a folder that have a file for at least one of the patterns.

    Args:
        root: What the patterns are relative to.
        patterns: `ROLE=PATTERN`, with `{id}` for what is the same in all files of a scan, and `*` and `?` within a
            name. Roles are channels, lesion, brain, eligible and labels.

    Raises:
        LesionAugError: A pattern cannot be read, or fits two files of a scan.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for role, expression in map(_parsed, patterns):
        for subject, paths in _matches(root, expression).items():
            if path := only(paths, f"{role} file of {subject}"):
                found[subject][role] = path
    return [_scan(subject.replace("/", "_"), files) for subject, files in sorted(found.items())]


def _parsed(pattern: str) -> tuple[str, re.Pattern[str]]:
    role, _, place = pattern.partition("=")
    if role not in FILES or "{id}" not in place:
        raise LesionAugError(
            f"Expected ROLE=PATTERN with {{id}} in it and a role among {', '.join(FILES)}, got {pattern!r}; "
            "for example 'flair={id}_FLAIR.nii.gz'"
        )
    # The first {id} is found, further ones have to be the same.
    once, again = r"(?P<id>[^/]+)", "(?P=id)"
    known = {"*": "[^/]*", "?": "[^/]"}
    head, *tails = ("".join(known.get(part, re.escape(part)) for part in _parts(text)) for text in place.split("{id}"))
    return role, re.compile(head + once + again.join(tails))


def _parts(text: str) -> list[str]:
    return re.split(r"(\*|\?)", text)


def _matches(root: Path, expression: re.Pattern[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.is_file() and (match := expression.fullmatch(path.relative_to(root).as_posix())):
            found[match["id"]].append(path)
    return found


def _scan(subject: str, files: dict[str, Path]) -> SourceScan:
    return SourceScan(
        subject,
        patient_of(subject),
        {channel: files[channel] for channel in CHANNELS if channel in files},
        files.get("lesion"),
        brain=files.get("brain"),
        guides={role: files[role] for role in GUIDES if role in files},
    )
