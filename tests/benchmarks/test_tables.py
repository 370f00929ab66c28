"""Tables and figures of the benchmarks' page are those of the results, and nothing else of the page is touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="names of arms come with copy-paste, which needs scikit-learn")

from benchmarks.measure import PROJECT
from benchmarks.tables.__main__ import Tables
from benchmarks.tables.regions import names_of, rewritten
from benchmarks.tables.texts import MAKERS, held_yardsticks
from lesionaug.errors import LesionAugError

PAGE = "<!-- table: a -->\nold\n<!-- end -->\ntext\n<!-- table: b -->\n<!-- end -->\n"


@pytest.fixture
def copy(tmp_path) -> Tables:
    """Of the project's page, results and figures."""
    shutil.copytree(PROJECT / "benchmarks" / "results", tmp_path / "results")
    shutil.copy(PROJECT / "benchmarks" / "README.md", tmp_path)
    return Tables(tmp_path / "README.md", tmp_path / "results")


def checked(tables: Tables) -> list[str]:
    return Tables(tables.page, tables.results, check=True).run()


def test_only_regions_are_rewritten():
    page = rewritten(PAGE, {"a": ["1", "2"], "b": ["3"]})
    assert page == "<!-- table: a -->\n1\n2\n<!-- end -->\ntext\n<!-- table: b -->\n3\n<!-- end -->\n"
    assert rewritten(page, {"a": ["1", "2"], "b": ["3"]}) == page


@pytest.mark.parametrize(
    ("page", "tables"),
    [
        (PAGE, {"a": []}),  # nobody fills b
        (PAGE, {"a": [], "b": [], "c": []}),  # nowhere to put c
        (PAGE + PAGE, {"a": [], "b": []}),
        ("<!-- table: a -->\nold\n", {"a": []}),
        ("<!-- table: a --> \nold\n<!-- end -->", {"a": []}),
    ],
)
def test_a_page_that_does_not_fit_its_tables_is_refused(page, tables):
    with pytest.raises(LesionAugError, match="Expected"):
        rewritten(page, tables)


def test_the_projects_page_and_figures_are_up_to_date():
    call = [sys.executable, "-m", "benchmarks.tables", "--check"]
    ended = subprocess.run(call, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert names_of((PROJECT / "benchmarks" / "README.md").read_text())


def test_an_edited_table_is_found_and_written_again(copy):
    before = copy.page.read_text()
    edited = before.replace("| CarveMix | ", "| CarveMix | 0.", 1)
    copy.page.write_text(edited)
    assert checked(copy) == ["README.md"]
    assert copy.page.read_text() == edited
    copy.run()
    assert copy.page.read_text() == before
    assert checked(copy) == []


def test_text_around_tables_may_be_edited(copy):
    copy.page.write_text("Something new.\n" + copy.page.read_text())
    assert checked(copy) == []


def test_a_new_number_gets_into_tables_and_figures(copy):
    path = copy.results / "loading-cpu.json"
    result = json.loads(path.read_text())
    result["rows"][0]["samples_per_s"] = 98765.0
    path.write_text(json.dumps(result))
    assert set(checked(copy)) == {"speed-cpu.json", "README.md", "loading-cpu.png"}  # speed is not yet gathered anew
    copy.run()
    assert checked(copy) == []
    assert "98,765" in copy.page.read_text()


def test_a_missing_figure_is_drawn_and_a_foreign_one_replaced(copy):
    (copy.results / "realism-held.png").unlink()
    shutil.copy(copy.results / "loading-cpu.png", copy.results / "speed-cpu.png")
    assert checked(copy) == ["speed-cpu.png", "realism-held.png"]
    copy.run()
    assert checked(copy) == []


def test_another_study_gets_a_table_of_its_own(copy):
    study = next(copy.results.glob("downstream-*.json"))
    shutil.copy(study, copy.results / "downstream-zzz.json")
    assert set(checked(copy)) == {"README.md", "downstream-zzz.png"}
    copy.run()
    assert copy.page.read_text().count("**`downstream-zzz.json`**") == 1
    assert (copy.results / "downstream-zzz.png").is_file()


def test_what_was_measured_again_is_shown_as_it_is_now():
    def file(time, parts, **values):
        rows = [{"name": name, "value": value} for name, value in values.items()]
        return {"benchmark": "realism held", "config": {"parts": parts}, "time": time, "yardsticks": rows}

    both = ["plans", "masks"]
    found = {
        "a": file("2", ["plans"], load=0.2),
        "b": file("1", both, load=0.6, form=0.1),
        "c": file("3", ["hosts"], x=1),
    }
    assert {row["name"]: row["value"] for row in held_yardsticks(found)} == {"load": 0.2, "form": 0.1}


def test_results_that_are_missing_are_named(copy):
    (copy.results / "realism-held.json").unlink()
    with pytest.raises(LesionAugError, match=r"Expected realism-held\.json"):
        copy.run()


def test_every_table_has_its_region():
    assert sorted(names_of(Path(PROJECT / "benchmarks" / "README.md").read_text())) == sorted(MAKERS)
