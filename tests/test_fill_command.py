"""`lesionaug fill` keeps the files' types and every other voxel, and what it writes can be a host."""

import nibabel as nib
import numpy as np
import pytest
from scan_files import call, content, write_phantom


def stored(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture
def words(tmp_path):
    paths = write_phantom(tmp_path)
    return [word for role, path in paths.items() for word in (f"--{role}", path)], paths


def test_only_filled_voxels_change(words, tmp_path, capsys):
    files, paths = words
    outcome = call(capsys, "fill", *files, "--output", tmp_path / "out", "--margin-mm", 4)
    assert outcome.code == 0, outcome.err
    assert "every other voxel as it was" in outcome.out
    assert set(content(tmp_path / "out")) == {"flair.nii.gz", "t1w.nii.gz", "filled.nii.gz"}
    filled, lesions = stored(tmp_path / "out" / "filled.nii.gz") > 0, stored(paths["lesions"]) > 0
    assert (filled & lesions).sum() > 0.9 * lesions.sum()
    for channel in ("flair", "t1w"):
        before, after = nib.load(paths[channel]), nib.load(tmp_path / "out" / f"{channel}.nii.gz")
        assert after.header == before.header
        assert np.array_equal(np.asarray(before.dataobj)[~filled], np.asarray(after.dataobj)[~filled])
    assert stored(tmp_path / "out" / "flair.nii.gz")[lesions].mean() == pytest.approx(80, abs=3)


def test_the_same_command_makes_the_same_bytes(words, tmp_path, capsys):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        assert call(capsys, "fill", *words[0], "--output", tmp_path / name, "--seed", seed).code == 0
    assert content(tmp_path / "one") == content(tmp_path / "again")
    assert content(tmp_path / "one")["flair.nii.gz"] != content(tmp_path / "other")["flair.nii.gz"]


def test_what_is_filled_can_be_a_host(words, tmp_path, capsys):
    assert call(capsys, "fill", *words[0], "--output", tmp_path / "hosts" / "A").code == 0
    few = ("--model", "parametric", "--num-lesions", 2)
    outcome = call(capsys, "generate", tmp_path / "hosts", "--output", tmp_path / "out", *few)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("1 scan of 1 patient in ")
    assert "\n1 case: A_v000\n" in outcome.out
    assert stored(tmp_path / "out" / "A_v000" / "lesion.nii.gz").any()


@pytest.mark.parametrize(("more", "message"), [(("--margin-mm", -1), "Expected a margin"), ((), "Expected lesions")])
def test_what_cannot_be_meant_is_refused(more, message, words, tmp_path, capsys):
    files, paths = words
    if not more:
        image = nib.load(paths["lesions"])
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), paths["lesions"])
    outcome = call(capsys, "fill", *files, "--output", tmp_path / "out", *more)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "out").exists()
