"""The command line does what Python does, to files, and can do it again byte for byte."""

import gzip
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scan_files import arguments, call, content, phantom, stored, write_phantom

import lesionaug
from lesionaug.assemble import assemble_scan
from lesionaug.cli import COMMANDS, command_class, parse
from lesionaug.commands.synthesize import Synthesize
from lesionaug.io import nifti_bytes, read_nifti, sha256_of
from lesionaug.plan_options import PlanOptions
from lesionaug.record import Record

FEW = ("--num-lesions", 3, "--no-halo", "--no-gate")


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    return write_phantom(folder)


def new_lesions(output: Path, paths: dict[str, Path]) -> np.ndarray:
    return (stored(output / "lesion.nii.gz") != 0) & ~(stored(paths["lesions"]) != 0)


def test_synthesize_adds_lesions_and_changes_nothing_else(paths, tmp_path, capsys):
    outcome = call(capsys, *arguments(paths, tmp_path / "out", *FEW))
    assert outcome.code == 0, outcome.err
    assert set(content(tmp_path / "out")) == {"flair.nii.gz", "t1w.nii.gz", "lesion.nii.gz", "plan.json"}
    new = new_lesions(tmp_path / "out", paths)
    assert new.any()
    for name in ("flair", "t1w"):
        before, after = stored(paths[name]), stored(tmp_path / "out" / f"{name}.nii.gz")
        assert np.array_equal(before[~new], after[~new])
        assert (before[new] != after[new]).mean() > 0.9
    old = stored(paths["lesions"]) != 0
    assert (stored(tmp_path / "out" / "lesion.nii.gz")[old] == 1).all()


def test_synthesize_tells_what_it_did(paths, tmp_path, capsys):
    out = call(capsys, *arguments(paths, tmp_path / "out", *FEW, "--seed", 5)).out
    new = new_lesions(tmp_path / "out", paths)
    assert "flair, t1w: 50 x 60 x 50 voxels of 3 x 3 x 3 mm" in out
    assert "3 lesions" in out
    assert "seed 5" in out
    assert f"{new.sum()} voxels" in out
    assert f"{new.sum() * 27 / 1000:.2f} ml" in out
    assert "parametric" in out


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_outputs_keep_header_type_and_stored_numbers(dtype, paths, tmp_path, capsys):
    image = nib.load(paths["flair"])
    written = nib.Nifti1Image((stored(paths["flair"]) * 1.5).astype(dtype), None, image.header)
    written.set_data_dtype(dtype)
    written.header.set_slope_inter(0.25, -3) if np.issubdtype(dtype, np.integer) else None
    written.header.set_xyzt_units("mm", "sec")
    written.header["descrip"] = b"scanner 7"
    angle = np.diag((2.5, 2.7, 3.0, 1)) @ np.eye(4)
    angle[:2, :2] = angle[:2, :2] @ [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    written.set_sform(angle, code="scanner")
    written.set_qform(angle, code="aligned")
    paths["flair"].write_bytes(gzip.compress(written.to_bytes()))
    assert call(capsys, *arguments({"flair": paths["flair"]}, tmp_path / "out", *FEW)).code == 0
    after = nib.load(tmp_path / "out" / "flair.nii.gz")
    before = nib.load(paths["flair"])
    assert after.header == before.header
    assert (after.dataobj.slope, after.dataobj.inter) == (before.dataobj.slope, before.dataobj.inter)
    assert after.get_data_dtype() == dtype
    label = nib.load(tmp_path / "out" / "lesion.nii.gz")
    assert np.array_equal(label.affine, before.affine)
    new = np.asarray(label.dataobj) > 0
    assert new.any()
    assert np.array_equal(stored(paths["flair"])[~new], stored(tmp_path / "out" / "flair.nii.gz")[~new])
    assert after.get_fdata()[new].mean() > before.get_fdata()[new].mean()


def test_a_volume_of_a_series_of_one_is_taken_and_stays_one(paths, tmp_path, capsys):
    """Shape (x, y, z, 1), as many converters write; images and label in any mixture."""
    series = {}
    for role in ("flair", "lesions"):
        image = nib.load(paths[role])
        series[role] = tmp_path / f"{role}.nii.gz"
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), series[role])
    for name, files in (("plain", paths), ("mixed", {**paths, **series})):
        assert call(capsys, *arguments(files, tmp_path / name, *FEW, "--seed", 1)).code == 0
    for name, dimensions in (("flair", 4), ("t1w", 3), ("lesion", 4)):
        plain, mixed = (stored(tmp_path / folder / f"{name}.nii.gz") for folder in ("plain", "mixed"))
        assert mixed.ndim == dimensions
        assert np.array_equal(plain, mixed.reshape(plain.shape))
    call(capsys, *arguments({"flair": series["flair"]}, tmp_path / "healthy", *FEW))
    assert stored(tmp_path / "healthy" / "lesion.nii.gz").shape == (50, 60, 50, 1)


def test_intensities_beyond_the_stored_type_are_clipped_not_wrapped(paths):
    image = read_nifti(paths["flair"])
    where = np.zeros(image.data.shape, bool)
    where[0, 0, :2] = True
    data = np.zeros(image.data.shape)
    data[0, 0, :2] = 1e9, -1e9
    path = paths["flair"].with_name("clipped.nii.gz")
    path.write_bytes(nifti_bytes(image, data, where))
    assert stored(path)[0, 0, :2].tolist() == [32767, -32768]


def test_lesions_that_were_left_out_are_told_beside_the_load_that_was_asked_for(paths, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lesionaug.rendering.is_good", lambda mask, wanted, *_: wanted < 250)
    words = ("--load-ml", 3, "--diameter-mm", 6, 9, "--seed", 1)
    outcome = call(capsys, *arguments(paths, tmp_path / "few", *words))
    record = Record.read(tmp_path / "few" / "plan.json")
    got = re.search(r"result +([0-9.]+) ml", outcome.out)
    assert got
    assert record.left_out
    assert outcome.code == 0
    told = re.match(r"lesionaug: warning: Expected 3 ml of new lesions, got ([0-9.]+) ml: ", outcome.err)
    assert told
    assert float(told[1]) == pytest.approx(float(got[1]), abs=0.01)
    assert f"{len(record.left_out)} of {len(record.plan['lesions'])} planned lesions" in outcome.err


@pytest.mark.parametrize(
    ("asked", "got", "told"),
    [
        (5.0, 4.51, None),
        (5.0, 5.49, None),
        (5.0, 4.49, "Expected 5 ml of new lesions, got 4.49 ml"),
        (5.0, 5.51, "Expected 5 ml of new lesions, got 5.51 ml"),
        ((1.0, 4.0), 0.91, None),
        ((1.0, 4.0), 4.5, "Expected 1 to 4 ml of new lesions, got 4.5 ml"),
        (None, 4.0, None),
    ],
)
def test_a_tenth_may_be_missing(asked, got, told):
    assert PlanOptions(load_ml=asked).missed(got) == told


def test_one_lesion_and_lesions_that_have_grown_together_are_told_as_such(paths, tmp_path, capsys):
    outcome = call(capsys, *arguments(paths, tmp_path / "one", "--num-lesions", 1, "--seed", 5))
    assert re.search(r"plan +1 lesion, [0-9.]+ mm across; seed 5", outcome.out)
    outcome = call(capsys, *arguments(paths, tmp_path / "joined", "--num-lesions", 1, "--diameter-mm", 24, 26))
    number = len(json.loads((tmp_path / "joined" / "plan.json").read_text())["plan"]["lesions"])
    assert number > 1
    assert f"1 lesion, of {number} foci that have grown together, each " in outcome.out


def test_seeds_decide(paths, tmp_path, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert call(capsys, *arguments(paths, tmp_path / name, *FEW, "--seed", seed)).code == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a")["lesion.nii.gz"] != content(tmp_path / "c")["lesion.nii.gz"]


def test_options_reach_the_plan(paths, tmp_path, capsys):
    more = ("--num-lesions", 4, "--diameter-mm", 5, 8, "--regions", "deep_white_matter", "periventricular")
    assert call(capsys, *arguments(paths, tmp_path / "out", *more, "--contrast", 1.5)).code == 0
    record = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert len(record["plan"]["lesions"]) == 4
    assert all(5 <= lesion["diameter_mm"] <= 8 for lesion in record["plan"]["lesions"])
    assert record["options"]["regions"] == ["deep_white_matter", "periventricular"]
    assert record["options"]["contrast"] == 1.5
    assert record["spacing_mm"] == [3, 3, 3]
    assert record["inputs"]["flair"]["sha256"] == sha256_of(paths["flair"])
    assert record["versions"]["lesionaug"] == lesionaug.__version__


def parsed(*words: str) -> Synthesize:
    command = parse("synthesize", ["--output", "out", *words])
    assert isinstance(command, Synthesize)
    return command


RANGES = {
    "num_lesions": [(["2"], 2), (["2", "4"], [2, 4]), (["patients"], "patients")],
    "load_ml": [(["2"], 2.0), (["0.5", "2"], [0.5, 2.0])],
    "contrast": [(["1.5"], 1.5), (["1", "1.5"], [1.0, 1.5])],
}


@pytest.mark.parametrize(
    ("name", "words", "means"), [(name, *case) for name, cases in RANGES.items() for case in cases]
)
def test_one_number_or_two_as_in_python(name, words, means):
    options = parsed("--" + name.replace("_", "-"), *words).lesion.plan_options()
    assert json.loads(json.dumps(getattr(options, name))) == means


def test_a_flag_is_off_unless_given_and_its_help_says_what_giving_it_does(capsys):
    assert not parsed("--no-halo").lesion.plan_options().halo
    assert parsed("--no-halo").lesion.plan_options().gate
    text = " ".join(call(capsys, "synthesize", "--help").out.replace("│", " ").split())
    assert "--no-halo Keep every voxel outside the new labels as it was" in text
    assert "(default: True)" not in text


def test_labels_tell_where_lesions_may_be(paths, tmp_path, capsys):
    scan = phantom()
    path = tmp_path / "labels.nii.gz"
    nib.save(nib.Nifti1Image(scan.labels, scan.affine), path)
    assert call(capsys, *arguments({**paths, "labels": path}, tmp_path / "out", *FEW)).code == 0
    new = new_lesions(tmp_path / "out", paths)
    assert new.any()
    assert not np.isin(scan.labels[new], (0, 4, 43, 3, 42)).any()


def test_replay_makes_the_same_bytes(paths, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(capsys, *arguments(paths, out, *FEW)).code == 0
    made = content(out)
    (out / "flair.nii.gz").unlink()
    for words in ([], ["--output", tmp_path / "again"]):
        outcome = call(capsys, "replay", out / "plan.json", *words)
        assert outcome.code == 0, outcome.err
        assert outcome.err == ""
        assert "all bytes as before" in outcome.out
    assert content(out) == made
    assert content(tmp_path / "again") == made


def test_replay_keeps_files_that_somebody_changed(paths, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(capsys, *arguments(paths, out, *FEW)).code == 0
    (out / "lesion.nii.gz").write_text("corrected by hand")
    outcome = call(capsys, "replay", out / "plan.json")
    assert outcome.code == 2
    assert (out / "lesion.nii.gz").read_text() == "corrected by hand"
    assert call(capsys, "replay", out / "plan.json", "--overwrite").code == 0
    assert stored(out / "lesion.nii.gz").any()


def test_replay_says_when_bytes_differ(paths, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(capsys, *arguments(paths, out, *FEW)).code == 0
    record = json.loads((out / "plan.json").read_text())
    record["outputs"]["flair.nii.gz"] = "0" * 64
    record["versions"]["torch"] = "1.0"
    (out / "plan.json").write_text(json.dumps(record))
    outcome = call(capsys, "replay", out / "plan.json", "--output", tmp_path / "again")
    assert outcome.code == 0
    assert f"got others in flair.nii.gz; torch 1.0 then, {torch.__version__} now" in outcome.err
    assert "not all bytes as before" in outcome.out


def test_overwrite_replaces_its_own_files_and_no_others(paths, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(capsys, *arguments(paths, out, *FEW)).code == 0
    (out / "notes.txt").write_text("mine")
    first = (out / "lesion.nii.gz").read_bytes()
    assert call(capsys, *arguments(paths, out, *FEW, "--seed", 9, "--overwrite")).code == 0
    assert (out / "lesion.nii.gz").read_bytes() != first
    assert (out / "notes.txt").read_text() == "mine"


def test_an_interrupt_leaves_nothing(paths, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lesionaug.synthesis.LesionSynthesizer.render_instances", interrupt)
    outcome = call(capsys, *arguments(paths, tmp_path / "new" / "out", *FEW))
    assert outcome.code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]


def test_sigterm_leaves_nothing(paths, tmp_path, capsys, monkeypatch):
    def end(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # as `timeout` does, once to the program and once to its group

    monkeypatch.setattr("lesionaug.synthesis.LesionSynthesizer.render_instances", end)
    outcome = call(capsys, *arguments(paths, tmp_path / "new" / "out", *FEW))
    assert outcome.code == 143
    assert "interrupted, nothing written" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_python_and_shell_agree(paths, tmp_path, capsys):
    assert call(capsys, *arguments(paths, tmp_path / "out", *FEW, "--seed", 3)).code == 0
    synthesizer = lesionaug.load_synthesizer("parametric")
    images = {channel: torch.from_numpy(read_nifti(paths[channel]).data)[None] for channel in ("flair", "t1w")}
    old = torch.from_numpy(stored(paths["lesions"]) != 0)[None]
    scan = assemble_scan(images, phantom().affine, old)
    plan = synthesizer.plan(scan, torch.Generator().manual_seed(3), PlanOptions(num_lesions=3, halo=False, gate=False))
    after = synthesizer.render(scan, plan)
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["plan"] == plan.to_dict()
    assert np.array_equal(after.lesion_mask[0].numpy(), stored(tmp_path / "out" / "lesion.nii.gz") != 0)
    assert np.array_equal(after.image[0].round().numpy(), stored(tmp_path / "out" / "flair.nii.gz"))


def test_version_and_help(capsys):
    assert call(capsys, "--version").out == f"lesionaug {lesionaug.__version__}\n"
    for words in ([], ["--help"], ["-h"]):
        outcome = call(capsys, *words)
        assert outcome.code == 0
        assert all(f"  {name} " in outcome.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples(name, capsys):
    outcome = call(capsys, name, "--help")
    assert outcome.code == 0
    assert f"lesionaug {name} " in outcome.out.partition("Examples:")[2]
    for field in command_class(name).__dataclass_fields__:
        assert field in ("lesion", "models") or f"{field}:" in command_class(name).__doc__, field


def test_it_runs_as_a_program():
    program = Path(sys.executable).with_name("lesionaug")
    for command in ([program], [sys.executable, "-m", "lesionaug.cli"]):
        outcome = subprocess.run([*command, "replay", "nowhere.json"], capture_output=True, text=True, check=False)
        assert outcome.returncode == 2
        assert outcome.stderr.startswith("lesionaug: error: Expected a plan.json")
        assert "Traceback" not in outcome.stderr


def test_prior_fit_writes_a_prior_that_synthesize_takes(paths, tmp_path, capsys):
    prior = tmp_path / "prior.json"
    outcome = call(capsys, "prior", "fit", paths["lesions"], paths["lesions"], "--output", prior)
    assert outcome.code == 0, outcome.err
    assert call(capsys, *arguments(paths, tmp_path / "out", "--prior", prior, "--num-lesions", 2)).code == 0
    record = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert record["prior"]["path"] == str(prior)


@pytest.mark.parametrize("with_labels", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_prepare_writes_a_map_that_synthesize_takes(with_labels, paths, tmp_path, capsys):
    scan = phantom()
    nib.save(nib.Nifti1Image(scan.labels, scan.affine), tmp_path / "labels.nii.gz")
    words = ["--labels", tmp_path / "labels.nii.gz"] if with_labels else ["--t1w", paths["t1w"]]
    outcome = call(capsys, "prepare", "--flair", paths["flair"], *words, "--output", tmp_path / "prepared")
    assert outcome.code == 0, outcome.err
    eligible = tmp_path / "prepared" / "eligible.nii.gz"
    assert call(capsys, *arguments({**paths, "eligible": eligible}, tmp_path / "out", *FEW)).code == 0
    new = new_lesions(tmp_path / "out", paths)
    assert new.any()
    assert (nib.load(eligible).get_fdata()[new] > 0).all()


@pytest.mark.realdata
def test_convert_writes_a_model_that_synthesize_knows(golden, paths, tmp_path, capsys):
    model = tmp_path / "diffmask"
    outcome = call(capsys, "convert", golden / "diffmask_small.pt", "--model", "diffmask", "--output", model)
    assert outcome.code == 0, outcome.err
    assert set(content(model)) == {"config.json", "weights.safetensors"}
    outcome = call(capsys, *arguments(paths, tmp_path / "out", "--lefusion", model))
    assert outcome.code == 2
    assert "Expected a lefusion model" in outcome.err


def test_convert_refuses_what_is_no_checkpoint(paths, tmp_path, capsys):
    outcome = call(capsys, "convert", paths["flair"], "--model", "diffmask", "--output", tmp_path / "model")
    assert outcome.code == 2
    assert outcome.err.startswith("lesionaug: error: Expected a whole PyTorch checkpoint")
    assert not (tmp_path / "model").exists()


def test_readme_commands_are_found():
    commands = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "readme_commands.py"))["commands"]
    shell = "```bash\n$ lesionaug demo\npip install x\nlesionaug synthesize \\\n  --flair f\n```\n"
    text = shell + "```python\nlesionaug x\n```"
    assert [" ".join(line.split()) for line in commands(text)] == ["lesionaug demo", "lesionaug synthesize --flair f"]
