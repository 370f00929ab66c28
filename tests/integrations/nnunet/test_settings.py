"""Settings come from the plans or a file, and whatever cannot be meant is said before anything is trained."""

import json

import pytest
from lesionaug.integrations.nnunet.settings import CONFIG, NnunetSettings, read_settings

from lesionaug.errors import LesionAugError


def test_what_is_usual_where_nothing_is_said(monkeypatch):
    monkeypatch.delenv(CONFIG, raising=False)
    assert read_settings({}) == NnunetSettings()


def test_the_file_comes_before_the_plans(monkeypatch, tmp_path):
    path = tmp_path / "lesions.toml"
    path.write_text('probability = 0.25\nschedule = [[0.0, 1.0], [0.9, 0.0]]\n[channels]\nflair = "T2-FLAIR"\n')
    monkeypatch.setenv(CONFIG, str(path))
    found = read_settings({"lesionaug": {"probability": 0.75, "model": "parametric"}})
    assert (found.probability, found.model) == (0.25, "parametric")
    assert found.schedule == ((0.0, 1.0), (0.9, 0.0))
    assert found.channels == {"flair": "T2-FLAIR"}


def test_settings_survive_json(monkeypatch):
    monkeypatch.delenv(CONFIG, raising=False)
    settings = NnunetSettings(channels={"flair": 1}, lesions_per_patch=(2, 3), regions=("periventricular",))
    assert read_settings({"lesionaug": json.loads(json.dumps(settings.to_dict()))}) == settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"probabilty": 0.5}, "probabilty"),
        ({"probability": 2}, "probability from 0 to 1, got 2"),
        ({"probability": "often"}, "often"),
        ({"mode": "alive"}, "auto, cached, live"),
        ({"on_late": "cache"}, "wait, skip, error"),
        ({"schedule": [[0.5, 1], [0.1, 0]]}, "ascending"),
        ({"schedule": [[0.5]]}, "pairs"),
        ({"channels": {"pd": 0}}, "flair, t1w, t2w"),
        ({"regions": ["left"]}, "periventricular"),
        ({"model": "largest"}, "parametric"),
        ({"variants": 0}, "1 variant or more"),
    ],
)
def test_what_cannot_be_meant_is_said(monkeypatch, tmp_path, given, said):
    path = tmp_path / "lesions.json"
    path.write_text(json.dumps(given))
    monkeypatch.setenv(CONFIG, str(path))
    with pytest.raises(LesionAugError, match=said):
        read_settings({})


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_a_file_that_is_none(monkeypatch, tmp_path, content):
    path = tmp_path / "lesions.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(CONFIG, str(path))
    with pytest.raises(LesionAugError, match=r"lesions\.json"):
        read_settings({})
