"""Lesions are counted once, whatever they are counted in."""

import json

import numpy as np
import pytest
from labelled_files import affine, arrays, plain
from lesionaug.pretrain.index import LesionRecord, ScanRecord
from lesionaug.pretrain.prepare import Prepare
from lesionaug.pretrain.stats import QUANTILES, Stats, distributions, summary

from lesionaug.errors import LesionAugError


def record(volumes, subject="P1_T1") -> ScanRecord:
    lesions = tuple(LesionRecord(volume, 1.0, (0.0, 0.0, 0.0), patch=True) for volume in volumes)
    return ScanRecord(subject, subject.split("_")[0], (), (1.0, 1.0, 1.0), "file", lesions, 0)


def test_scans_without_lesions_count_as_such():
    values = distributions([record([10, 30]), record([]), record([20])])
    assert sorted(values["lesion volume"]) == [10, 20, 30]
    assert values["lesions per scan"] == [2, 0, 1]
    np.testing.assert_allclose(values["lesion load per scan"], [0.04, 0, 0.02])
    np.testing.assert_allclose(np.power(values["equivalent radius"], 3) * 4 / 3 * np.pi, [10, 30, 20])


def test_quantiles_are_those_of_the_values():
    found = summary(list(range(101)))
    assert found.quantiles == tuple(map(float, QUANTILES))
    assert (found.n, found.mean) == (101, 50)


def test_no_lesions_at_all_are_refused():
    with pytest.raises(LesionAugError, match="Expected lesions, got none in 1 scans"):
        distributions([record([])])


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    plain(folder, "P1_T1")
    long = arrays()
    long["lesion"][26:28, 4:52, 20:22] = 1  # too large for a patch
    return plain(folder, "P2_T1", content=long, matrix=affine((1.0, 1.0, 2.0)))


def run(tmp_path, *sources, **options):
    Stats(sources, output=tmp_path / "stats", **options).run()
    return json.loads((tmp_path / "stats/stats.json").read_text())


def test_a_store_tells_what_its_scans_tell(data, tmp_path, capsys):
    of_scans = run(tmp_path, data, scale=(0.9,))
    Prepare((data,), tmp_path / "store", scale=(0.9,), healthy=1).run()
    capsys.readouterr()
    of_store = run(tmp_path, tmp_path / "store")
    assert of_store == of_scans
    assert of_store["lesion volume"]["quantiles"][-1] == pytest.approx(2 * 48 * 2 * 2 * 0.9**3, rel=1e-4)
    out = capsys.readouterr().out
    assert "5 lesions of 2 scans of 2 patients" in out
    assert (tmp_path / "stats/stats.png").stat().st_size > 10_000


def test_a_store_of_format_1_is_counted_by_its_patches(data, tmp_path, capsys):
    Prepare((data,), tmp_path / "store", healthy=1).run()
    (tmp_path / "store/store.json").unlink()
    assert run(tmp_path, tmp_path / "store")["lesion volume"]["n"] == 4
    assert "lesions too large for a patch are not in it" in capsys.readouterr().out


def test_stores_and_scans_are_not_mixed(data, tmp_path):
    Prepare((data,), tmp_path / "store", healthy=1).run()
    with pytest.raises(LesionAugError, match="Expected one patch store, or sources of scans"):
        Stats((data, tmp_path / "store")).run()
