"""`lesionaug cache`: what it fills is what training asks for, and what it tells is so."""

import os
import time

import nibabel as nib
import numpy as np
import pytest
import torch
import torchio as tio
from scan_files import call, phantom, write_phantom

from lesionaug import SyntheticMSLesion
from lesionaug.errors import LesionAugError
from lesionaug.store import ABANDONED_S, FolderStore

FILL = ("cache", "fill", "--model", "parametric", "--variants", 2, "--num-lesions", 2, 4)
TRAINING = {"model": "parametric", "variants": 2, "num_lesions": (2, 4), "cache_only": True}


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    return write_phantom(folder)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def options(paths) -> list:
    return [part for role, path in paths.items() for part in (f"--{role}", path)]


def subject_of(paths) -> tio.Subject:
    """As users name images."""
    return tio.Subject(
        flair=tio.ScalarImage(paths["flair"]), t1=tio.ScalarImage(paths["t1w"]), lesion=tio.LabelMap(paths["lesions"])
    )


def train(folder, subject, before=(), **changes):
    lesions = SyntheticMSLesion(cache=folder, **{**TRAINING, **changes})
    return [tio.Compose([*before, lesions, tio.RandomFlip()])(subject) for _ in range(6)]


def test_training_finds_what_was_filled(paths, folder, capsys):
    outcome = call(capsys, *FILL, *options(paths), "--cache", folder)
    assert outcome.code == 0, outcome.err
    assert "2 of 2 variants rendered now, 1 scans" in outcome.out
    for after in train(folder, subject_of(paths)):
        assert after.lesion.data.sum() > subject_of(paths).lesion.data.sum()
    assert "0 of 2 variants rendered now" in call(capsys, *FILL, *options(paths), "--cache", folder).out


def test_options_that_are_not_those_of_training_are_noticed(paths, folder, capsys):
    call(capsys, *FILL, *options(paths), "--cache", folder)
    subject = subject_of(paths)
    for changes in ({"num_lesions": (2, 5)}, {"exclude": ["t1"]}, {"contrast": 2.0}, {"num_steps": 3}):
        with pytest.raises(LesionAugError, match="lesionaug cache fill"):
            train(folder, subject, **changes)
    with pytest.raises(LesionAugError, match="lesionaug cache fill"):
        train(folder, subject, [tio.RescaleIntensity()])


def test_canonical_scans(paths, folder, capsys):
    for path in paths.values():
        image = nib.load(path)
        nib.save(image.as_reoriented([[0, -1], [2, 1], [1, -1]]), path)
    assert call(capsys, *FILL, *options(paths), "--cache", folder, "--canonical").code == 0
    train(folder, subject_of(paths), [tio.ToCanonical()])
    with pytest.raises(LesionAugError, match="lesionaug cache fill"):
        train(folder, subject_of(paths))


def test_a_table_with_a_bad_scan_is_filled_but_for_that_one(paths, folder, tmp_path, capsys):
    table = tmp_path / "scans.csv"
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    rows = [
        "subject,flair,t1w,lesion",
        f"good,{paths['flair']},{paths['t1w']},{paths['lesions']}",
        "gone,nowhere.nii.gz,,",
        "broken,broken.nii.gz,,",
        f"healthy,{paths['flair']},,",
    ]
    table.write_text("\n".join(rows) + "\n")
    outcome = call(capsys, *FILL, "--subjects", table, "--cache", folder)
    assert outcome.code == 2
    assert "4 of 8 variants rendered now" in outcome.out
    assert "got 2 that failed" in outcome.err
    assert "gone: Expected image files" in outcome.err
    assert "broken: " in outcome.err
    train(folder, subject_of(paths))
    healthy = tio.Subject(flair=tio.ScalarImage(paths["flair"]))
    train(folder, healthy, images={"flair": "flair"}, create_label=True)


def test_whole_numbers_and_own_maps(paths, folder, tmp_path, capsys):
    scan = phantom()
    eligible = tmp_path / "eligible.nii.gz"
    nib.save(nib.Nifti1Image((scan.images["t1w"].numpy() > 90).astype(np.float32), scan.affine), eligible)
    for role in ("flair", "t1w"):
        image = nib.load(paths[role])
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.int16), image.affine), paths[role])
    outcome = call(capsys, *FILL, *options(paths), "--eligible", eligible, "--cache", folder)
    assert outcome.code == 0, outcome.err
    subject = subject_of(paths)
    subject.add_image(tio.ScalarImage(eligible), "map")
    for after in train(folder, subject, eligible="map", exclude=["map"]):
        assert after.flair.data.dtype == torch.int16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fill", "--cache", "c"), "Expected --subjects, or the images of one scan"),
        (("fill", "--cache", "c", "--flair", "nowhere.nii"), "Expected image files"),
        (("fill", "--cache", "c", "--subjects", "nowhere.csv"), "Expected a folder of scans or a table"),
        (("fill", "--cache", "c", "--flair", "f.nii", "--num-lesions", 1, 2, 3), "Error parsing --num-lesions"),
        (("fill", "--cache", "c", "--flair", "f.nii", "--channels", "t1w"), "Expected images of t1w"),
        (("info", "nowhere"), "Expected a folder with a cache"),
        (("verify", "nowhere"), "Expected a folder with a cache"),
        (("prune", "nowhere"), "Expected a folder with a cache"),
        (("prune", ".", "--limit-gb", -1), "Expected a limit of 0 or more"),
        (("clean", "c"), "Expected a program among info, verify, prune, fill"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    more = ("--model", "parametric") if arguments[0] == "fill" else ()
    outcome = call(capsys, "cache", *arguments, *more)
    assert outcome.code == 2
    assert message in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def store(folder):
    store = FolderStore(folder)
    for number in range(4):
        store.put(f"{number:064x}", bytes(100_000))
    entries = sorted(store.entries(), key=lambda entry: entry.key)
    for days, entry in enumerate(entries):
        os.utime(entry.path, (time.time() - days * 86_400 - 100,) * 2)
    return store


def test_info(store, capsys):
    left = store.path / "00" / "x.partial"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 2 * ABANDONED_S,) * 2)
    out = call(capsys, "cache", "info", store.path).out
    assert "entries    4, 400.2 kB" in out
    assert "last used  2 min to 3.0 days ago" in out
    assert "1 files of killed programs" in out


def test_verify(store, capsys):
    assert "entries    4, 0 of them damaged\n" in call(capsys, "cache", "verify", store.path).out
    broken = next(store.entries()).path
    broken.write_bytes(b"")
    outcome = call(capsys, "cache", "verify", store.path)
    assert outcome.code == 0
    assert f"removed    {broken}" in outcome.out
    assert "entries    4, 1 of them damaged and removed" in outcome.out
    assert len(list(store.entries())) == 3


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ((), 4),
        (("--unused-days", 1.5), 2),
        (("--limit-gb", 0.00031), 3),
        (("--limit-gb", 0), 0),
        (("--everything",), 0),
    ],
)
def test_prune(store, capsys, how, left):
    outcome = call(capsys, "cache", "prune", store.path, *how)
    assert outcome.code == 0
    assert f"removed    {4 - left} entries" in outcome.out
    assert len(list(store.entries())) == left
    if left:
        assert f"{0:064x}" in store  # the one used last
