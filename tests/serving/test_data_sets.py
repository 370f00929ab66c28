"""A data set is the same bytes whether its workers render or ask one server."""

import pytest
from data_sets import write_patients
from scan_files import call, content

from lesionaug.serving.client import ServedRenderer


@pytest.mark.slow
def test_eight_workers_that_share_a_server_make_the_bytes_of_one_process(shared_server, tmp_path, capsys, monkeypatch):
    patients = write_patients(tmp_path / "patients")
    words = ("generate", patients, "--variants", 3, "--model", "parametric", "--num-lesions", 3, "--new-only")
    served = ServedRenderer(shared_server.address)
    before = served.status()["lesions"]
    assert call(capsys, *words, "--output", tmp_path / "served", "--workers", 8).code == 0
    assert served.status()["lesions"] == before + 27
    monkeypatch.delenv("LESIONAUG_SERVER")
    assert call(capsys, *words, "--output", tmp_path / "here").code == 0
    assert served.status()["lesions"] == before + 27
    assert content(tmp_path / "served") == content(tmp_path / "here")
