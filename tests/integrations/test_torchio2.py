"""The transform for TorchIO 2 adds lesions to subjects and batches, and they are those of TorchIO 1.x.

Run in an environment of its own: make test-torchio2.
"""

import copy
import json
import os
import pickle
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import brain_phantom

if int(version("torchio").split(".")[0]) < 2:
    pytest.skip("TorchIO 1.x is installed; make test-torchio2 has TorchIO 2", allow_module_level=True)

import torchio as tio
from lesionaug.integrations.torchio2 import SyntheticMSLesion

from lesionaug.errors import LesionAugError
from lesionaug.serving.errors import LateRenderError

SHAPE, SPACING = (50, 60, 50), (3.0, 3.0, 3.0)
PARAMETRIC = {"model": "parametric", "num_lesions": 3, "halo": False, "gate": False}
NAMES = ("flair", "t1", "lesion")
TORCHIO1 = Path(os.environ.get("LESIONAUG_TORCHIO1_PYTHON", Path(__file__).parents[2] / ".venv" / "bin" / "python"))


@pytest.fixture(scope="module")
def phantom():
    return brain_phantom(SHAPE, SPACING)


@pytest.fixture
def subject(phantom):
    return subject_of(phantom)


def subject_of(phantom, dtype=torch.float32, **more):
    return tio.Subject(
        flair=tio.ScalarImage(phantom.images["flair"][None].to(dtype), affine=phantom.affine),
        t1=tio.ScalarImage(phantom.images["t1w"][None].to(dtype), affine=phantom.affine),
        lesion=tio.LabelMap(phantom.lesion_mask.to(torch.uint8), affine=phantom.affine),
        **more,
    )


def lesions(**changes):
    return SyntheticMSLesion(**{**PARAMETRIC, **changes})


def seeded(transform, data, seed=0):
    torch.manual_seed(seed)
    return transform(data)


def assert_same(one, other):
    for name in NAMES:
        assert one.images[name].data.dtype == other.images[name].data.dtype
        assert torch.equal(one.images[name].data, other.images[name].data), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_lesions_are_added_and_nothing_else_changes(phantom, dtype):
    subject = subject_of(phantom, dtype, age=40)
    before = copy.deepcopy(subject)
    after = seeded(lesions(), subject)
    assert_same(subject, before)
    new = (after.lesion.data != 0) & (before.lesion.data == 0)
    assert new.any()
    for name in ("flair", "t1"):
        assert after[name].data.dtype == dtype
        assert torch.equal(after[name].data[~new], before[name].data[~new])
        assert (after[name].data[new] != before[name].data[new]).float().mean() > 0.9
    assert type(after.lesion) is tio.LabelMap
    assert np.allclose(after.flair.affine.data, before.flair.affine.data)
    assert after.age == 40


def test_the_torch_seed_decides(subject):
    assert_same(seeded(lesions(), subject, 1), seeded(lesions(), subject, 1))
    assert not torch.equal(seeded(lesions(), subject, 1).lesion.data, seeded(lesions(), subject, 2).lesion.data)


def test_subjects_of_a_batch_have_lesions_of_their_own_and_know_them(subject):
    batch = tio.SubjectsBatch.from_subjects([subject] * 3)
    after = seeded(lesions(), batch)
    assert len(after.lesion.data.flatten(1).unique(dim=0)) == 3
    for one in after.unbatch():
        (trace,) = one.applied_transforms
        assert len(trace.params["plan"]["lesions"]) == 3
        assert_same(replayed(subject, json.loads(json.dumps(trace.params))), one)


def replayed(subject, params, **changes):
    batch = tio.SubjectsBatch.from_subjects([subject])
    return lesions(**changes).apply_transform(batch, params).unbatch()[0]


def test_history_is_plain_data_that_gives_the_same_lesions(subject):
    after = seeded(tio.Compose([lesions(), tio.Flip(axes=(0,), p=0)]), subject)
    params = after.applied_transforms[0].params
    assert set(params) == {"plan", "digests"}
    torch.manual_seed(99)
    assert_same(replayed(subject, json.loads(json.dumps(params))), after)
    params["digests"]["lefusion"] = "another"
    with pytest.raises(LesionAugError, match="models that the plan was made with"):
        replayed(subject, params)


def test_probability_holds_for_each_subject_of_a_batch(subject):
    batch = tio.SubjectsBatch.from_subjects([subject] * 8)
    after = seeded(lesions(p=0.5), batch)
    changed = (after.lesion.data != batch.lesion.data).flatten(1).any(dim=1)
    assert 0 < changed.sum() < 8
    told = torch.tensor([len(one.applied_transforms) == 1 for one in after.unbatch()])
    assert torch.equal(told, changed)
    assert_same(seeded(lesions(p=0), subject), subject)


def test_the_same_plan_gives_the_lesions_of_torchio_1(subject, tmp_path):
    """Rendered by TorchIO 1.x in its own environment, from the plan that was made here."""
    assert TORCHIO1.exists(), f"Expected a Python with TorchIO 1.x at {TORCHIO1}; set LESIONAUG_TORCHIO1_PYTHON"
    after = seeded(lesions(), subject)
    asked = {"params": after.applied_transforms[0].params, "affine": np.asarray(subject.flair.affine.data)}
    torch.save({**asked, **{name: subject[name].data for name in NAMES}}, tmp_path / "before.pt")
    code = f"""
import torch, torchio as tio
from lesionaug import RenderMSLesions
given = torch.load({str(tmp_path / "before.pt")!r}, weights_only=False)
assert tio.__version__.startswith("1."), tio.__version__
kinds = dict(flair=tio.ScalarImage, t1=tio.ScalarImage, lesion=tio.LabelMap)
subject = tio.Subject({{name: kind(tensor=given[name], affine=given["affine"]) for name, kind in kinds.items()}})
after = RenderMSLesions(**given["params"], model="parametric")(subject)
torch.save({{name: after[name].data for name in kinds}}, {str(tmp_path / "after.pt")!r})
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([TORCHIO1, "-c", code], check=True, timeout=300, env=environment)
    expected = torch.load(tmp_path / "after.pt")
    assert (expected["lesion"] != subject.lesion.data).any()
    for name in NAMES:
        assert torch.equal(after[name].data, expected[name]), name


def test_transforms_travel_as_plain_data(subject):
    expected = seeded(lesions(), subject)
    for other in (copy.deepcopy(lesions()), pickle.loads(pickle.dumps(lesions()))):
        assert_same(seeded(other, subject), expected)
    assert len(pickle.dumps(lesions())) < 10_000  # weights would be megabytes


def test_a_label_is_created_if_the_user_says_so(phantom):
    healthy = subject_of(phantom)
    del healthy._images["lesion"]
    with pytest.raises(LesionAugError, match="Expected an image 'lesion', got flair, t1"):
        lesions()(healthy)
    after = seeded(tio.Compose([tio.Flip(axes=(0,), p=1), lesions(create_label=True)]), healthy)
    assert type(after.lesion) is tio.LabelMap
    assert after.lesion.data.any()
    assert [trace.name for trace in after.applied_transforms] == ["Flip", "SyntheticMSLesion"]
    skipped = lesions(create_label=True, p=0)(healthy)
    assert not skipped.lesion.data.any()
    assert "lesion" not in healthy.images


class Scans(torch.utils.data.Dataset):
    def __init__(self, subject, transform):
        self.subject, self.transform = subject, transform

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.transform(self.subject)


def test_workers_differ(subject):
    loader = tio.SubjectsLoader(Scans(subject, lesions()), batch_size=2, num_workers=2)
    found = torch.cat([batch.lesion.data for batch in loader])
    assert len(found.flatten(1).unique(dim=0)) == 4


def test_the_queue_of_threads_works(subject):
    sampler = tio.UniformSampler(subject, patch_size=16)
    queue = tio.Queue([subject] * 2, sampler, patches_per_volume=2, num_workers=2, transform=lesions())
    assert [patch.lesion.data.shape for patch in queue] == [(1, 16, 16, 16)] * 4


def test_the_cache_is_filled_read_and_enough(subject, tmp_path, monkeypatch):
    cached = {"cache": tmp_path / "cache", "variants": 2}
    assert list(lesions(**cached).fill(subject)) == [True, True]
    first = seeded(lesions(**cached), subject)
    monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", None)
    monkeypatch.setattr("lesionaug.scan_parts.assemble_scan", None)
    assert_same(seeded(lesions(**cached, cache_only=True), subject), first)


class Late:
    def render(self, *_):
        raise LateRenderError("Expected an answer, got none")


def test_what_is_recorded_is_what_was_done_also_if_the_server_is_late(subject, monkeypatch):
    monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", lambda *_, **__: Late())
    after = seeded(lesions(on_late="skip"), subject)
    assert_same(after, subject)
    assert after.applied_transforms[0].params["plan"]["lesions"] == []
    with pytest.raises(LateRenderError):
        lesions(on_late="error")(subject)


def test_left_out_images_stay_as_they_are(subject):
    after = seeded(lesions(exclude=["t1"]), subject)
    assert torch.equal(after.t1.data, subject.t1.data)
    assert not torch.equal(after.flair.data, subject.flair.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": {"flair": "FLAIR"}}, "Expected scalar images FLAIR, got flair, t1, lesion"),
        ({"label": "mask"}, "Expected an image 'mask', got flair, t1, lesion"),
        ({"label": "t1", "images": {"flair": "flair"}}, "Expected a binary label"),
        ({"include": []}, "check include and exclude"),
    ],
)
def test_subjects_that_cannot_be_worked_with(subject, options, message):
    with pytest.raises(LesionAugError, match=message):
        lesions(**options)(subject)


def test_the_transform_for_torchio_1_says_where_this_one_is():
    with pytest.raises(LesionAugError, match=r"Expected TorchIO 1.x, got 2.*lesionaug.integrations.torchio2"):
        from lesionaug import SyntheticMSLesion as _  # noqa: F401
