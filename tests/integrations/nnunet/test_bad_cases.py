"""A case in which no brain is found is trained with as it is, or stops the training: as the settings say."""

import json
from dataclasses import replace

import pytest
from lesionaug.integrations.nnunet import job
from lesionaug.integrations.nnunet.job import VariantJob, plan_file, store_in
from lesionaug.integrations.nnunet.prepared import Prepared, case_digest
from lesionaug.integrations.nnunet.settings import NnunetSettings
from nnunet_variants import Workplace

from lesionaug.dataset.cases import cases_of
from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import SourceScan
from lesionaug.variants import VoxelChange


@pytest.fixture
def workplace(datasets, tmp_path, monkeypatch):
    found = Workplace.copy_of(datasets, "plain", tmp_path)
    found.use(monkeypatch)
    return found


@pytest.fixture
def unusable(monkeypatch):
    def host_scan(*_):
        raise LesionAugError("Expected a brain, got none; check it")

    monkeypatch.setattr(job, "host_scan", host_scan)
    job.read_host.cache_clear()
    yield
    job.read_host.cache_clear()


def job_of(workplace, **changes) -> VariantJob:
    settings, roles = workplace.settings()
    name = workplace.names[0]
    prepared = Prepared({}, {name: case_digest(workplace.cases, name)}, {}, 1)
    settings = replace(settings, variants=1, **changes)
    return VariantJob(workplace.cases, (0, 1, 2), workplace.overlays, prepared, settings, roles, "cpu")


def case_of(workplace):
    (case,) = cases_of([SourceScan(workplace.names[0], workplace.names[0])], 1, 0)
    return case


def test_a_bad_case_has_variants_without_lesions_that_say_why(workplace, unusable):
    made, case = job_of(workplace, on_bad_scan="skip"), case_of(workplace)
    assert made.make(case) is None
    record = json.loads(plan_file(made.folder, case).read_text())
    assert record["plan"]["lesions"] == []
    assert record["warnings"] == ["Expected a brain, got none; check it"]
    payload = store_in(made.folder).get(made.prepared.key(workplace.names[0], 0))
    assert not len(VoxelChange.from_bytes(payload).indices)


def test_a_bad_case_is_an_error_where_it_shall_be(workplace, unusable):
    failure = job_of(workplace, on_bad_scan="error").make(case_of(workplace))
    assert "Expected a brain" in failure.error


def test_settings_know_two_ways(monkeypatch):
    assert NnunetSettings().on_bad_scan == "skip"
    with pytest.raises(LesionAugError, match="on_bad_scan"):
        NnunetSettings(on_bad_scan="ignore")
