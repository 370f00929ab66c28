"""The benchmark of prepared variants runs from end to end; no test looks at a time."""

import json

import pytest
from nnunet_dataset import CONFIGURATION
from nnunet_variants import Workplace

from benchmarks.bench_nnunet_overlays import STAGES, BenchNnunetOverlays


@pytest.mark.slow
def test_it_writes_times_with_and_without(datasets, tmp_path, monkeypatch, capsys):
    workplace = Workplace.copy_of(datasets, "plain", tmp_path)
    workplace.use(monkeypatch)
    workplace.prepare(capsys)
    output = tmp_path / "times.json"
    BenchNnunetOverlays("501", CONFIGURATION, repeats=2, output=output).run()
    written = json.loads(output.read_text())
    assert set(written["stages"]) == set(STAGES)
    assert all(timing["repeats"] == 2 for timing in written["stages"].values())
    assert "a variant adds" in capsys.readouterr().out
