"""The demo and its picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scan_files import call, content, phantom, stored

from lesionaug.assemble import assemble_scan
from lesionaug.demo import joined, simulated_flair
from lesionaug.preview import save_preview
from lesionaug.record import Record
from lesionaug.scan import LesionPlan, LesionSpec

FEW = ("--num-lesions", 3, "--no-halo", "--no-gate")


def test_demo_writes_a_brain_with_lesions(tmp_path, capsys):
    outcome = call(capsys, "demo", "--output", tmp_path / "demo", "--model", "parametric", "--no-halo")
    assert outcome.code == 0, outcome.err
    planned = LesionPlan.from_dict(Record.read(tmp_path / "demo" / "plan.json").plan)
    assert len(planned) == 12
    assert sum(spec.diameter_mm >= 7 for spec in planned) >= 5
    assert len(outcome.out.splitlines()) in (5, 6)
    assert "simulated" in outcome.out
    images = {"flair.nii.gz", "t1w.nii.gz"}
    written = {"lesion.nii.gz", "plan.json", "preview.png"}
    assert set(content(tmp_path / "demo")) == images | written | {f"before/{name}" for name in images}
    label = stored(tmp_path / "demo" / "lesion.nii.gz") != 0
    before, after = (stored(folder / "flair.nii.gz") for folder in (tmp_path / "demo" / "before", tmp_path / "demo"))
    assert label.any()
    assert np.array_equal(before[~label], after[~label])
    assert after[label].mean() > 1.1 * before[label].mean()


@pytest.mark.slow
def test_demo_replays_from_wherever_it_was_moved(tmp_path, capsys):
    assert call(capsys, "demo", "--output", tmp_path / "demo", "--model", "parametric", *FEW).code == 0
    (tmp_path / "demo").rename(tmp_path / "moved")
    outcome = call(capsys, "replay", tmp_path / "moved" / "plan.json", "--output", tmp_path / "again")
    assert outcome.code == 0, outcome.err
    for name in ("flair.nii.gz", "t1w.nii.gz", "lesion.nii.gz"):
        assert (tmp_path / "moved" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert call(capsys, "replay", tmp_path / "again" / "plan.json").code == 0


def test_of_two_plans_all_of_the_first_is_taken_and_what_is_clear_of_it():
    def planned(*places: int) -> LesionPlan:
        return LesionPlan(tuple(LesionSpec((0, 0, place), 4.0, 6.0, (("flair", 1.0),), place) for place in places))

    first, rest = planned(10, 20), planned(1, 3, 5, 12, 25, 29, 40)
    assert [spec.seed for spec in joined(first, rest, (1.0, 1.0, 2.0), 9)] == [10, 20, 1, 3, 5, 25, 29, 40]
    assert [spec.seed for spec in joined(first, rest, (1.0, 1.0, 1.0), 9)] == [10, 20, 1, 3, 29, 40]
    assert [spec.seed for spec in joined(first, rest, (1.0, 1.0, 1.0), 3)] == [10, 20, 1]


def test_simulated_flair_has_dark_fluid_and_grey_above_white():
    brain = np.ones((12, 12, 12), bool)
    brain[0] = False
    grey, white = np.zeros((12, 12, 12)), np.zeros((12, 12, 12))
    grey[:, :4], white[:, 4:8] = 1, 1
    flair = simulated_flair(brain, grey, white)
    assert (flair[0] == 0).all()
    assert (flair[1:] > 0).all()
    assert flair[1:, :4].mean() > 1.1 * flair[1:, 4:8].mean() > 2 * flair[1:, 8:].mean()


def test_the_preview_shows_the_same_however_the_scan_is_stored(tmp_path):
    scan = phantom()
    image = torch.stack([scan.images["flair"], scan.images["t1w"]])
    flip = torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64)).numpy()
    flip[0, 3] = image.shape[1] - 1
    for name, turn, affine in (("a", lambda x: x, scan.affine), ("b", lambda x: x.flip(1), scan.affine @ flip)):
        before = assemble_scan(
            {"flair": turn(image)[:1], "t1w": turn(image)[1:]}, affine, torch.zeros_like(scan.lesion_mask)
        )
        after = replace(before, image=before.image * 1.1, lesion_mask=turn(scan.lesion_mask))
        save_preview(tmp_path / f"{name}.png", before, after, affine)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
