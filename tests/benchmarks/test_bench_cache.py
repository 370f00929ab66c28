"""The benchmark of the cache runs from end to end; no test looks at a time."""

import json

import pytest

from benchmarks.bench_cache import STAGES, BenchCache


@pytest.mark.slow
def test_quick_run_writes_times_and_sizes(tmp_path, capsys):
    path = tmp_path / "new" / "cache.json"
    BenchCache(quick=True, lesions=2, variants=2, repeats=3, output=path).run()
    written = json.loads(path.read_text())
    assert set(written["stages"]) == set(STAGES)
    assert written["stages"]["total"]["repeats"] == 3
    assert written["size"]["files"] == 4  # a plan and a change for each variant
    assert written["size"]["scan_bytes"] == 80 * 96 * 80 * (4 + 4 + 1)
    assert 0 < written["size"]["share"] < 0.01
    assert {"cpu", "load_average"} <= set(written["hardware"])
    assert "% of the scan" in capsys.readouterr().out
