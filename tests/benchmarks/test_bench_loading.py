"""The loader's benchmark and the soak run from end to end and count as they say; no test looks at a time."""

import json
from dataclasses import replace

import pytest

from benchmarks.bench_loading import BenchLoading, mean_batch, overhead_percent
from benchmarks.loading import Loaded
from benchmarks.soak import Soak
from benchmarks.soak_trainer import SIZES, Question, digest
from lesionaug.loaded import ModelChoice, loaded_here

PLAIN = Loaded("without", 2, 50.0, 6.0, 0.1, None, None, 1.0)
SERVED = replace(PLAIN, mode="served", step_samples_per_s=4.0, batch_sizes={"1": 2, "4": 1})


def test_overhead_is_against_the_same_workers_without_lesions():
    rows = [replace(PLAIN, workers=1, step_samples_per_s=4.0), PLAIN, SERVED]
    assert overhead_percent(SERVED, rows) == pytest.approx(50)
    assert overhead_percent(PLAIN, rows) == 0
    assert overhead_percent(SERVED, [SERVED]) is None
    assert overhead_percent(replace(SERVED, step_samples_per_s=None), rows) is None
    assert mean_batch(SERVED) == 2


def test_questions_have_one_right_answer_each_and_several_shapes():
    here = loaded_here(ModelChoice(model="parametric"))
    answers = [digest(here(Question(number).request())) for number in range(8)]
    assert answers == [digest(here(Question(number).request())) for number in range(8)]
    assert len(set(answers)) == 8
    shapes = {lesion.background.shape[-1] for number in range(8) for lesion in Question(number).request().lesions}
    assert shapes == set(SIZES)


@pytest.mark.slow
def test_loading_writes_what_it_measured(tmp_path):
    path = tmp_path / "loading.json"
    BenchLoading(("without", "served"), (1,), "parametric", samples=2, step_ms=1, quick=True, output=path).run()
    plain, served = json.loads(path.read_text())["rows"]
    assert (plain["mode"], served["mode"]) == ("without", "served")
    assert plain["overhead_percent"] == 0
    assert sum(served["batch_sizes"].values()) > 0
    assert path.with_suffix(".png").stat().st_size > 0


@pytest.mark.slow
def test_a_short_soak_gets_right_answers_only_and_leaves_nothing(capsys):
    report = Soak(minutes=0.5, trainers=1, workers=1, every_s=8).run()
    assert set(report["answers"]) == {"right"}
    assert report["incomplete_epochs"] == 0
    assert report["left"]["servers"] == report["left"]["shared_memory"] == []
    assert not report["left"]["server_folder"]
