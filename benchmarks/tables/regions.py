"""The parts of a page that a program writes: between `<!-- table: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lesionaug.errors import LesionAugError

REGION = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
BEGIN = re.compile(r"<!-- table: ")


def names_of(page: str) -> list[str]:
    """Regions of a page, in order."""
    return [match["name"] for match in REGION.finditer(page)]


def rewritten(page: str, tables: Mapping[str, Sequence[str]]) -> str:
    """A page with other contents of its regions.

    Args:
        page: Markdown.
        tables: Lines for each region.

    Raises:
        LesionAugError: A region that nobody fills, is there twice or has no end, or a table without a region.

    Example:
        >>> print(rewritten("<!-- table: a -->\\nold\\n<!-- end -->", {"a": ["new"]}))
        <!-- table: a -->
        new
        <!-- end -->
    """
    found = names_of(page)
    if len(BEGIN.findall(page)) != len(found):
        raise LesionAugError("Expected every <!-- table: NAME --> to be followed by <!-- end -->, got one that is not")
    if sorted(found) != sorted(tables):
        raise LesionAugError(
            f"Expected one region for each of {', '.join(sorted(tables))}, got {', '.join(sorted(found))}; "
            "write <!-- table: NAME --> and <!-- end --> into the page"
        )
    return REGION.sub(lambda match: match[1] + "\n".join(tables[match["name"]]) + "\n" + match[4], page)
