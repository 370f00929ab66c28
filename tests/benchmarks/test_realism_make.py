"""Laws of data sets by makers without a network: real scans with other lesions, and a manifest that says so."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the realism benchmark needs scikit-learn")

from made_patients import Patient, made_patient, save, write_folders

from benchmarks.realism.__main__ import main
from benchmarks.realism.make import PUT
from benchmarks.realism.scan_sets import find_generated, find_real
from lesionaug.layouts.choice import find_scans


@pytest.fixture(autouse=True)
def any_brain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made patients are balls, which rightly fit no atlas; here that does not matter."""
    monkeypatch.setattr("lesionaug.anatomy.images.check_fit", lambda fit: None)


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    """On one grid, with lesions on other levels, so that CarveMix has some that are clear of the host's."""
    levels = slice(None, 32), slice(34, None)
    return [made_patient(seed, f"P{seed}", cortex=6, levels=levels[seed]) for seed in (0, 1)]


@pytest.fixture(scope="module")
def folder(patients: list[Patient], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("real"), patients)


def stored(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.mark.parametrize("maker", PUT)
def test_cases_are_their_hosts_but_for_the_new_lesions(maker: str, folder: Path, patients, tmp_path):
    out = tmp_path / "out"
    main(["make", maker, str(folder), "--output", str(out)])
    for patient in patients:
        case = out / f"{patient.name}_v000"
        new, label = stored(case / "new_lesion.nii.gz") > 0, stored(case / "lesion.nii.gz") > 0
        assert new.any()
        assert not (new & patient.lesions).any()
        np.testing.assert_array_equal(label, new | patient.lesions)
        changed = stored(case / "flair.nii.gz") != patient.images["flair"]
        assert (changed & new).sum() > 0.9 * new.sum()
        assert changed.mean() < 0.25
        assert not (changed & patient.lesions).any()
    made = find_generated("made", out, find_real(folder), "new")
    assert made.paired
    assert [scan.host.subject for scan in made.scans] == [patient.name for patient in patients]


def test_variants_differ_and_a_seed_gives_the_same_again(folder: Path, tmp_path):
    for name in ("a", "b"):
        main(["make", "copy_paste", str(folder), "--output", str(tmp_path / name), "--variants", "2"])
    files = [stored(tmp_path / name / f"P0_v00{k}/flair.nii.gz") for name in ("a", "b") for k in (0, 1)]
    np.testing.assert_array_equal(files[0], files[2])
    assert (files[0] != files[1]).any()


def test_nnunet_reads_what_was_made(folder: Path, tmp_path):
    main(["make", "ellipsoids", str(folder), "--output", str(tmp_path / "out"), "--output-layout", "nnunet"])
    name, scans = find_scans(tmp_path / "out")
    assert (name, len(scans)) == ("nnunet", 2)
    assert set(scans[0].images) == {"flair", "t1w"}
    assert "ellipsoids" in json.loads((tmp_path / "out" / "dataset.json").read_text())["description"]


@pytest.mark.parametrize(
    ("maker", "broken", "words"),
    [
        ("copy_paste", "channel", "Expected flair and t1w of every scan, got no t1w of P1"),
        ("copy_paste", "patient", "Expected labelled scans of two patients or more"),
        ("copy_paste", "spacing", "Expected voxels of 1 mm"),
        ("carvemix", "grid", "Expected images on one grid"),
    ],
)
def test_what_the_makers_cannot_use_is_refused_and_nothing_is_written(maker, broken, words, patients, tmp_path):
    root, out = write_folders(tmp_path / "real", patients), tmp_path / "out"
    folder = root / "P1"
    if broken == "channel":
        (folder / "t1w.nii.gz").unlink()
    if broken == "patient":
        (folder / "lesion.nii.gz").unlink()
    if broken in ("spacing", "grid"):
        matrix = np.diag((2.0, 1.0, 1.0, 1.0)) if broken == "spacing" else np.eye(4)
        for path in folder.iterdir():
            save(path, stored(path), matrix)
    with pytest.raises(SystemExit, match=words):
        main(["make", maker, str(root), "--output", str(out)])
    assert not out.exists()
