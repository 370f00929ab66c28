"""Bad input gets one line that says expected, got and remedy, and leaves nothing behind."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import torchio as tio
from scan_files import SHAPE, arguments, call, content, phantom, write_nifti, write_phantom

from lesionaug import SyntheticMSLesion
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.loaded import ModelChoice
from lesionaug.models import registry


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    return write_phantom(folder)


@dataclass(frozen=True)
class Damage:
    """What is done to one of the files, and what the message has to say."""

    name: str
    role: str
    do: Callable[[Path], object]
    says: str


def rewrite(change: Callable[[np.ndarray], np.ndarray], affine: Callable[[np.ndarray], np.ndarray] = lambda a: a):
    """Damage that keeps the file a NIfTI file."""

    def do(path: Path) -> None:
        image = nib.load(path)
        # Written field by field, because nibabel refuses to make some of these headers itself.
        written = nib.Nifti1Image(change(np.asarray(image.dataobj)), None)
        written.header.set_sform(affine(image.affine), code=1)
        written.header.set_qform(None, code=0)
        path.write_bytes(gzip.compress(written.to_bytes()))

    return do


def put(value: float):
    def change(data: np.ndarray) -> np.ndarray:
        data = data.astype(np.float32)
        data[25, 30, 25] = value
        return data

    return rewrite(change)


def same(data: np.ndarray) -> np.ndarray:
    return data


def scaled(factor: float):
    return rewrite(same, lambda a: a @ np.diag((factor, factor, factor, 1)))


def shifted(affine: np.ndarray) -> np.ndarray:
    moved = affine.copy()
    moved[0, 3] += 2
    return moved


def as_colors(path: Path) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, kind), np.eye(4)), path)


def as_mgh(path: Path) -> None:
    other = path.with_name("image.mgz")
    nib.save(nib.MGHImage(np.zeros(SHAPE, np.float32), np.eye(4)), other)
    path.write_bytes(other.read_bytes())
    other.unlink()


DAMAGES = [
    Damage("missing", "flair", Path.unlink, "Expected a NIfTI file, got no file"),
    Damage("text", "flair", lambda p: p.write_text("hello"), "Expected a readable NIfTI file"),
    Damage("no bytes", "flair", lambda p: p.write_bytes(b""), "Expected a readable NIfTI file"),
    Damage("truncated", "flair", lambda p: p.write_bytes(p.read_bytes()[:5000]), "Expected a readable NIfTI file"),
    Damage(
        "flipped bytes",
        "flair",
        lambda p: p.write_bytes(p.read_bytes()[:-8] + bytes(8)),
        "Expected a readable NIfTI file",
    ),
    Damage("other format", "flair", as_mgh, "Expected a readable NIfTI file"),
    Damage("colours", "flair", as_colors, "Expected real numbers"),
    Damage(
        "4-D", "flair", rewrite(lambda d: np.stack([d, d], -1)), r"Expected a 3-D image, got 4-D \(50 x 60 x 50 x 2\)"
    ),
    Damage("2-D", "flair", rewrite(lambda d: d[0]), "Expected a 3-D image, got 2-D"),
    Damage("NaN", "flair", put(np.nan), "Expected finite intensities, got 1 voxels"),
    Damage("infinite", "t1w", put(-np.inf), "Expected finite intensities, got 1 voxels"),
    Damage("constant", "flair", rewrite(lambda d: d * 0 + 7), "got a constant image \\(all 7\\)"),
    Damage("empty", "t1w", rewrite(np.zeros_like), "got a constant image \\(all 0\\)"),
    Damage("other shape", "t1w", rewrite(lambda d: d[1:]), "got 49 x 60 x 50 in .*t1w_scan.* and 50 x 60 x 50"),
    Damage("label of other shape", "lesions", rewrite(lambda d: d[:, :-2]), "got 50 x 58 x 50 in .*old"),
    Damage("label of other affine", "lesions", rewrite(same, shifted), "got affines up to 2 mm apart"),
    Damage("three labels", "lesions", rewrite(lambda d: d + (d.cumsum(0) > 2)), "Expected a binary label, .*got 1, 2"),
    Damage(
        "soft label", "lesions", rewrite(lambda d: d * np.linspace(0, 1, 50, dtype="f4")), "Expected a binary label"
    ),
    Damage("half a label", "lesions", rewrite(lambda d: d * np.float32(0.5)), "Expected a binary label.*got 0.5 in"),
    Damage("singular affine", "flair", rewrite(same, lambda a: a * [[0], [1], [1], [1]]), "Expected an affine that"),
    Damage("NaN in affine", "flair", rewrite(same, lambda a: a * np.nan), "Expected an affine that"),
    Damage("coarse", "flair", scaled(4), "spacing from 0.4 to 10.0 mm, got 12 x 12 x 12 mm"),
    Damage("fine", "flair", scaled(0.1), "spacing from 0.4 to 10.0 mm, got 0.3 x 0.3 x 0.3 mm"),
    Damage("nowhere", "eligible", rewrite(np.zeros_like), "got no voxel where a lesion may be"),
    Damage("negative map", "eligible", rewrite(lambda d: d * -1.0), "Expected an eligible map of finite values"),
    Damage("NaN in map", "eligible", put(np.nan), "Expected an eligible map of finite values"),
    Damage("map of other shape", "eligible", rewrite(lambda d: d[:9]), "Expected images of one shape"),
    Damage("labels of nothing", "labels", rewrite(np.zeros_like), "Expected"),
]


def check_refused(outcome, says: str) -> None:
    """One line, the right one, and the exit code of a user's mistake."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("lesionaug: error: Expected ")
    assert "; " in line, "a remedy"
    assert re.search(says, line), line


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damaged_files(damage, paths, tmp_path, capsys):
    scan = phantom()
    white = np.isin(scan.labels, (2, 41)).astype(np.float32)
    extra = {"eligible": white, "labels": scan.labels}
    if damage.role in extra:
        paths[damage.role] = write_nifti(tmp_path / "scan" / "extra.nii.gz", extra[damage.role], scan.affine)
    damage.do(paths[damage.role])
    before = content(tmp_path)
    check_refused(call(capsys, *arguments(paths, tmp_path / "new" / "out")), damage.says)
    assert content(tmp_path) == before
    assert not (tmp_path / "new").exists()


REQUESTS = {
    "unknown model": (["--model", "best"], "Expected a model among default, parametric, got 'best'"),
    "unknown region": (["--regions", "pons"], "Expected regions among periventricular, .*got pons"),
    "no such weights": (["--diffmask", "nowhere"], "Expected a model .*nowhere"),
    "no such prior": (["--prior", "nowhere.json"], "Expected a prior at .*nowhere.json"),
    "no such device": (["--device", "abacus"], "Expected a device of this machine.*, got 'abacus'"),
    "no steps": (["--num-steps", "0"], "Expected num_steps of 1 or more, got 0"),
    "number and load": (["--num-lesions", "3", "--load-ml", "2"], "Expected num_lesions or load_ml, got both"),
    "less than none": (["--num-lesions", "-1"], "Expected num_lesions 0 or more"),
    "more than anybody has": (["--load-ml", "500"], "Expected load_ml above 0 and up to 150 .*got 500"),
    "a range of too much": (["--load-ml", "5", "200"], "Expected load_ml above 0 and up to 150 .*got \\(5.0, 200.0"),
    "sizes upside down": (["--diameter-mm", "9", "3"], "Expected diameter_mm"),
}


@pytest.mark.parametrize(("more", "says"), REQUESTS.values(), ids=REQUESTS)
def test_requests_that_cannot_be_met(more, says, paths, tmp_path, capsys):
    before = content(tmp_path)
    check_refused(call(capsys, *arguments(paths, tmp_path / "out", *more)), says)
    assert content(tmp_path) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu_where_one_was_asked_for(paths, tmp_path, capsys):
    outcome = call(capsys, *arguments(paths, tmp_path / "out", "--device", "cuda"))
    check_refused(outcome, "Expected a device of this machine.*, got 'cuda'")
    assert not (tmp_path / "out").exists()


def test_missing_weights(paths, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(registry.PACKAGED, "default", {job: tmp_path / job for job in ("diffmask", "lefusion")})
    outcome = call(capsys, *arguments(paths, tmp_path / "out")[:-2])  # without --model parametric
    check_refused(outcome, "the packaged weights are missing")
    assert not (tmp_path / "out").exists()


def test_no_image(tmp_path, capsys):
    check_refused(call(capsys, *arguments({}, tmp_path / "out")), "Expected at least one image, got none")


def output_below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "deep" / "out"


def output_is_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


def output_holds_files(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    return tmp_path / "out"


OUTPUTS = {
    "below a file": (output_below_a_file, "Expected an output folder that can be written"),
    "a file": (output_is_a_file, "Expected an output folder, got the file"),
    "not empty": (output_holds_files, "Expected an empty output folder, got files .*--overwrite"),
}


@pytest.mark.parametrize(("make", "says"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_that_cannot_be_written(make, says, paths, tmp_path, capsys):
    output = make(tmp_path)
    before = content(tmp_path)
    check_refused(call(capsys, *arguments(paths, output)), says)
    assert content(tmp_path) == before


def test_an_input_is_never_replaced(paths, capsys):
    folder = paths["flair"].parent
    clash = paths["flair"].rename(folder / "flair.nii.gz")
    before = content(folder)
    check_refused(
        call(capsys, *arguments({"flair": clash}, folder, "--overwrite")), "Expected inputs outside the output"
    )
    assert content(folder) == before


def test_a_failure_half_way_leaves_nothing(paths, tmp_path, capsys, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lesionaug.record.Record.to_json", full_disk)  # after the images were written
    outcome = call(capsys, *arguments(paths, tmp_path / "new" / "out", "--num-lesions", 1))
    assert outcome.code == 2
    assert "No space left on device" in outcome.err
    assert {path.name for path in tmp_path.iterdir()} == {"scan"}


PLANS = {
    "no file": (None, "got no readable file"),
    "text": ("hello", "Expected a plan.json written by lesionaug"),
    "a list": ("[]", "Expected a plan.json written by lesionaug"),
    "something else": ('{"format": 1}', "Expected a plan.json written by lesionaug"),
    "of the future": ('{"format": 99}', "Expected a plan of format 1"),
}


@pytest.mark.parametrize(("text", "says"), PLANS.values(), ids=PLANS)
def test_plans_that_are_none(text, says, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    if text is not None:
        plan.write_text(text)
    check_refused(call(capsys, "replay", plan, "--output", tmp_path / "out"), says)
    assert not (tmp_path / "out").exists()


def test_a_replay_of_another_scan_is_refused(paths, tmp_path, capsys):
    assert call(capsys, *arguments(paths, tmp_path / "out", "--num-lesions", 1)).code == 0
    put(3)(paths["flair"])
    check_refused(call(capsys, "replay", tmp_path / "out" / "plan.json"), "Expected the flair image .*got another")
    paths["flair"].unlink()
    check_refused(call(capsys, "replay", tmp_path / "out" / "plan.json"), "Expected the flair image .*got no file")


def test_a_replay_with_other_models_is_refused(paths, tmp_path, capsys):
    assert call(capsys, *arguments(paths, tmp_path / "out", "--num-lesions", 1)).code == 0
    plan = tmp_path / "out" / "plan.json"
    record = json.loads(plan.read_text())
    record["digests"]["lefusion"] = "0123"
    plan.write_text(json.dumps(record))
    outcome = call(capsys, "replay", plan, "--output", tmp_path / "again")
    check_refused(outcome, "Expected the models that the plan was made with")


def little_room() -> np.ndarray:
    """A few centimetres of white matter."""
    allowed = np.isin(phantom().labels, (2, 41)).astype(np.float32)
    allowed[:, :30] = allowed[:, 34:] = 0
    return allowed


def test_more_lesions_than_fit_are_placed_as_far_as_they_do_and_told(paths, tmp_path, capsys):
    paths["eligible"] = write_nifti(tmp_path / "here.nii.gz", little_room(), phantom().affine)
    outcome = call(capsys, *arguments(paths, tmp_path / "out", "--num-lesions", 400, "--diameter-mm", 6, 9))
    assert outcome.code == 0
    (line,) = outcome.err.splitlines()
    assert line.startswith("lesionaug: warning: ")
    placed = len(json.loads((tmp_path / "out" / "plan.json").read_text())["plan"]["lesions"])
    assert 0 < placed < 400
    assert "400" in line
    assert str(placed) in line


def test_unknown_commands_and_options(capsys):
    outcome = call(capsys, "paint")
    check_refused(outcome, "Expected a command among demo, synthesize, .*got 'paint'")
    outcome = call(capsys, "synthesize", "--flare", "x.nii.gz", "--output", "out")
    assert outcome.code == 2
    assert "--flair" in outcome.out + outcome.err


@pytest.fixture
def subject():
    scan = phantom()
    images = {name: tio.ScalarImage(tensor=scan.images[c][None], affine=scan.affine) for c, name in IMAGES.items()}
    label = tio.LabelMap(tensor=scan.lesion_mask.to(torch.uint8), affine=scan.affine)
    return tio.Subject(**images, lesion=label)


IMAGES = {"flair": "flair", "t1w": "t1"}


def replaced(name: str, change: Callable[[torch.Tensor], torch.Tensor], affine=lambda a: a):
    def do(subject: tio.Subject) -> None:
        image = subject[name]
        subject[name] = type(image)(tensor=change(image.data), affine=affine(image.affine))

    return do


def holed(data: torch.Tensor) -> torch.Tensor:
    data = data.clone()
    data[0, 25, 30, 25] = torch.nan
    return data


SUBJECTS = {
    "no image": (
        lambda s: s.remove_image("t1"),
        "Expected a scalar image 't1' \\(t1w\\) in the subject, got flair, lesion",
    ),
    "no label": (
        lambda s: s.remove_image("lesion"),
        "Expected a label 'lesion' in the subject, got flair, t1; .*label='...'.*create_label=True",
    ),
    "two volumes": (replaced("flair", lambda d: torch.cat([d, d])), "Expected a 3-D image, got 2 volumes in 'flair'"),
    "other shape": (replaced("t1", lambda d: d[:, 1:]), "Expected images of one shape, got 49 x 60 x 50"),
    "other affine": (replaced("lesion", lambda d: d, shifted), "Expected images on one grid"),
    "NaN": (replaced("flair", holed), "Expected finite intensities"),
    "constant": (replaced("t1", torch.zeros_like), "got a constant image"),
    "three labels": (replaced("lesion", lambda d: d + (d.cumsum(1) > 2)), "Expected a binary label"),
}


@pytest.mark.parametrize(("damage", "says"), SUBJECTS.values(), ids=SUBJECTS)
def test_damaged_subjects(damage, says, subject):
    damage(subject)
    before = {name: subject[name].data.clone() for name in subject.get_images_names()}
    with pytest.raises(LesionAugError, match=says):
        SyntheticMSLesion(model="parametric", num_lesions=1)(subject)
    assert all(torch.equal(subject[name].data, data) or data.isnan().any() for name, data in before.items())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"images": {"pd": "flair"}}, "Expected a channel among flair, t1w, t2w, got 'pd'"),
        ({"images": {}}, "Expected at least one image"),
        ({"model": "best"}, "Expected a model among default, parametric, got 'best'"),
        ({"regions": ["pons"]}, "Expected regions among"),
        ({"num_lesions": 2, "load_ml": 1.0}, "Expected num_lesions or load_ml, got both"),
        ({"num_steps": 0}, "Expected num_steps of 1 or more"),
    ],
)
def test_a_transform_that_cannot_work_is_not_made(settings, says):
    with pytest.raises(LesionAugError, match=says):
        SyntheticMSLesion(**settings)


def test_a_transform_that_looks_at_nothing_says_so(subject):
    with pytest.raises(LesionAugError, match="check include and exclude"):
        SyntheticMSLesion(model="parametric", exclude=["flair", "t1"])(subject)


def test_a_map_that_is_not_in_the_subject(subject):
    with pytest.raises(LesionAugError, match="Expected an image 'white' in the subject"):
        SyntheticMSLesion(model="parametric", eligible="white")(subject)


def test_more_lesions_than_fit_warn_in_the_transform(subject):
    room = tio.ScalarImage(tensor=torch.from_numpy(little_room())[None], affine=subject.flair.affine)
    subject.add_image(room, "room")
    with pytest.warns(LesionAugWarning, match="400"):
        SyntheticMSLesion(model="parametric", num_lesions=400, diameter_mm=(6, 9), eligible="room")(subject)


def test_choices_name_the_models_that_there_are():
    with pytest.raises(LesionAugError, match=", ".join(registry.NAMES)):
        ModelChoice("better")
