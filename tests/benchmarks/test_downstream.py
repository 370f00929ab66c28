"""Arms train alike, results are kept one by one, and statistics say what can be said."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from scans import small_scan

from benchmarks.downstream.__main__ import PROTOCOLS
from benchmarks.downstream.arms import ARMS, Arm, Lesions, Phase, all_arms, chosen_arms
from benchmarks.downstream.cases import Case, Cohort, Fold, drawn_patients, draws_of, leave_one_patient_out
from benchmarks.downstream.changes import applied, carve_and_mix, difference, unchanged
from benchmarks.downstream.patches import Ready
from benchmarks.downstream.quick import Quick, batches, network, phases_of, predicted, trained
from benchmarks.downstream.report import Report, draw_table
from benchmarks.downstream.runs import Ledger, Run, part_of, planned, read_results
from benchmarks.downstream.scores import scores
from benchmarks.downstream.study import Study
from lesionaug.errors import LesionAugError

PROJECT = Path(__file__).parents[2]
SMALL = Quick(steps=4, batch=2, patch=16, filters=(4, 4, 8), refresh=2)
LESIONS = Lesions(model="parametric", num_lesions=(1, 2), variants=2, bank=4, probability=1.0, gate=False)


def small_case(name: str, seed: int, *, lesions: bool = True) -> Case:
    scan = small_scan(seed, shape=(48, 48, 48))
    place = torch.zeros_like(scan.lesion_mask)
    place[0, 20:26, 18 + seed : 24 + seed, 20:25] = lesions
    scan = replace(scan, image=scan.image + 150 * place, lesion_mask=place)
    return Case(name, name.split("_")[0], replace(scan, eligible=(scan.brain & ~place).float()), np.eye(4))


@pytest.fixture(scope="module")
def cohort():
    names = ("a_T1", "a_T2", "b", "c", "d")
    cases = {name: small_case(name, seed) for seed, name in enumerate(names)}
    cases |= {name: small_case(name, 7, lesions=False) for name in ("host", "well")}
    patients = {name: cases[name].patient for name in names}
    fold = Fold("all", ("a_T1", "a_T2", "b"), ("c", "d"))
    return Cohort("phantoms", cases.__getitem__, patients, (fold,), ("host",), ("well",))


@pytest.fixture(scope="module")
def finished(cohort, tmp_path_factory):
    study = Study(
        tmp_path_factory.mktemp("study"), ("none", "copy_paste", "lesionaug"), (2,), (0,), (0, 1), LESIONS, quick=SMALL
    )
    study.run(cohort, {"seed": 0})
    return study


def test_no_patient_is_trained_on_and_tested():
    patients = {"a_T1": "a", "a_T2": "a", "b": "b"}
    for fold in leave_one_patient_out(patients):
        assert not {patients[name] for name in fold.pool} & {patients[name] for name in fold.test}
    with pytest.raises(LesionAugError, match="other patients to test"):
        Cohort("leaky", dict, patients, (Fold("all", ("a_T1", "b"), ("a_T2",)),))
    with pytest.raises(LesionAugError, match="other healthy scans"):
        Cohort("leaky", dict, patients, (), ("x",), ("x",))


def test_patients_come_with_all_their_time_points(cohort):
    fold = cohort.folds[0]
    for draw in range(2):
        one = drawn_patients(fold, cohort.patients, 1, draw)
        assert ("a_T1" in one) == ("a_T2" in one)
    assert set(drawn_patients(fold, cohort.patients, 2, 0)) == {"a_T1", "a_T2", "b"}
    with pytest.raises(LesionAugError, match="1 to 2 patients"):
        drawn_patients(fold, cohort.patients, 3, 0)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_draws_are_nested_and_none_is_another_one_again(count):
    patients = {f"p{n}": f"p{n}" for n in range(6)}
    fold = Fold("all", ("p0", "p1", "p2", "p3", "p4"), ("p5",))
    drawn = {drawn_patients(fold, patients, count, draw) for draw in range(draws_of(5, count))}
    assert len(drawn) == (1 if count == 5 else 5)
    if count in (2, 4):
        fewer = [drawn_patients(fold, patients, count - 1, draw) for draw in range(5)]
        assert all(set(fewer[draw]) < set(drawn_patients(fold, patients, count, draw)) for draw in range(5))
    with pytest.raises(LesionAugError, match="the same patients again"):
        drawn_patients(fold, patients, count, draws_of(5, count))
    cohort = Cohort("five", dict, patients, (fold,))
    assert len({run.draw for run in planned(("none",), cohort, (count,), range(9), (0,))}) == len(drawn)


def test_carvemix_is_left_out_where_there_is_nobody_to_mix_with(cohort, tmp_path, capsys):
    study = Study(tmp_path, ("none", "carvemix"), (1, 2), (0, 1), (0,), LESIONS)
    runs = study.possible_runs(cohort)
    assert {run.patients for run in runs if run.arm == "carvemix"} == {2}
    assert {run.patients for run in runs if run.arm == "none"} == {1, 2}
    assert "left out with one patient: carvemix" in capsys.readouterr().err
    with pytest.raises(LesionAugError, match="two or more patients"):
        carve_and_mix(cohort.load("b"), cohort.cases(("b",)), np.random.default_rng(0))


def test_carvemix_wants_scans_in_one_space(cohort):
    moved = replace(cohort.load("b"), affine=np.eye(4) + np.eye(4, k=3) * 5)
    with pytest.raises(LesionAugError, match="one space"):
        carve_and_mix(cohort.load("a_T1"), (cohort.load("a_T1"), moved), np.random.default_rng(0))


def test_an_empty_reference_is_found_before_a_network_is_trained(cohort, tmp_path):
    fold = Fold("all", ("a_T1",), ("host",))
    empty = replace(cohort, patients={"a_T1": "a", "host": "h"}, folds=(fold,), healthy_hosts=())
    study = Study(tmp_path / "study", ("none",), (1,), (0,), (0,), LESIONS, quick=replace(SMALL, steps=10**9))
    with pytest.raises(LesionAugError, match="got none in host"):
        study.run(empty, {})


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_makes_as_many_batches_and_harms_no_case(cohort, tmp_path, name):
    arm, cases, hosts = all_arms(LESIONS, tmp_path)[name], cohort.cases(("a_T1", "b")), cohort.cases(("host",))
    before = [case.scan.image.clone() for case in (*cases, *hosts)]
    made = list(batches(arm, cases, hosts, SMALL, seed=3))
    assert [image.shape for image, _ in made] == [(2, 2, 16, 16, 16)] * SMALL.steps
    assert all(torch.equal(a, case.scan.image) for a, case in zip(before, (*cases, *hosts), strict=True))
    again = list(batches(arm, cases, hosts, SMALL, seed=3))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(made, again, strict=True))
    assert any(label.any() for _, label in made)


def test_arms_differ_by_their_lesions_alone(cohort, tmp_path):
    """The baseline's patches are those of an arm whose change changes nothing, whatever it draws meanwhile."""

    def wasteful(case, cases, rng):
        rng.random(1000)
        return case.scan

    cases = cohort.cases(("a_T1", "b"))
    made = [list(batches(Arm((Phase(change),)), cases, (), SMALL, seed=1)) for change in (unchanged, wasteful)]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(*made, strict=True))


def test_phases_share_the_steps(tmp_path):
    arm = all_arms(Lesions(pretrain=0.25), tmp_path)["pretrain"]
    assert [phase.hosts for phase in phases_of(arm, 8)] == ["healthy"] * 2 + ["patients"] * 6


def test_a_network_depends_on_its_seed_alone(cohort, tmp_path):
    arm, cases = all_arms(LESIONS, tmp_path)["none"], cohort.cases(("a_T1", "b"))
    masks = [predicted(trained(arm, cases, (), SMALL, seed)[0], cases[0], SMALL) for seed in (0, 0, 1)]
    assert np.array_equal(masks[0], masks[1])
    assert not (masks[0] & ~cases[0].scan.brain[0].numpy()).any()
    losses = [trained(arm, cases, (), SMALL, seed)[1] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_patches_have_the_lesion_where_the_scan_has_it(cohort):
    case = cohort.load("b")
    ready, rng = Ready.of(case.scan, 16), np.random.default_rng(0)
    drawn = [ready.draw(rng) for _ in range(40)]
    shares = np.mean([patch["label"].any().item() for patch in drawn])
    assert shares >= 0.4
    inside = torch.cat([patch["image"][0][patch["label"][0] > 0] for patch in drawn])
    assert inside.mean() > 3


def test_variants_are_rendered_once_and_read_with_the_same_bits(cohort, tmp_path):
    case, kept = cohort.load("b"), LESIONS.kept(tmp_path)
    first = kept.variant(case, 0)
    assert torch.equal(first.image, kept.variant(case, 0).image)
    assert not torch.equal(first.image, kept.variant(case, 1).image)
    again = applied(case.scan, difference(case.scan, first))
    assert torch.equal(again.image, first.image)
    assert torch.equal(again.lesion_mask, first.lesion_mask)
    assert (first.lesion_mask & ~case.scan.lesion_mask).any()


def test_arms_share_their_plans_and_nothing_else(cohort, tmp_path):
    """Ellipsoids have no halo: asked for one, or for another number of calls, they are the same, rendered again."""
    case, arms = cohort.load("b"), [all_arms(lesions, tmp_path) for lesions in (LESIONS, replace(LESIONS, num_steps=2))]
    kept = [arm[name].phases[0].change.change for arm in arms for name in ("lesionaug", "lesionaug_halo")]
    changes = [each.change_of(case, 0) for each in kept]
    assert all(np.array_equal(change.lesions, changes[0].lesions) for change in changes)
    assert len({json.dumps(each.identity(), sort_keys=True) for each in kept}) == 4
    assert not np.array_equal(kept[0].change_of(case, 1).lesions, changes[0].lesions)
    assert not np.array_equal(kept[0].change_of(cohort.load("c"), 0).lesions, changes[0].lesions)


def test_what_networks_saw_is_kept(finished, cohort):
    for record in read_results(finished.output)["records"]:
        run = Run(**record["run"])
        with np.load(finished.output / "masks" / f"{run.name}.npz") as kept:
            assert set(kept) == {*record["cases"], *record["healthy"]}
            real = cohort.load("c").scan.lesion_mask[0].numpy()
            assert scores(kept["c"], real, (1.0, 1.0, 1.0))["dice"] == record["cases"]["c"]["dice"]
            net = network(len(cohort.load("c").scan.channels), SMALL)
            net.load_state_dict(torch.load(finished.output / "networks" / f"{run.name}.pt"))
            assert np.array_equal(predicted(net.eval(), cohort.load("c"), SMALL), kept["c"])


def test_a_study_goes_on_with_what_is_missing(finished, cohort, capsys):
    files = sorted((finished.output / "runs").iterdir())
    assert len(files) == 6
    removed = files.pop(3)
    kept, lost = [file.stat().st_mtime_ns for file in files], json.loads(removed.read_text())
    removed.unlink()
    capsys.readouterr()
    finished.run(cohort, {"seed": 0})
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert json.loads(removed.read_text())["cases"] == lost["cases"]
    assert [file.stat().st_mtime_ns for file in files] == kept


def test_only_what_synthetic_lesions_were_in_is_run_again_for_another_generator(finished, cohort, capsys):
    other = replace(finished, lesions=replace(LESIONS, num_steps=2))
    folds = {arm: Run(arm, "all", 2, 0, 0) for arm in ("none", "copy_paste", "lesionaug")}
    changed = {
        arm for arm, run in folds.items() if finished.generator_of(cohort, run) != other.generator_of(cohort, run)
    }
    assert changed == {"lesionaug"}
    ledger = Ledger(other.output, other.about(cohort, {"seed": 0}), partial(other.generator_of, cohort))
    assert list(ledger.missing(list(folds.values()))) == [folds["lesionaug"]]
    assert all(record["commit"] for record in read_results(finished.output)["records"])


def test_lesions_of_two_generators_in_one_arm_are_refused(finished, tmp_path):
    shutil.copytree(finished.output, tmp_path / "study")
    file = next((tmp_path / "study" / "runs").glob("lesionaug-*.json"))
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "generator": {"version": 0}}))
    with pytest.raises(LesionAugError, match="one generator in all runs of lesionaug"):
        read_results(tmp_path / "study")


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_is_for_processors_that_have_it(monkeypatch, has):
    monkeypatch.setattr("benchmarks.downstream.quick.has_bfloat16", lambda device: has)
    assert Quick().settled.precision == ("bfloat16" if has else "single")
    assert all(replace(SMALL, precision=asked).settled.precision == asked for asked in ("single", "bfloat16"))


def test_each_ablation_spoils_one_thing(tmp_path):
    """Beside `lesionaug`, the generator or the probability is another one, never both."""
    arms = all_arms(replace(LESIONS, model="default", probability=0.5), tmp_path)
    usual = arms["lesionaug"]
    others = ("lesionaug_live", "lesionaug_halo", "lesionaug_adaptive")
    names = [name for name in arms if name.startswith("lesionaug_") and not name.startswith(others)]
    assert len(names) == 9
    for name in names:
        rate = arms[name].phases[0].change.probability != usual.phases[0].change.probability
        assert (arms[name].generator != usual.generator) != rate, name


def test_another_study_is_not_mixed_in(finished, cohort):
    with pytest.raises(LesionAugError, match="got those of another"):
        replace(finished, quick=replace(SMALL, steps=5)).run(cohort, {"seed": 0})


def test_parts_are_all_runs_once(cohort):
    runs = planned(("none", "heavy"), cohort, (1, 2), (0, 1, 2), (0,))
    parts = [part_of(runs, part, 5) for part in range(5)]
    assert sorted((run for part in parts for run in part), key=repr) == sorted(runs, key=repr)
    with pytest.raises(LesionAugError, match="part from 0 to 4"):
        part_of(runs, 5, 5)


def test_a_report_has_every_arm_and_survives_as_one_file(finished, tmp_path, capsys):
    Report(finished.output, tmp_path / "results.json").run()
    printed = capsys.readouterr().out
    assert "| lesionaug - none |" in printed.replace("dice | ", "| ")
    assert "| lesionaug - copy_paste |" in printed.replace("dice | ", "| ")
    Report(tmp_path / "results.json").run()
    assert capsys.readouterr().out == printed


def test_results_of_another_version_are_refused(finished, tmp_path):
    Report(finished.output, tmp_path / "results.json").run()
    found = json.loads((tmp_path / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({**found, "version": 0}))
    with pytest.raises(LesionAugError, match="version 2, got 0"):
        read_results(tmp_path / "results.json")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(LesionAugError, match="as JSON"):
        read_results(tmp_path / "results.json")
    with pytest.raises(LesionAugError, match=r"study\.json"):
        read_results(tmp_path)
    Ledger(tmp_path, {"cohort": "x"}).open()
    with pytest.raises(LesionAugError, match="got none yet"):
        read_results(tmp_path)


def test_arms_that_cannot_be_are_refused(cohort, tmp_path):
    with pytest.raises(LesionAugError, match="arm among"):
        chosen_arms(("magic",), LESIONS, tmp_path)
    study = Study(tmp_path / "study", ("synthetic_only",), (1,), lesions=LESIONS, quick=SMALL)
    with pytest.raises(LesionAugError, match="healthy scans to train on for synthetic_only"):
        study.run(replace(cohort, healthy_hosts=()), {})
    assert not (tmp_path / "study").exists()
    with pytest.raises(LesionAugError, match="levels can halve"):
        Quick(patch=18)
    with pytest.raises(LesionAugError, match="probability"):
        Lesions(probability=0)


def test_generators_are_those_of_the_fold_that_is_tested(tmp_path):
    lesions = Lesions(lefusion="runs/{fold}/model", prior=Path("{fold}.json"))
    arms = {name: all_arms(lesions.in_fold(name), tmp_path) for name in ("a", "b")}
    made = [arms[name]["lesionaug_live"].phases[0].change.change for name in ("a", "b")]
    assert [new.models.lefusion for new in made] == ["runs/a/model", "runs/b/model"]
    assert [new.prior for new in made] == [Path("a.json"), Path("b.json")]
    assert Lesions().in_fold("a") == Lesions()


@pytest.mark.slow
def test_the_smoke_protocol_trains_and_is_reported(shared, tmp_path):
    def called(module, *arguments):
        environment = {**os.environ, "LESIONAUG_SHARED": str(shared), "OMP_NUM_THREADS": "1"}
        program = [sys.executable, "-m", f"benchmarks.downstream{module}", *arguments]
        return subprocess.run(program, env=environment, cwd=PROJECT, check=True, capture_output=True, text=True).stdout

    study, file = tmp_path / "study", tmp_path / "downstream.json"
    assert called("", "smoke", "--study.output", str(study)).count("Dice") == len(PROTOCOLS["smoke"].study.arms)
    assert "Dice" not in called("", "smoke", "--study.output", str(study)), "what is done is not done again"
    page = called(".report", str(study), "--output", str(file))
    assert all(f"| {arm} | 1 |" in page for arm in PROTOCOLS["smoke"].study.arms)
    assert "claim nothing" in page
    assert read_results(file)["about"]["engine"]["name"] == "quick"


def test_draws_are_listed_by_what_there_was_to_learn_from(finished):
    lines = draw_table(read_results(finished.output)["records"])
    assert lines[0].startswith("| real lesions trained on | Dice, none | Dice, copy_paste | Dice, lesionaug |")
    assert len(lines) == 3, "two seeds of one draw share a line"
    assert lines[2].startswith("| 3 (")
