"""Pairs: two scans of one plan, each of which replays, with a label that says what became of every lesion."""

import json

import numpy as np
import pytest
from data_sets import manifest, stored
from scan_files import call, content

from lesionaug.evolution import CHANGES, VISITS

PAIRS = ("--longitudinal", "--instances", "--new-only", "--variants", 2)
LARGE = (
    "--diameter-mm",
    9,
    14,
    "--num-lesions",
    6,
    "--no-halo",
    "--no-gate",
)  # with voxels of 3 mm, only those can grow


@pytest.fixture(scope="module")
def pairs(patients, tmp_path_factory):
    """Made by one process at once, as folders."""
    from lesionaug.cli import main

    out = tmp_path_factory.mktemp("pairs") / "out"
    words = ("generate", patients, "--output", out, "--model", "parametric", *LARGE, *PAIRS)
    assert main([str(word) for word in words]) == 0
    return out


def generate(capsys, source, output, *more):
    return call(capsys, "generate", source, "--output", output, "--model", "parametric", *LARGE, *more)


def volumes(out, line, name):
    return [stored(out / line["files"][f"{visit}/{name}.nii.gz"]) for visit in VISITS]


def test_the_change_label_is_what_the_visits_show(pairs, patients):
    seen = set()
    for line in manifest(pairs):
        change = stored(pairs / line["files"]["change.nii.gz"])
        labels, numbers = volumes(pairs, line, "lesion"), volumes(pairs, line, "instances")
        assert np.array_equal(change > 0, (labels[0] > 0) | (labels[1] > 0))
        source = patients / line["source"] / "lesion.nii.gz"
        if source.exists():
            assert (change[stored(source) > 0] == CHANGES.index("stable") + 1).all()
        for number in np.unique(np.stack(numbers))[1:]:
            at = [found == number for found in numbers]
            (value,) = np.unique(change[at[0] | at[1]])
            seen.add(name := CHANGES[value - 1])
            before, after = (int(mask.sum()) for mask in at)
            assert name == becomes(before, after), (before, after)
    assert seen == set(CHANGES)


def becomes(before, after):
    if not before or not after:
        return "new" if after else "vanishing"
    return "stable" if before == after else "enlarging" if before < after else "shrinking"


def test_images_differ_only_where_lesions_change(pairs):
    for line in manifest(pairs):
        change = stored(pairs / line["files"]["change.nii.gz"])
        for channel in ("flair", "t1w"):
            before, after = volumes(pairs, line, channel)
            assert np.array_equal(before[change <= 1], after[change <= 1])
            assert not np.array_equal(before, after)


def test_the_manifest_counts_changes(pairs):
    for line in manifest(pairs):
        assert sum(line["changes"].values()) == 6
        assert line["new"]["voxels"] == (volumes(pairs, line, "new_lesion")[1] > 0).sum()
        assert line["baseline"]["voxels"] == (volumes(pairs, line, "new_lesion")[0] > 0).sum()


@pytest.mark.parametrize("visit", VISITS)
def test_each_visit_replays(visit, pairs, tmp_path, capsys):
    line = manifest(pairs)[0]
    outcome = call(capsys, "replay", pairs / line["files"][f"{visit}/plan.json"], "--output", tmp_path / "again")
    assert "all bytes as before" in outcome.out
    for name in ("flair.nii.gz", "t1w.nii.gz", "lesion.nii.gz"):
        assert (tmp_path / "again" / name).read_bytes() == (pairs / line["files"][f"{visit}/{name}"]).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["parts", "workers"])
def test_anybody_makes_the_same_bytes(how, patients, pairs, tmp_path, capsys):
    calls = [("--workers", 8)] if how == "workers" else [("--num-parts", 3, "--part-id", part) for part in (1, 0, 2)]
    for words in calls:
        outcome = generate(capsys, patients, tmp_path / "out", *PAIRS, *words)
        assert outcome.code == 0, outcome.err
    assert content(tmp_path / "out") == content(pairs)


def test_nnunet_learns_changes_from_both_visits(patients, tmp_path, capsys):
    out = tmp_path / "out"
    outcome = generate(capsys, patients, out, "--output-layout", "nnunet", *PAIRS)
    assert outcome.code == 0, outcome.err
    dataset = json.loads((out / "dataset.json").read_text())
    assert list(dataset["channel_names"].values()) == [
        "FLAIR baseline",
        "T1w baseline",
        "FLAIR followup",
        "T1w followup",
    ]
    assert list(dataset["labels"]) == ["background", *CHANGES]
    assert list(dataset["labels"].values()) == list(range(6))
    for path in (out / "labelsTr").iterdir():
        case = path.name.removesuffix(".nii.gz")
        assert len(list((out / "imagesTr").glob(f"{case}_????.nii.gz"))) == 4
        both = [stored(out / f"labelsTr_{visit}" / path.name) > 0 for visit in VISITS]
        assert np.array_equal(stored(path) > 0, both[0] | both[1])
        line = next(line for line in manifest(out) if line["case"] == case)
        assert line["files"]["followup/flair.nii.gz"].endswith("_0002.nii.gz")


def test_bids_has_a_session_for_each_visit(patients, tmp_path, capsys):
    out = tmp_path / "out"
    outcome = generate(capsys, patients, out, "--output-layout", "bids", "--longitudinal")
    assert outcome.code == 0, outcome.err
    stem = "anat/sub-A_ses-T1followup_rec-v000"
    for suffix in (".nii.gz", ".json", ".tsv"):
        assert (out / "sub-A" / "ses-T1followup" / f"{stem}_desc-change_dseg{suffix}").is_file()
    assert (out / "sub-B/ses-baseline/anat/sub-B_ses-baseline_rec-v000_desc-synthetic_FLAIR.nii.gz").is_file()
    assert not list(out.rglob("*baseline*desc-change*"))
    table = next(out.rglob("*_dseg.tsv")).read_text().splitlines()
    assert table == ["index\tname", "0\tbackground", *(f"{n}\t{name}" for n, name in enumerate(CHANGES, start=1))]


def test_a_data_set_of_scans_is_not_gone_on_with_as_pairs(patients, pairs, capsys):
    outcome = generate(capsys, patients, pairs, "--instances", "--new-only", "--variants", 2)
    assert outcome.code == 2
    assert "changes: ['stable'" in outcome.err


def test_changes_without_pairs_are_refused(patients, tmp_path, capsys):
    outcome = generate(capsys, patients, tmp_path / "out", "--changes", "new")
    assert outcome.code == 2
    assert "Expected --longitudinal with --changes new" in outcome.err


def test_a_report_shows_baseline_and_followup(pairs, tmp_path, capsys):
    outcome = call(capsys, "report", pairs, "--pictures", 2, "--output", tmp_path / "page.html")
    assert outcome.code == 0, outcome.err
    text = (tmp_path / "page.html").read_text()
    assert "Before is the baseline" in text
    assert text.count("data:image/jpeg;base64,") == 2
