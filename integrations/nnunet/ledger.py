"""What was done to each patch, one line of JSON each: seeds, counts, and why there are no lesions where there are none.

Workers append and the trainer counts. A short line that is appended to a file comes whole, whoever else appends; a
lock that a killed worker holds would stop the others, a line cannot.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Ledger:
    """A file of lines.

    Args:
        path: Made when the first line is written; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0

    def add(self, *, lesions: int = 0, none: str | None = None, **facts: Any) -> None:
        """Append a line.

        Args:
            lesions: How many were added.
            none: Why there are none, in a few words that are the same for the same reason.
            **facts: Whatever else is to be known, such as the seed.
        """
        fields = {"lesions": lesions, **({"none": none} if none else {}), **facts}
        line = json.dumps(fields, separators=(",", ":")) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def news(self) -> Counter[str]:
        """Counts of the lines that were appended since the last call; see `counts`."""
        if not self.path.exists():
            return Counter()
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read_to += len(whole)
        return counts(json.loads(line) for line in whole.splitlines())


def counts(lines: Iterable[dict[str, Any]]) -> Counter[str]:
    """How many samples got how many lesions, and how many got none for which reason.

    Example:
        >>> dict(counts([{"lesions": 2}, {"lesions": 1}, {"lesions": 0, "none": "little brain"}]))
        {'samples': 2, 'lesions': 3, 'none: little brain': 1}
    """
    total: Counter[str] = Counter()
    for line in lines:
        if line.get("none"):
            total[f"none: {line['none']}"] += 1
        else:
            total["samples"] += 1
            total["lesions"] += line["lesions"]
    return total
