"""A patient is on one side, with all time points; no side is empty."""

import json

import pytest
from labelled_files import arrays, plain
from lesionaug.pretrain.index import LesionRecord, ScanRecord
from lesionaug.pretrain.patches import read_store
from lesionaug.pretrain.prepare import Prepare
from lesionaug.pretrain.split import Split, divided, read_split

from lesionaug.errors import LesionAugError


def scans(patients, time_points=2, lesions=1):
    one = LesionRecord(5.0, 1.0, (0.0, 0.0, 0.0), patch=True)
    names = [(f"{patient}_T{time}", patient) for patient in patients for time in range(1, time_points + 1)]
    return [ScanRecord(name, patient, (), (1.0,) * 3, "file", (one,) * lesions, 0) for name, patient in names]


PATIENTS = [f"P{n}" for n in range(10)]


@pytest.mark.parametrize(("held", "count"), [(0.2, 2), (0.01, 1), (0.99, 9), (0.5, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_every_patient_is_on_one_side_and_neither_is_empty(held, count, seed):
    train, held_out = divided(scans(PATIENTS), held, seed)
    assert sorted(train + held_out) == sorted(PATIENTS)
    assert len(held_out) == count


def test_the_seed_decides_and_the_order_of_scans_does_not():
    draws = {tuple(divided(scans(PATIENTS), 0.3, seed)[1]) for seed in range(8)}
    assert len(draws) > 4
    assert divided(scans(PATIENTS)[::-1], 0.3, 1) == divided(scans(PATIENTS), 0.3, 1)


def test_who_has_no_lesion_is_learned_from():
    records = [*scans(PATIENTS[:2]), *scans(PATIENTS[2:], lesions=0)]
    train, held = divided(records, 0.5, 0)
    assert set(held) < set(PATIENTS[:2])
    assert set(PATIENTS[2:]) < set(train)


@pytest.mark.parametrize(
    ("records", "held", "got"),
    [
        (scans(["P1"]), 0.2, "got 0.2 and 1"),
        (scans(["P1", "P2"], lesions=0), 0.2, "got 0.2 and 0"),
        (scans(PATIENTS), 0.0, "got 0 and 10"),
        (scans(PATIENTS), 1.0, "got 1 and 10"),
    ],
)
def test_a_side_that_would_be_empty_is_refused(records, held, got):
    with pytest.raises(LesionAugError, match=got):
        divided(records, held, 0)


def test_a_file_names_both_sides_and_is_read_again(tmp_path, capsys):
    for subject in ("P1_T1", "P1_T2", "P2_T1", "P3_T1"):
        plain(tmp_path / "data", subject, content=arrays(seed=int(subject[1])))
    Prepare((tmp_path / "data",), tmp_path / "store", healthy=1).run()
    Split(tmp_path / "store", tmp_path / "split.json", held=0.34).run()
    train, held = read_split(tmp_path / "split.json")
    assert (len(train), len(held)) == (2, 1)
    assert "held_out: 1 patients" in capsys.readouterr().out
    content = json.loads((tmp_path / "split.json").read_text())
    for name, side in (("train", train), ("held_out", held)):
        groups = read_store(tmp_path / "store", side)
        assert {group.subject for group in groups} == set(content["scans"][name])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("{", "Expected a split"),
        ('{"train": ["a"]}', "Expected a split .*'held_out'"),
        ('{"train": ["a"], "held_out": []}', "got 1 to learn from and 0 held out"),
        ('{"train": [], "held_out": ["a"]}', "got 0 to learn from and 1 held out"),
        ('{"train": ["a", "b"], "held_out": ["b"]}', "got b on both"),
    ],
)
def test_files_that_are_no_split_are_refused(text, message, tmp_path):
    if text is not None:
        (tmp_path / "split.json").write_text(text)
    with pytest.raises(LesionAugError, match=message):
        read_split(tmp_path / "split.json")
