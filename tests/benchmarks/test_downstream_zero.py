"""Networks of nearly healthy hosts are tested on other patients, on their own grid, and a patient counts once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("monai", reason="the downstream benchmark needs MONAI")

from benchmarks.downstream.__main__ import PROTOCOLS, main
from benchmarks.downstream.cases import Case
from benchmarks.downstream.files import case_of_host
from benchmarks.downstream.patches import network_input
from benchmarks.downstream.quick import Quick, predicted, resampled, shape_on_grid
from benchmarks.downstream.runs import write_json
from benchmarks.downstream.zero import THICK, Hosts, Table, over_patients, page, patients_in, small_recall, zero_cohort
from benchmarks.realism.hosts import HostScan
from lesionaug.anatomy import Anatomy
from lesionaug.assemble import assemble_scan
from lesionaug.errors import LesionAugError

SINGLE = Quick(precision="single", grid_mm=1.0)


class AboveThree(torch.nn.Module):
    """Looks at each voxel alone."""

    shown: tuple[int, ...] = ()

    def forward(self, image):
        self.shown = tuple(image.shape[2:])
        return image - 3


@pytest.fixture
def thick_case():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(100, 20, (1, 24, 28, 6)).astype(np.float32))
    brain = torch.zeros(1, 24, 28, 6, dtype=torch.bool)
    brain[:, 4:20, 4:24, 1:5] = True
    anatomy = Anatomy(brain, brain.float(), torch.zeros_like(brain, dtype=torch.uint8))
    image[0, 8:12, 8:12, 2] = 300
    affine = np.diag([1.0, 1.0, 7.0, 1.0])
    return Case("thick", "thick", assemble_scan({"flair": image}, affine, image > 250, anatomy=anatomy), affine)


def test_what_is_seen_at_a_slice_is_what_was_shown_of_it(thick_case):
    """Slices of an odd number of millimetres have their middles on the grid, so nothing is lost both ways."""
    net = AboveThree()
    found = predicted(net, thick_case, SINGLE)
    assert net.shown[2] >= 4 * 7, "four slices of brain at 7 mm"
    expected = (network_input(thick_case.scan)[0] > 3) & thick_case.scan.brain[0]
    assert found.any()
    assert np.array_equal(found, expected.numpy())


def test_without_a_grid_or_on_it_networks_see_voxels_as_they_are(thick_case):
    net = AboveThree()
    predicted(net, thick_case, replace(SINGLE, grid_mm=None))
    assert net.shown == (16, 20, 4)
    image = torch.rand(1, 1, 5, 6, 7)
    assert resampled(image, (5, 6, 7)) is image
    assert shape_on_grid((182, 218, 182), (1.00000002, 1.0, 0.9999999), 1.0) == (182, 218, 182)
    assert shape_on_grid((256, 256, 20), (0.9, 0.9, 6.8), 1.0) == (230, 230, 136)
    assert resampled(torch.full((1, 1, 3, 4, 5), 7.0), (3, 8, 2)).unique().tolist() == [7.0]


def test_no_patient_is_trained_on_and_tested_and_two_names_are_one_person():
    cohort = zero_cohort(Hosts())
    assert cohort.patients["ms3_11"] == cohort.patients["ms3_14"]
    assert len({cohort.patients[name] for name in cohort.folds[0].test}) == 11
    with pytest.raises(LesionAugError, match="got P14 in both"):
        zero_cohort(Hosts(hosts=("P14_T4",)))
    with pytest.raises(LesionAugError, match="got ms3_11 in both"):
        zero_cohort(Hosts(hosts=("ms3_14",), test=("ms3_11",)))


def test_a_tested_scan_keeps_its_own_brain_however_little_it_is_one():
    """Half a box of noise fits no atlas, and need not."""
    rng = np.random.default_rng(1)
    brain = np.zeros((20, 22, 8), bool)
    brain[2:10, 3:20, 1:7] = True
    lesions = np.zeros_like(brain)
    lesions[4, 5, 3] = True
    affine = np.diag([-1.0, -1.0, 6.0, 1.0])
    host = HostScan("x", {"flair": rng.random(brain.shape).astype(np.float32)}, brain, lesions, affine)
    case = case_of_host(host, only_tested=True)
    assert np.array_equal(case.scan.brain[0].numpy(), brain[::-1, ::-1])
    assert np.array_equal(case.scan.lesion_mask[0].numpy(), lesions[::-1, ::-1])
    with pytest.raises(LesionAugError):
        case_of_host(host)


def result(patient: str, value: float, found: int = 0, real: int = 0) -> dict:
    sizes = {"3-10": [5, 5], "10-50": [found, real], "50-100": [0, 0], "100-500": [7, 7], ">500": [0, 0]}
    return {"patient": patient, "by_size": sizes, **dict.fromkeys(("dice", "f1", "precision", "recall"), value)}


def record(arm: str, seed: int, value: float) -> dict:
    cases = {
        "patient19": result("patient19", value, 1, 2),
        "ms3_01": result("ms3_01", 0.25),
        "ms3_03": result("x", 0.75),
    }
    cases |= {f"P14_T{n}": result("P14", 0.0, n, 4) for n in (1, 2, 3)}
    return {"run": {"arm": arm, "fold": "all", "patients": 3, "draw": 0, "seed": seed}, "cases": cases}


def test_a_patient_counts_once_and_only_lesions_that_exist_are_missed():
    patients = patients_in(record("none", 0, 1.0)["cases"], "1 mm")
    assert {name: len(cases) for name, cases in patients.items()} == {"patient19": 1, "P14": 3}
    assert over_patients(patients, lambda cases: np.mean([case["dice"] for case in cases])) == 0.5
    assert over_patients(patients, small_recall) == (1 / 2 + 6 / 12) / 2
    assert small_recall([result("x", 1.0)]) is None
    thick = patients_in({name: result(name, 0.0) for name in THICK}, "thick slices")
    assert "ms3_03" not in thick
    assert len(thick) == 5


def test_the_table_has_the_seeds_that_all_arms_have(tmp_path, capsys):
    records = [record("none", 0, 0.5), record("none", 1, 0.9), record("none", 2, 0.0)]
    records += [record("lesionaug_halo", seed, 0.7) for seed in (0, 1)]
    lines = page(records)
    assert "| 1 mm | none | 2 | 0.35 (0.25 to 0.45) |" in "\n".join(lines)
    assert "| thick slices, skull left | lesionaug_halo | 2 | 0.75 (0.75 to 0.75) |" in "\n".join(lines)
    write_json(tmp_path / "zero.json", {"version": 2, "records": records})
    Table(tmp_path / "zero.json").run()
    assert capsys.readouterr().out.splitlines() == lines


def test_seeds_of_all_arms_come_before_the_next_seed(capsys):
    main(["zero", "--study.dry-run"])
    arms, runs = PROTOCOLS["zero"].study.arms, capsys.readouterr().out.split()
    assert runs == [f"{arm}-all-n3-d0-s{seed}" for seed in range(3) for arm in arms]
