"""Laws of `judge`: real ones are at the floor of real ones, and everything that was made wrong is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the realism benchmark needs scikit-learn")

from made_patients import (
    NEW,
    Patient,
    lesions_on,
    made_patient,
    with_flat_balls,
    with_lesions,
    write_folders,
    write_generated,
    write_nnunet,
)

from benchmarks.realism import classifying, copying, judge_figure, judging
from benchmarks.realism.__main__ import main
from benchmarks.realism.appearance import feature_names
from benchmarks.realism.halving import halves_of
from benchmarks.realism.judge import Measured, groups_of, heading
from benchmarks.realism.scan_measures import ScanMeasures, measure_group, measure_real
from benchmarks.realism.scan_sets import find_generated, find_real
from benchmarks.realism.yardsticks import Yardstick, side_by_side
from lesionaug.cli import main as generate
from lesionaug.errors import LesionAugError

CHANNELS = ("flair", "t1w")
NAMES = tuple(f"P{index:02d}" for index in range(6))


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [made_patient(seed, name) for seed, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def real_folder(patients: list[Patient], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("real"), patients)


@pytest.fixture(scope="module")
def real(real_folder: Path) -> list[ScanMeasures]:
    return measured_real(real_folder)


@pytest.fixture(scope="module")
def alike(patients: list[Patient], real_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ScanMeasures]:
    """New lesions in the patients' own scans, by the process that made the old ones."""
    made = [(one, again(one, 100 + seed)) for seed, one in enumerate(patients)]
    return measured(write_generated(tmp_path_factory.mktemp("alike"), made), real_folder)


@pytest.fixture(scope="module")
def flat(patients: list[Patient], real_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ScanMeasures]:
    """Flat balls in the patients' own scans."""
    made = [(one, with_flat_balls(one, new_places(200 + seed))) for seed, one in enumerate(patients)]
    return measured(write_generated(tmp_path_factory.mktemp("flat"), made), real_folder)


def new_places(seed: int) -> np.ndarray:
    return lesions_on(NEW, np.random.default_rng(seed))


def again(patient: Patient, seed: int) -> Patient:
    return with_lesions(patient, new_places(seed), np.random.default_rng(seed))


def measured_real(root: Path, channels: tuple[str, ...] = CHANNELS) -> list[ScanMeasures]:
    return [measure_real(files, channels) for files in find_real(root)]


def measured(root: Path, reference: Path, which: str = "new") -> list[ScanMeasures]:
    one = find_generated("made", root, find_real(reference), which)
    return [scan for group in groups_of(one) for scan in measure_group(*group, CHANNELS)]


def by_name(rows: list[Yardstick]) -> dict[str, Yardstick]:
    return {row.name: row for row in rows}


def tissue(real: list[ScanMeasures], generated: list[ScanMeasures], *, paired: bool) -> dict[str, Yardstick]:
    one = [[scan if scan.features is None else _first_channel(scan) for scan in side] for side in (real, generated)]
    return by_name(judging.tissue_rows(*one, CHANNELS[:1], paired=paired, splits=10, seed=0))


def _first_channel(scan: ScanMeasures) -> ScanMeasures:
    """Half of the features take the classifiers half as long."""
    columns = [feature_names(CHANNELS).index(name) for name in feature_names(CHANNELS[:1])]
    return replace(scan, features=scan.features[:, columns])


def test_other_patients_of_the_same_kind_are_as_near_as_real_halves(real):
    others = [replace(scan, subject=f"other{k}") for k, scan in enumerate(real)]
    rows = judging.distribution_rows(real, others, 20, 0)
    assert all(row.reached for row in rows if row.aim is not None), [row.line() for row in rows]
    assert by_name(rows)["volume KS"].value < 0.2


def test_lesions_that_are_too_large_are_found(real, tmp_path):
    large = write_folders(tmp_path, [made_patient(seed, f"L{seed}", grow=1.6) for seed in (50, 51)])
    rows = by_name(judging.distribution_rows(real, measured_real(large), 20, 0))
    assert rows["volume KS"].reached is False
    assert rows["load KS"].value > rows["load KS"].worst_real


def test_a_copy_is_memorised_and_what_is_new_is_not(real, alike):
    copied = [replace(scan, masks=real[0].masks, cubes=real[0].cubes) for scan in alike[1:]]
    rows = by_name(copying.copy_rows(real, copied, None, 0))
    assert rows[copying.MASKS].value == 1
    assert rows[copying.TEXTURES].value == 1
    assert rows[copying.MASKS].reached is False
    assert by_name(copying.copy_rows(real, alike, None, 0))[copying.TEXTURES].value < 0.03


def test_closer_to_seen_needs_to_know_what_was_seen(real, alike):
    seen, unseen = real[:3], real[3:]
    copied = [replace(scan, masks=seen[0].masks) for scan in alike[:2]]
    assert by_name(copying.copy_rows(unseen, copied, seen, 0))[copying.CLOSER].value > 0.6
    assert by_name(copying.copy_rows(unseen, copied, None, 0))[copying.CLOSER].value is None
    assert by_name(copying.copy_rows(seen, copied, seen, 0))[copying.CLOSER].value is None  # nobody is left unseen


@pytest.mark.slow
def test_flat_balls_are_told_apart_in_the_host_and_lesions_of_the_same_kind_are_not(real, flat, alike):
    found, null = (tissue(real, scans, paired=True) for scans in (flat, alike))
    names = [name for name in found if name.startswith("AUC")]
    assert len(names) == 6
    for name in names:
        if classifying.EACH_HOST.name in name:
            assert "no host with 10 lesions" in found[name].note
            continue
        assert found[name].value > 0.95, found[name].line()
        assert null[name].value < 0.7, null[name].line()
        assert found[name].worst_real < 0.75
    assert found["texture: flair_sd KS"].reached is False
    assert null["texture: flair_sd KS"].reached is True


def test_shape_of_balls_is_found(real, flat):
    assert by_name(judging.distribution_rows(real, flat, 10, 0))["sphericity KS"].reached is False


def test_other_hosts_are_said_to_be_others_and_have_no_aim(real, alike):
    strangers = [replace(scan, host=f"Q{k}", patient=f"Q{k}") for k, scan in enumerate(alike)]
    rows = tissue(real, strangers, paired=False)
    assert all("in host" not in name for name in rows)
    row = rows["AUC flair, logistic, patient-wise"]
    assert classifying.HOSTS_DIFFER in row.note
    assert row.aim is None
    assert row.value < 0.75


def test_pasted_lesions_of_other_patients_fall_below_chance_across_patients(real):
    shifted = [replace(scan, features=other.features) for scan, other in zip(real, [*real[1:], real[0]], strict=True)]
    styles = np.random.default_rng(0).normal(0, 3, (len(real), 1))
    real = [replace(scan, features=_offset(scan, style)) for scan, style in zip(real, styles, strict=True)]
    pasted = [replace(a, features=_offset(a, s)) for a, s in zip(shifted, np.roll(styles, -1, axis=0), strict=True)]
    rows = tissue(real, pasted, paired=True)
    assert rows["AUC flair, forest, patient-wise"].value < 0.4
    assert classifying.REVERSED in rows["AUC flair, forest, patient-wise"].note


def test_what_is_off_in_either_direction_is_seen_in_each_host_alone():
    rng = np.random.default_rng(0)
    hosts = np.repeat(["a", "b"], 40)

    def group(shift: float) -> classifying.Group:
        rows = rng.normal(size=(80, 1)) + shift * np.where(hosts == "a", 1, -1)[:, None]
        return classifying.Group(np.column_stack([rows, np.full(80, 4.0)]), hosts, hosts)

    sides = group(0.0), group(2.5)
    assert classifying.EACH_HOST.run(*sides, 0, 1, 30).logreg > 0.9
    assert classifying.IN_HOST.run(*sides, 0, 1, 30).logreg < 0.7
    assert classifying.hosts_with_enough(sides[0], sides[1].where(hosts == "b")) == ["b"]


def _offset(scan: ScanMeasures, style: np.ndarray) -> np.ndarray:
    return np.concatenate([scan.features[:, :-1] + style, scan.features[:, -1:]], axis=1)


def test_two_layouts_of_the_same_scans_give_the_same_numbers(patients, real, tmp_path):
    other = measured_real(write_nnunet(tmp_path, patients))
    for a, b in zip(real, other, strict=True):
        assert (a.subject, a.patient) == (b.subject, b.patient)
        np.testing.assert_array_equal(a.volumes_mm3, b.volumes_mm3)
        np.testing.assert_array_equal(a.shapes["sphericity"], b.shapes["sphericity"])
        # Brain masks are given in one layout and found in the other: the voxels that are not zero.
        np.testing.assert_allclose(a.features, b.features, atol=0.05)


def test_axes_of_the_files_do_not_matter(patients, real, tmp_path):
    one = patients[0]
    flip = np.diag((-1.0, 1.0, 1.0, 1.0))
    flip[0, 3] = one.brain.shape[0] - 1
    turned = Patient(
        one.name,
        {channel: image[::-1] for channel, image in one.images.items()},
        one.brain[::-1],
        one.lesions[::-1],
        one.affine @ flip,
    )
    root = write_folders(tmp_path, [turned, patients[1]])
    found = measured_real(root)[0]
    np.testing.assert_array_equal(np.sort(found.volumes_mm3), np.sort(real[0].volumes_mm3))
    np.testing.assert_allclose(found.points_mm, real[0].points_mm, atol=1e-6)
    np.testing.assert_allclose(found.features, real[0].features, atol=1e-4)


def test_new_lesions_are_known_by_their_label_or_by_their_host(patients, real_folder, tmp_path):
    made = [(one, again(one, 300 + seed)) for seed, one in enumerate(patients[:2])]
    labelled, unlabelled = (write_generated(tmp_path / str(flag), made, new_only=flag) for flag in (True, False))
    first, second, every = (
        measured(labelled, real_folder),
        measured(unlabelled, real_folder),
        measured(unlabelled, real_folder, "all"),
    )
    for a, b, c in zip(first, second, every, strict=True):
        np.testing.assert_array_equal(a.volumes_mm3, b.volumes_mm3)
        assert len(c.volumes_mm3) > len(a.volumes_mm3)
    elsewhere = write_folders(tmp_path / "elsewhere", [replace(one, name=f"Q_{one.name}") for one in patients[:2]])
    with pytest.raises(LesionAugError, match="Expected to know which lesions of P00_v000 are new"):
        find_generated("made", unlabelled, find_real(elsewhere), "new")


def test_without_a_manifest_all_lesions_are_judged_and_that_is_said(real_folder):
    one = find_generated("made", real_folder, find_real(real_folder), "new")
    assert "all lesions" in one.note
    assert not one.paired


def test_halves_share_no_patient_and_come_once(real):
    halves = halves_of(real, 500, 0)
    assert len(halves) == 10  # of six patients, three at a time, without order
    for one, other in halves:
        assert not {scan.patient for scan in one} & {scan.patient for scan in other}
        assert len(one) == len(other) == 3


def test_both_sides_have_as_many_lesions_of_each_volume_in_each_host(real, alike):
    sides = classifying.Group.of(real), classifying.Group.of(alike)
    cut = classifying.matched(*sides, np.random.default_rng(0), by_host=True)
    strata = [sorted(classifying._strata(side, True)) for side in cut]
    assert strata[0] == strata[1]
    assert 10 < len(cut[0]) < len(sides[0])


def test_what_cannot_be_told_has_no_number(real, alike):
    few = [replace(scan, volumes_mm3=scan.volumes_mm3[:1], features=None, cubes=None, points_mm=None) for scan in alike]
    rows = [*judging.distribution_rows(real, few, 10, 0), *tissue(real, few, paired=True).values()]
    rows += copying.copy_rows(real, [replace(scan, masks=()) for scan in few], None, 0)
    told = {row.name for row in rows if row.value is not None}
    assert told == {"sphericity KS", "elongation KS", "surface_to_volume KS"}
    assert all(row.note and row.reached is None for row in rows if row.name not in told)
    assert "not enough" in by_name(rows)["volume KS"].note
    assert json.dumps([row.to_dict() for row in rows]).count("NaN") == 0


def test_methods_stand_side_by_side(real, flat, alike):
    columns = {name: judging.distribution_rows(real, scans, 5, 0) for name, scans in (("a", flat), ("b", alike))}
    lines = side_by_side(columns)
    (sphericity,) = (line for line in lines if line.startswith("sphericity"))
    assert sphericity.split().index("NO") < sphericity.split().index("yes")


def test_the_figure_is_drawn(real, flat, tmp_path):
    rows = [Yardstick(f"AUC flair, {name}", 0.8, worst_real=0.6, error=0.05) for name in ("logistic", "forest")]
    columns = {"flat": rows}
    judge_figure.draw(real, {"flat": flat}, columns, CHANNELS, tmp_path / "found.png", 5)
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_does_without_images_and_places(real, tmp_path):
    bare = [replace(scan, features=None, points_mm=None) for scan in real]
    judge_figure.draw(bare, {"same": bare}, {"same": []}, (), tmp_path / "found.svg", 5)
    assert b"<svg" in (tmp_path / "found.svg").read_bytes()


def test_voxels_of_another_size_are_warned_of(real, real_folder):
    one = find_generated("made", real_folder, find_real(real_folder), "new")
    coarse = [replace(scan, spacing_mm=(1.0, 1.0, 3.0)) for scan in real]
    assert "voxels of other sizes" in "\n".join(heading([one], Measured(real, {"made": coarse}, ())))
    assert "voxels of other sizes" not in "\n".join(heading([one], Measured(real, {"made": real}, ())))


def test_a_case_on_another_grid_than_its_host_is_refused(patients, real_folder, tmp_path):
    cut = [
        Patient(
            one.name,
            {channel: image[:-1] for channel, image in one.images.items()},
            one.brain[:-1],
            one.lesions[:-1],
            one.affine,
        )
        for one in patients[:1]
    ]
    root = write_generated(tmp_path, [(cut[0], cut[0])], new_only=False)
    with pytest.raises(LesionAugError, match="Expected images of one shape"):
        measured(root, real_folder)


@pytest.mark.slow
def test_the_command_judges_two_methods_and_writes_everything(patients, real_folder, tmp_path, capsys):
    made = [(one, again(one, 400 + seed)) for seed, one in enumerate(patients[:2])]
    root, output, figure = write_generated(tmp_path / "made", made), tmp_path / "o.json", tmp_path / "o.png"
    main(
        [str(x) for x in (f"a={root}", f"b={real_folder}", "--reference", real_folder, "--output", output)]
        + ["--figure", str(figure), "--splits", "4"]
    )
    found = json.loads(output.read_text())
    assert (found["benchmark"], found["version"]) == ("realism judge", 1)
    assert set(found["columns"]) == {"a", "b"}
    assert {row["name"] for row in found["columns"]["a"]} > {"volume KS", "AUC flair, forest, in host"}
    assert str(tmp_path) not in output.read_text()
    assert figure.stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "compared in the host" in said
    assert "WARNING: not made from the real scans" in said


@pytest.mark.slow
def test_what_lesionaug_generates_is_the_same_in_each_of_its_layouts(tmp_path, monkeypatch):
    root = write_folders(tmp_path / "real", [made_patient(seed, f"P0{seed}", cortex=6) for seed in (0, 1)])
    found = []
    # Made patients are balls, which rightly fit no atlas; here that does not matter.
    monkeypatch.setattr("lesionaug.anatomy.images.check_fit", lambda fit: None)
    for layout, labels in (("folders", "--new-only"), ("nnunet", "--instances"), ("bids", "--instances")):
        words = ("--output-layout", layout, labels, "--model", "parametric", "--num-lesions", "6", "--no-gate")
        assert generate(["generate", str(root), "--output", str(tmp_path / layout), *words]) == 0
        found.append(measured(tmp_path / layout, root))
    for one, *others in zip(*found, strict=True):
        assert len(one.volumes_mm3) > 0
        for other in others:
            np.testing.assert_array_equal(one.volumes_mm3, other.volumes_mm3)
            np.testing.assert_array_equal(one.features, other.features)
            np.testing.assert_array_equal(one.points_mm, other.points_mm)
