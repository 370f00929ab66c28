"""Scans that all tests of data sets start from."""

from pathlib import Path

import pytest
from data_sets import write_patients


@pytest.fixture(scope="session")
def patients(tmp_path_factory) -> Path:
    """See `write_patients`."""
    return write_patients(tmp_path_factory.mktemp("patients"))
