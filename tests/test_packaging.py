"""What is installed is what is here, and what is pinned is what is asked for."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lesionaug

PROJECT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
FOLDERS = {"lesionaug": "lesionaug", **{v: k for k, v in SETUPTOOLS["package-dir"].items()}}


def packages_here() -> set[str]:
    found = set()
    for folder, package in FOLDERS.items():
        for init in (PROJECT / folder).rglob("__init__.py"):
            found.add(".".join((package, *init.parent.relative_to(PROJECT / folder).parts)))
    return found


def requirements() -> list[Requirement]:
    project = PYPROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in (*groups, *PYPROJECT["dependency-groups"].values()) for line in group]


def pins() -> dict[str, str]:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_package_is_listed():
    assert set(SETUPTOOLS["packages"]) == packages_here()


def test_benchmarks_and_tests_are_not_installed():
    assert not {name for name in SETUPTOOLS["packages"] if {"benchmarks", "tests"} & set(name.split("."))}


def test_every_python_file_lies_in_a_package():
    for folder in FOLDERS:
        for path in (PROJECT / folder).rglob("*.py"):
            trainer_file = path.parent.name == "trainers"  # found by its path, imported by nobody
            assert trainer_file or (path.parent / "__init__.py").exists(), path


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_has_a_pin_within_its_bounds(requirement):
    assert requirement.specifier, "lower bound"
    assert requirement.specifier.contains(pins()[requirement.name.lower().replace("_", "-")])


def test_extras_are_those_promised():
    extras = {"nnunet", "monai", "pretrain", "report", "anatomy", "dask", "demo", "hub"}
    assert set(PYPROJECT["project"]["optional-dependencies"]) == extras


def test_one_version():
    assert version("lesionaug") == lesionaug.__version__
    cited = re.search(r"^version: (.*)$", (PROJECT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited[1] == lesionaug.__version__


def test_no_file_names_a_path_of_one_machine():
    git = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False)
    listed = git.stdout.split("\n")
    texts = [path for name in listed if (path := PROJECT / name).suffix in (".py", ".md", ".toml", ".txt", ".json", "")]
    for path in texts:
        if path.is_file() and path.stat().st_size < 1_000_000:
            assert not re.search(r"(?<![\w.])/(root|home)/", path.read_text(errors="ignore")), path


@pytest.mark.slow
def test_the_wheel_holds_packages_and_assets_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(PROJECT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for package in packages_here():
        assert package.replace(".", "/") + "/__init__.py" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lesionaug"}
    assets = {str(p.relative_to(PROJECT)) for p in (PROJECT / "lesionaug" / "assets").rglob("*") if p.is_file()}
    assert assets <= set(names)
    assert sum(p.stat().st_size for p in (PROJECT / "lesionaug" / "assets").rglob("*") if p.is_file()) < 20e6
