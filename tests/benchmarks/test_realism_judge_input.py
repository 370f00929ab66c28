"""What `judge` cannot judge it refuses: before any work, in one line, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the realism benchmark needs scikit-learn")

from made_patients import Patient, made_patient, write_folders

from benchmarks.realism.__main__ import main
from benchmarks.realism.judge import common_channels, named
from benchmarks.realism.scan_sets import find_real

CHANNELS = ("flair", "t1w")


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [made_patient(seed, f"P{seed:02d}") for seed in range(2)]


@pytest.fixture(scope="module")
def real_folder(patients: list[Patient], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("real"), patients)


def failed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return f"{caught.value}{capsys.readouterr().err}"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "one of the layouts"),
        (("flair", "t1w"), "with lesion labels"),
    ],
)
def test_folders_without_scans_or_labels_are_refused(files, words, patients, real_folder, tmp_path, capsys):
    root, output = tmp_path / "made", tmp_path / "out.json"
    root.mkdir()
    write_folders(root, patients[:2])
    for path in root.rglob("*.nii.gz"):
        if path.name.removesuffix(".nii.gz") not in files:
            path.unlink()
    assert words in failed(capsys, root, "--reference", real_folder, "--output", output)
    assert not output.exists()


def test_one_patient_is_not_enough(patients, real_folder, tmp_path, capsys):
    alone = write_folders(
        tmp_path / "alone", [replace(patients[0], name="P00_T1"), replace(patients[1], name="P00_T2")]
    )
    text = failed(capsys, "judge", real_folder, "--reference", alone)
    assert "Expected real scans of two patients or more" in text
    assert "P00" in text


def test_channels_that_are_not_there_are_refused(real_folder, capsys):
    assert "Expected t2w of every scan" in failed(
        capsys, real_folder, "--reference", real_folder, "--channels", "flair", "t2w"
    )
    assert "Expected a channel among" in failed(capsys, real_folder, "--reference", real_folder, "--channels", "pd")
    assert common_channels((), find_real(real_folder), []) == CHANNELS


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--splits", "0"), "Expected one split"),
        (("--figure", "x.txt"), "Expected a figure of kind"),
        (("--workers", "0"), "Expected one worker"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_any_work(option, words, real_folder, capsys):
    assert words in failed(capsys, real_folder, "--reference", real_folder, *option)


def test_methods_need_names_of_their_own(real_folder, capsys):
    assert "each of another name" in failed(capsys, real_folder, real_folder, "--reference", real_folder)
    assert named(["a=b/c", "d/e"]) == [("a", Path("b/c")), ("e", Path("d/e"))]


def test_a_manifest_of_something_else_is_refused(real_folder, tmp_path, capsys):
    (tmp_path / "manifest.jsonl").write_text('{"hello": 1}\n')
    assert "Expected lines with case, source" in failed(capsys, tmp_path, "--reference", real_folder)


@pytest.mark.slow
def test_what_a_worker_finds_wrong_is_told_and_nothing_is_written(patients, real_folder, tmp_path, capsys):
    root = write_folders(tmp_path / "made", patients[:2])
    (root / "P00" / "flair.nii.gz").write_bytes(b"nothing")
    output = tmp_path / "o.json"
    assert "Expected a readable NIfTI file" in failed(capsys, root, "--reference", real_folder, "--output", output)
    assert not output.exists()
