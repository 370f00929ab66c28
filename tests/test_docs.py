"""What the pages say is there is there: links, options, code."""

import inspect
import re
from pathlib import Path

import pytest

from lesionaug import SyntheticMSLesion
from lesionaug.cli import main

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
PAGES += sorted((PROJECT / "docs").rglob("*.md"))
CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?:\]\(|src=\")([^)\"\s]+)")
KNOBS = [row for row in (PROJECT / "docs" / "knobs.md").read_text().split("\n") if row.startswith("| `")]


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, spaces to hyphens, of other marks only hyphens and underscores kept."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not anchor or anchor in anchors(target))


def names(cells: int) -> list[str]:
    """Everything in backticks that the tables of options have in that column."""
    return [name for row in KNOBS for name in re.findall(r"`([^`]*)`", row.split("|")[cells])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page):
    local = [link for link in LINK.findall(prose(page)) if "://" not in link]
    assert [link for link in local if not leads_somewhere(page, link)] == []


def test_readme_is_read_in_five_minutes_and_says_how_to_begin():
    page = PROJECT / "README.md"
    without_addresses = re.sub(r"\]\([^)]*\)|<[^>]*>", "]", prose(page))
    assert len([word for word in without_addresses.split() if re.search(r"\w", word)]) <= 700
    assert "make demo" in page.read_text()
    assert "make test" in page.read_text()


def test_every_option_has_its_row():
    arguments = [name for name in inspect.signature(SyntheticMSLesion).parameters if name != "kwargs"]
    assert sorted(names(1)) == sorted(arguments)


def test_options_are_called_so_in_a_shell(capsys):
    known = set()
    for program in (["synthesize"], ["cache", "fill"]):
        with pytest.raises(SystemExit):
            main([*program, "--help"])
        known |= set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert {flag for cell in names(2) for flag in re.findall(r"--[\w-]+", cell)} <= known


@pytest.mark.parametrize("name", ["README.md", "docs/modes.md"])
def test_transforms_of_the_pages_can_be_made(name):
    blocks = [code for language, code in CODE.findall((PROJECT / name).read_text()) if language == "python"]
    made = [code for code in blocks if "SyntheticMSLesion(" in code]
    assert made
    for code in made:
        scope = {}
        exec(code, scope)
        assert callable(scope["transform"])
