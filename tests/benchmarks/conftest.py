"""What tests of benchmarks share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def committed() -> list[Path]:
    """Result files of the project."""
    return sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
