"""A data set is the same bytes whoever makes it, whole or not there, and tells what went wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from data_sets import manifest, stored
from scan_files import call, content, write_nifti

from lesionaug.dataset.cases import cases_of, part_of, seed_of
from lesionaug.dataset.splits import folds_of
from lesionaug.io import sha256_of
from lesionaug.layouts.core import SourceScan

IMAGES = ("flair.nii.gz", "t1w.nii.gz", "lesion.nii.gz")
FEW = ("--model", "parametric", "--num-lesions", 3, "--no-halo", "--no-gate")


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def generate(capsys, source: Path, output: Path, *more: object):
    return call(capsys, "generate", source, "--output", output, *FEW, *more)


@pytest.fixture(scope="module")
def whole(patients, tmp_path_factory):
    """Made by one process at once, nnU-Net's layout, all labels."""
    from lesionaug.cli import main

    out = tmp_path_factory.mktemp("whole") / "out"
    words = ("generate", patients, "--output", out, *FEW, *NNUNET)
    assert main([str(word) for word in words]) == 0
    return out


NNUNET = ("--variants", 2, "--output-layout", "nnunet", "--instances", "--new-only")


def test_a_case_is_what_synthesize_makes(patients, whole, tmp_path, capsys):
    line = next(line for line in manifest(whole) if line["case"] == "A_T2_v001")
    files = [word for role in ("flair", "t1w") for word in (f"--{role}", patients / "A_T2" / f"{role}.nii.gz")]
    lesions = ("--lesions", patients / "A_T2" / "lesion.nii.gz")
    seed = ("--seed", seed_of(0, "A_T2", 1))
    assert call(capsys, "synthesize", *files, *lesions, "--output", tmp_path / "one", *FEW, *seed).code == 0
    for name in IMAGES:
        assert (tmp_path / "one" / name).read_bytes() == (whole / line["files"][name]).read_bytes()
    records = (tmp_path / "one" / "plan.json", whole / line["files"]["plan.json"])
    one, case = (json.loads(path.read_text()) for path in records)
    assert one == case


def test_a_case_replays(whole, tmp_path, capsys):
    line = manifest(whole)[0]
    outcome = call(capsys, "replay", whole / line["files"]["plan.json"], "--output", tmp_path / "again")
    assert "all bytes as before" in outcome.out
    for name in IMAGES:
        assert (tmp_path / "again" / name).read_bytes() == (whole / line["files"][name]).read_bytes()


@pytest.mark.parametrize("part_order", [(2, 0, 3, 1), (7, 6, 5, 4, 3, 2, 1, 0)])
def test_parts_make_the_same_bytes(part_order, patients, whole, tmp_path, capsys):
    for part in part_order:
        outcome = generate(
            capsys, patients, tmp_path / "out", *NNUNET, "--num-parts", len(part_order), "--part-id", part
        )
        assert outcome.code == 0, outcome.err
    assert content(tmp_path / "out") == content(whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--workers", 8), ("--dask", "local", "--workers", 2)], ids=["processes", "dask"])
def test_workers_make_the_same_bytes(how, patients, whole, tmp_path, capsys):
    if "--dask" in how:
        pytest.importorskip("distributed")
    outcome = generate(capsys, patients, tmp_path / "out", *NNUNET, *how)
    assert outcome.code == 0, outcome.err
    assert content(tmp_path / "out") == content(whole)


def test_more_variants_are_added_and_those_there_are_not_made_again(patients, whole, tmp_path, capsys):
    out = tmp_path / "out"
    assert generate(capsys, patients, out, "--output-layout", "nnunet", "--instances", "--new-only").code == 0
    first = {path: path.stat().st_mtime_ns for path in (out / "imagesTr").iterdir()}
    assert generate(capsys, patients, out, *NNUNET).code == 0
    assert first == {path: path.stat().st_mtime_ns for path in first}
    assert content(out) == content(whole)


def test_other_settings_do_not_get_into_a_data_set(patients, whole, capsys):
    before = content(whole)
    outcome = generate(capsys, patients, whole, *NNUNET, "--seed", 1)
    assert outcome.code == 2
    assert "seed: 0 then, 1 now" in outcome.err
    assert content(whole) == before


def test_files_of_something_else_are_spared(patients, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    outcome = generate(capsys, patients, tmp_path)
    assert outcome.code == 2
    assert "Expected an empty output folder" in outcome.err
    assert list(content(tmp_path)) == ["thesis.txt"]


def test_an_output_within_the_input_is_refused(patients, capsys):
    assert "outside of the input" in generate(capsys, patients, patients / "more").err


def test_a_dry_run_writes_nothing(patients, tmp_path, capsys):
    outcome = generate(capsys, patients, tmp_path / "out", "--variants", 7, "--dry-run")
    assert "21 cases: A_T1_v000, ..., B_v006" in outcome.out
    outcome = generate(capsys, patients, tmp_path / "out", "--num-parts", 3, "--dry-run")
    assert "1 case in part 0 of 3: A_T1_v000\n" in outcome.out
    assert not (tmp_path / "out").exists()


def test_labels_tell_old_from_new(whole, patients):
    for line in manifest(whole):
        label, new, instances = (stored(whole / line["files"][f"{name}.nii.gz"]) for name in LABELS)
        source = patients / line["source"] / "lesion.nii.gz"
        old = stored(source) > 0 if source.exists() else np.zeros(label.shape, bool)
        assert set(np.unique(label)) == {0, 1}
        assert not (old & (new > 0)).any()
        assert np.array_equal(label > 0, old | (new > 0))
        assert np.array_equal(instances > 0, new > 0)
        assert set(np.unique(instances)) == {0, 1, 2, 3}
        plan = json.loads((whole / line["files"]["plan.json"]).read_text())["plan"]
        for number, lesion in enumerate(plan["lesions"], start=1):
            distance = np.linalg.norm((np.argwhere(instances == number) - lesion["center"]) * 3.0, axis=1)
            assert distance.max() <= lesion["extent_mm"] / 2 + 5.2  # and the diagonal of a voxel


LABELS = ("lesion", "new_lesion", "instances")


def test_the_manifest_says_what_is_there(whole):
    for line in manifest(whole):
        for name, digest in line["sha256"].items():
            assert sha256_of(whole / line["files"][name]) == digest
        new = stored(whole / line["files"]["new_lesion.nii.gz"]) > 0
        assert line["new"]["voxels"] == new.sum()
        assert line["new"]["load_ml"] == pytest.approx(new.sum() * 27 / 1000)
        assert len(line["new"]["region"]) == len(line["new"]["volume_mm3"])
    assert [line["case"] for line in manifest(whole)] == sorted(line["case"] for line in manifest(whole))
    assert not (whole / ".generate").exists()
    assert not (whole / "failures.jsonl").exists()


def test_nnunet_finds_what_it_wants(whole):
    dataset = json.loads((whole / "dataset.json").read_text())
    assert dataset["channel_names"] == {"0": "FLAIR", "1": "T1w"}
    assert dataset["labels"] == {"background": 0, "lesion": 1}
    assert dataset["numTraining"] == 6
    cases = {path.name.removesuffix(dataset["file_ending"]) for path in (whole / "labelsTr").iterdir()}
    assert len(cases) == 6
    images = {path.name for path in (whole / "imagesTr").iterdir()}
    assert images == {f"{case}_{channel:04d}.nii.gz" for case in cases for channel in range(2)}
    folds = json.loads((whole / "splits_final.json").read_text())
    assert {case for fold in folds for case in fold["val"]} == cases


def test_nnunet_labels_are_1_whatever_those_of_the_source(patients, tmp_path, capsys):
    lesions = nib.load(patients / "A_T1" / "lesion.nii.gz")
    old = np.asarray(lesions.dataobj) > 0
    write_nifti(tmp_path / "old.nii.gz", old.astype(np.int16) * 255, lesions.affine)
    table = tmp_path / "scans.csv"
    table.write_text(f"subject,flair,lesion\nA,{patients}/A_T1/flair.nii.gz,old.nii.gz\n")
    assert generate(capsys, table, tmp_path / "out", "--output-layout", "nnunet").code == 0
    label = stored(tmp_path / "out" / "labelsTr" / "A_v000.nii.gz")
    assert set(np.unique(label)) == {0, 1}
    assert (label[old] == 1).all()
    assert generate(capsys, table, tmp_path / "folders").code == 0
    assert set(np.unique(stored(tmp_path / "folders" / "A_v000" / "lesion.nii.gz"))) == {0, 255}


@pytest.mark.parametrize(
    ("counts", "folds"), [({"a": 3, "b": 1, "c": 2}, 3), (dict.fromkeys("abcdefghi", 2), 5), ({"a": 4}, 0)]
)
def test_splits_keep_patients_together_and_show_each_once(counts, folds):
    patients = {f"{name}_v{n}": name for name, count in counts.items() for n in range(count)}
    found = folds_of(patients)
    assert len(found) == folds
    for fold in found:
        assert not {patients[case] for case in fold["train"]} & {patients[case] for case in fold["val"]}
        assert sorted([*fold["train"], *fold["val"]]) == sorted(patients)
    assert not found or sorted(case for fold in found for case in fold["val"]) == sorted(patients)


def test_bids_names_are_those_of_a_derivative(patients, tmp_path, capsys):
    out = tmp_path / "out"
    outcome = generate(capsys, patients, out, "--output-layout", "bids", "--variants", 2)
    assert outcome.code == 0, outcome.err
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "lesionaug"
    anat = out / "sub-A" / "ses-T1" / "anat"
    stem = "sub-A_ses-T1_rec-v001"
    names = {path.name for path in anat.iterdir() if path.name.startswith(stem)}
    ends = ("desc-synthetic_FLAIR", "desc-synthetic_T1w", "label-lesion_desc-synthetic_mask")
    assert names == {f"{stem}_{end}{suffix}" for end in ends for suffix in (".nii.gz", ".json")}
    assert (out / "sub-B" / "anat" / "sub-B_rec-v000_desc-synthetic_T1w.nii.gz").is_file()
    again = call(capsys, "generate", out, "--output", tmp_path / "more", "--layout", "bids", "--dry-run", *FEW)
    assert again.code == 2  # variants of a scan are several images of one session: told, not mixed


def test_folders_hold_what_synthesize_writes(patients, tmp_path, capsys):
    assert generate(capsys, patients, tmp_path / "out").code == 0
    names = {path.name for path in (tmp_path / "out" / "A_T1_v000").iterdir()}
    assert names == {"flair.nii.gz", "t1w.nii.gz", "lesion.nii.gz", "plan.json", "case.json"}
    outcome = call(capsys, "replay", tmp_path / "out" / "A_T1_v000" / "plan.json")
    assert outcome.code == 0, outcome.err


def test_a_bad_case_is_told_and_left_out_until_it_is_good(patients, tmp_path, capsys):
    table, out = tmp_path / "scans.csv", tmp_path / "out"
    row = f"{patients}/A_T1/flair.nii.gz"
    table.write_text(f"subject,flair\nA,{row}\nbad,late.nii.gz\n")
    outcome = generate(capsys, table, out, "--variants", 2)
    assert outcome.code == 2
    assert "Expected 4 cases, got 2; bad_v000: Expected a NIfTI file" in outcome.err
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [(line["case"], line["source"], line["variant"]) for line in failures] == [
        ("bad_v000", "bad", 0),
        ("bad_v001", "bad", 1),
    ]
    assert [line["case"] for line in manifest(out)] == ["A_v000", "A_v001"]
    assert not (out / "bad_v000").exists()
    (tmp_path / "late.nii.gz").write_bytes(Path(row).read_bytes())
    assert generate(capsys, table, out, "--variants", 2).code == 0
    assert not (out / "failures.jsonl").exists()
    assert len(manifest(out)) == 4


def test_a_bug_in_one_case_spares_the_others(patients, tmp_path, capsys, monkeypatch):
    def buggy(scan, mask, affine):
        raise ZeroDivisionError("of a lesion by itself")

    monkeypatch.setattr("lesionaug.dataset.produce.lesion_facts", buggy)
    outcome = generate(capsys, patients, tmp_path / "out")
    assert outcome.code == 2
    failures = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert len(failures) == 3
    assert all("in buggy" in line["traceback"] for line in failures)
    monkeypatch.undo()
    assert generate(capsys, patients, tmp_path / "out").code == 0


def test_a_load_that_was_missed_is_told_of_the_case(patients, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lesionaug.rendering.is_good", lambda mask, wanted, *_: wanted < 250)
    out, words = tmp_path / "out", ("--load-ml", 3, "--diameter-mm", 6, 9, "--model", "parametric")
    assert call(capsys, "generate", patients, "--output", out, *words).code == 0
    for line in manifest(out):
        got = line["new"]["load_ml"]
        assert line["new"]["left_out"] > 0
        assert got < 2.7
        assert any(f"Expected 3 ml of new lesions, got {got:.3g} ml: " in told for told in line["warnings"])


def test_a_label_of_something_else_is_refused(patients, tmp_path, capsys):
    root = tmp_path / "Dataset001_MS"
    for folder in ("imagesTr", "labelsTr"):
        make_folder(root / folder)
    (root / "imagesTr" / "A_0000.nii.gz").write_bytes((patients / "A_T1" / "flair.nii.gz").read_bytes())
    (root / "labelsTr" / "A.nii.gz").write_bytes((patients / "A_T1" / "lesion.nii.gz").read_bytes())
    labels = {"background": 0, "brain": 1, "lesion": 2}
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "FLAIR"}, "labels": labels}))
    outcome = generate(capsys, root, tmp_path / "out")
    assert "Expected lesions to be 2 in the label, got 1" in outcome.err
    (root / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "FLAIR"}, "labels": {"background": 0, "lesion": 1}})
    )
    assert generate(capsys, root, tmp_path / "out").code == 0


def test_patterns_name_files(patients, tmp_path, capsys):
    patterns = ("--patterns", "flair={id}/fl*.nii.gz", "lesion={id}/lesion.nii.gz")
    outcome = generate(capsys, patients, tmp_path / "out", *patterns)
    assert outcome.code == 0, outcome.err
    assert [line["case"] for line in manifest(tmp_path / "out")] == ["A_T1_v000", "A_T2_v000", "B_v000"]
    assert manifest(tmp_path / "out")[0]["old"]["voxels"] > 0
    assert "ROLE=PATTERN" in generate(capsys, patients, tmp_path / "b", "--patterns", "flair=*.nii.gz").err


def test_a_killed_run_leaves_whole_cases_and_goes_on(patients, whole, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["generate", patients, "--output", out, *FEW, *NNUNET]
    process = subprocess.Popen([sys.executable, "-m", "lesionaug.cli", *map(str, words)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(out.glob("records/*/case.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
    process.wait()
    complete = [json.loads(path.read_text()) for path in out.glob("records/*/case.json")]
    assert complete
    for line in complete:
        for name, digest in line["sha256"].items():
            assert sha256_of(out / line["files"][name]) == digest
    assert generate(capsys, patients, out, *NNUNET).code == 0
    assert content(out) == content(whole)


@pytest.mark.slow
def test_two_at_once_do_not_disturb_each_other(patients, whole, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "lesionaug.cli", "generate", patients, "--output", out, *FEW, *NNUNET]
    processes = [subprocess.Popen([*map(str, words)], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert content(out) == content(whole)


def test_what_a_killed_process_left_of_a_case_goes(patients, whole, tmp_path, capsys):
    out = tmp_path / "out"
    left = make_folder(out / ".generate" / "cases" / "A_T1_v000" / "tmpabc")
    (left / "half").write_text("of a file")
    assert generate(capsys, patients, out, *NNUNET).code == 0
    assert content(out) == content(whole)


def test_parts_are_disjoint_complete_and_even():
    cases = cases_of([SourceScan(name, name) for name in "cab"], variants=5, seed=3)
    assert [case.name for case in cases[:6]] == [*(f"a_v{n:03d}" for n in range(5)), "b_v000"]
    parts = [part_of(cases, 4, part) for part in range(4)]
    assert [case for part in parts for case in part] == cases
    assert {len(part) for part in parts} == {3, 4}


def test_seeds_depend_on_source_and_variant_alone():
    few = {case.name: case.seed for case in cases_of([SourceScan("b", "b")], 2, seed=0)}
    many = {case.name: case.seed for case in cases_of([SourceScan(name, name) for name in "abc"], 9, seed=0)}
    assert few.items() <= many.items()
    assert len(set(many.values())) == len(many)
    other = {case.seed for case in cases_of([SourceScan(name, name) for name in "abc"], 9, seed=1)}
    assert not other & set(many.values())


def test_lesions_without_images_are_no_input(tmp_path, capsys):
    (tmp_path / "scans.csv").write_text("subject,lesion\nA,lesion.nii.gz\n")
    outcome = generate(capsys, tmp_path / "scans.csv", tmp_path / "out")
    assert outcome.code == 2
    assert "Expected scans with images" in outcome.err
    assert not (tmp_path / "out").exists()
