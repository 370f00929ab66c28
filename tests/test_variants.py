"""Lesions out of a cache are those that would be rendered, with the same bits, for the same scan and no other."""

import copy
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchio as tio
from phantom_subjects import PARAMETRIC, assert_same, seeded, small_phantom, subject_of

from lesionaug import RenderMSLesions, SyntheticMSLesion, assemble, cache
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.loaded import ModelChoice
from lesionaug.plan_options import PlanOptions
from lesionaug.prior import LesionPrior
from lesionaug.serving.errors import LateRenderError
from lesionaug.store import FolderStore
from lesionaug.subjects import SubjectKeys
from lesionaug.variants import change_key, plan_key


@pytest.fixture(scope="module")
def phantom():
    return small_phantom()


@pytest.fixture
def subject(phantom):
    return subject_of(phantom)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def lesions(folder, **changes) -> SyntheticMSLesion:
    return SyntheticMSLesion(**{**PARAMETRIC, "cache": folder, "variants": 2, **changes})


@pytest.fixture
def nothing_is_rendered(monkeypatch):
    """Neither anatomy nor models, from the call of this on."""

    def forbid():
        def fail(*_, **__):
            raise AssertionError("looked for anatomy or models")

        monkeypatch.setattr(assemble, "anatomy_from_images", fail)
        monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", fail)

    return forbid


def without_cache(after, subject):
    """The history's plan, rendered as if there were no cache."""
    ((_, arguments),) = after.applied_transforms
    plain = {name: value for name, value in arguments.items() if not name.startswith("cache")}
    return RenderMSLesions(**plain)(subject)


CASES = {
    "two images": ({}, lambda subject: None),
    "one image": ({"exclude": ["t1"]}, lambda subject: None),
    "another image name": ({"images": {"flair": "t1"}}, lambda subject: None),
    "whole numbers": ({}, lambda subject: _as(subject, torch.int16)),
    "bytes": ({}, lambda subject: _as(subject, torch.uint8)),
    "double": ({}, lambda subject: _as(subject, torch.float64)),
    "label of 255": ({}, lambda subject: subject.lesion.set_data(subject.lesion.data * 255)),
    "no label": ({"create_label": True}, lambda subject: subject.remove_image("lesion")),
    "over old lesions": ({"overlap": True, "num_lesions": 9}, lambda subject: None),
    "no lesions": ({"num_lesions": 0}, lambda subject: None),
    "not copied": ({"copy": False}, lambda subject: None),
    "not contiguous": ({}, lambda subject: subject.flair.set_data(_turned(subject.flair.data))),
    "own map": ({"eligible": "map", "exclude": ["map"]}, lambda subject: _add_map(subject)),
}


def _as(subject, dtype):
    for name in ("flair", "t1", "lesion"):
        subject[name].set_data(subject[name].data.to(dtype))


def _turned(data):
    return data.transpose(1, 3).contiguous().transpose(1, 3)


def _add_map(subject):
    white = (subject.t1.data > 90).float()
    subject.add_image(tio.ScalarImage(tensor=white, affine=subject.flair.affine), "map")


@pytest.mark.parametrize("case", CASES)
def test_read_rendered_and_uncached_are_the_same(subject, folder, case, nothing_is_rendered):
    options, change = CASES[case]
    change(subject)
    before = copy.deepcopy(subject)
    transform = lesions(folder, **options)
    rendered = seeded(transform, copy.deepcopy(subject))
    uncached = without_cache(rendered, copy.deepcopy(subject))
    nothing_is_rendered()
    read = seeded(transform, copy.deepcopy(subject))
    assert_same(read, rendered)
    assert_same(rendered, uncached)
    assert_same(seeded(lesions(folder, cache_only=True, **options), copy.deepcopy(subject)), rendered)
    assert_same(subject, before)
    if options.get("num_lesions") != 0:
        assert rendered.lesion.data.sum() > (before.lesion.data.sum() if "lesion" in before else 0)


def test_as_many_results_as_variants(subject, folder, nothing_is_rendered):
    transform = lesions(folder, variants=3)
    seen = [seeded(transform, subject, seed).lesion.data for seed in range(12)]
    assert len(torch.stack(seen).flatten(1).unique(dim=0)) == 3
    nothing_is_rendered()
    seeded(transform, subject, 99)


def test_it_does_not_matter_who_renders(subject, folder, tmp_path):
    """The lesions of a variant come from the scan and the options, not from the state of anybody's generator."""
    one = seeded(lesions(folder, variants=1), subject, 1)
    other = seeded(lesions(tmp_path / "other", variants=1), subject, 2)
    assert_same(one, other)


def test_the_scan_itself_is_not_touched_without_a_copy(subject, folder):
    given = subject.flair.data
    before = given.clone()
    after = seeded(lesions(folder, copy=False), subject)
    assert after is subject
    assert torch.equal(given, before)
    assert not torch.equal(after.flair.data, before)


def test_images_that_share_memory_stay_apart(subject, folder):
    subject.add_image(tio.ScalarImage(tensor=subject.flair.data, affine=subject.flair.affine), "same")
    for _ in range(2):
        after = seeded(lesions(folder), subject)
        assert torch.equal(after.same.data, subject.flair.data)
        assert not torch.equal(after.flair.data, subject.flair.data)


def test_history_replays_from_the_cache_and_without_it(subject, folder, nothing_is_rendered):
    after = seeded(lesions(folder), subject)
    history = after.get_composed_history()
    shutil.rmtree(folder)
    assert_same(history(subject), after)  # rendered, and kept again
    nothing_is_rendered()
    assert_same(history(subject), after)


def test_history_of_one_scan_is_not_answered_for_another(subject, folder):
    after = seeded(lesions(folder), subject)
    subject.flair.set_data(2 * subject.flair.data)
    replayed = after.get_composed_history()(subject)
    new = replayed.lesion.data != subject.lesion.data
    assert torch.equal(replayed.flair.data[~new], subject.flair.data[~new])
    assert not torch.equal(replayed.flair.data[new], after.flair.data[new])


def test_damaged_entries_are_rendered_again_with_the_same_bits(subject, folder):
    transform = lesions(folder, variants=1)
    expected = seeded(transform, subject)
    for entry in list(FolderStore(folder).entries()):
        entry.path.write_bytes(entry.path.read_bytes()[:-4])
    assert_same(seeded(transform, subject), expected)
    assert all(whole for _, whole in FolderStore(folder).verify())


def test_the_limit_is_kept_and_nothing_else_changes(subject, folder):
    expected = [seeded(lesions(folder, variants=6), subject, seed) for seed in range(3)]
    for seed in range(3):
        limited = lesions(folder, variants=6, cache_gb=1e-9)
        for entry in list(FolderStore(folder).entries()):
            shutil.os.utime(entry.path, (0, 0))
        assert_same(seeded(limited, subject, seed), expected[seed])


def test_what_is_not_there_is_an_error_when_only_the_cache_may_be_used(subject, folder, nothing_is_rendered):
    nothing_is_rendered()
    with pytest.raises(LesionAugError, match=r"Expected variant \d of this scan in the cache .*lesionaug cache fill"):
        lesions(folder, cache_only=True)(subject)
    assert not folder.exists()


def test_cached_training_never_loads_models(subject, folder, tmp_path):
    """In a process of its own, with the default models, of which one lesion is rendered here."""
    transform = SyntheticMSLesion(num_lesions=1, cache=folder, variants=1, cache_only=False)
    expected = seeded(transform, subject)
    torch.save({name: subject[name].data for name in ("flair", "t1", "lesion")}, tmp_path / "scan.pt")
    code = f"""
import sys, torch, torchio as tio, numpy as np
from lesionaug import SyntheticMSLesion
data = torch.load({str(tmp_path / "scan.pt")!r})
affine = np.array({subject.flair.affine.tolist()})
kind = dict(flair=tio.ScalarImage, t1=tio.ScalarImage, lesion=tio.LabelMap)
subject = tio.Subject({{name: kind[name](tensor=data[name], affine=affine) for name in data}})
after = SyntheticMSLesion(num_lesions=1, cache={str(folder)!r}, variants=1, cache_only=True)(subject)
torch.save({{name: after[name].data for name in data}}, {str(tmp_path / "after.pt")!r})
heavy = [name for name in sys.modules if name.startswith(("lesionaug.networks", "lesionaug.diffusion",
    "lesionaug.models.diffmask", "lesionaug.models.lefusion"))]
print("loaded:", heavy)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "loaded: []"
    for name, data in torch.load(tmp_path / "after.pt").items():
        assert torch.equal(data, expected[name].data)


def test_filling_ahead_is_all_that_cached_training_needs(subject, folder, nothing_is_rendered):
    before = copy.deepcopy(subject)
    assert list(lesions(folder, variants=3).fill(subject)) == [True, True, True]
    assert list(lesions(folder, variants=4).fill(subject)) == [False, False, False, True]
    assert_same(subject, before)
    nothing_is_rendered()
    assert list(lesions(folder, variants=4).fill(subject)) == [False] * 4
    for seed in range(8):
        seeded(lesions(folder, variants=4, cache_only=True), subject, seed)


class Late:
    """A render server that never answers in time."""

    def render(self, *_):
        raise LateRenderError("Expected an answer, got none")


@pytest.fixture
def late_server(monkeypatch):
    def stop_answering():
        monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", lambda *_, **__: Late())

    return stop_answering


@pytest.mark.parametrize("cached", [True, False])
def test_late_lesions_are_skipped_if_the_user_says_so(subject, folder, late_server, cached):
    late_server()
    options = {"cache": folder} if cached else {"cache": None}
    after = seeded(lesions(folder, **options, on_late="skip"), subject)
    assert_same(after, subject)
    assert after.applied_transforms[0][1]["plan"]["lesions"] == []
    assert_same(after.get_composed_history()(subject), subject)
    for on_late in ("error", "wait"):
        with pytest.raises(LateRenderError):
            lesions(folder, **options, on_late=on_late)(subject)


def test_a_cached_variant_takes_the_place_of_late_lesions(subject, folder, late_server):
    filled = [data.lesion.data for data in (seeded(lesions(folder, variants=2), subject, n) for n in range(6))]
    late_server()
    transform = lesions(folder, variants=50, on_late="cache")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [seeded(transform, subject, n) for n in range(6)]
    known = torch.stack(filled).flatten(1).unique(dim=0)
    assert len(torch.cat([known, *[after.lesion.data.flatten(1) for after in found]]).unique(dim=0)) == len(known) == 2
    assert_same(found[0].get_composed_history()(subject), found[0])


def test_where_no_variant_is_cached_yet_it_is_told(subject, folder, late_server):
    late_server()
    with pytest.warns(LesionAugWarning, match="Expected a cached variant"):
        after = seeded(lesions(folder, on_late="cache"), subject)
    assert_same(after, subject)


def test_filling_without_a_cache_is_an_error(subject):
    with pytest.raises(LesionAugError, match="Expected a cache to fill"):
        next(SyntheticMSLesion(**PARAMETRIC).fill(subject))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cache_only": True}, "Expected a cache for cache_only"),
        ({"cache_gb": 1.0}, "Expected a cache for cache_only"),
        ({"cache": "somewhere", "variants": 0}, "Expected 1 variant or more"),
        ({"cache": "somewhere", "cache_gb": 0}, "Expected a cache limit above 0 GB"),
        ({"on_late": "cache"}, "Expected a cache for on_late"),
        ({"on_late": "hope"}, "Expected a on_late among"),
        ({"cache": __file__}, "Expected a folder for the cache, got the file"),
    ],
)
def test_options_that_cannot_be_meant(arguments, message):
    with pytest.raises(LesionAugError, match=message):
        SyntheticMSLesion(**PARAMETRIC, **arguments)


def test_a_cache_that_cannot_be_written_is_told_and_costs_only_time(subject, folder, monkeypatch):
    expected = seeded(lesions(folder), subject)
    shutil.rmtree(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(LesionAugWarning, match="No space left on device"):
        after = seeded(lesions(folder), subject)
    assert_same(after, expected)


def test_workers_fill_and_read_one_cache(subject, folder):
    dataset = tio.SubjectsDataset([subject] * 8, transform=lesions(folder))
    loader = torch.utils.data.DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=list)
    first = [after.lesion.data for (after,) in loader]
    found = torch.stack(first).flatten(1).unique(dim=0)
    assert len(found) == 2
    only = tio.SubjectsDataset([subject] * 8, transform=lesions(folder, cache_only=True))
    again = [after.lesion.data for after in torch.utils.data.DataLoader(only, None, num_workers=2)]
    assert len(torch.cat([found, torch.stack(again).flatten(1)]).unique(dim=0)) == 2


def content(subject, **keys):
    return SubjectKeys(**keys).parts(subject, ["flair", "t1"]).content


def test_the_content_of_a_scan_is_what_lesions_depend_on(subject):
    expected = content(subject)
    moved = copy.deepcopy(subject)
    for image in moved.get_images(intensity_only=False):
        image.affine = image.affine @ np.diag([1, 1, 1.01, 1])
    one_voxel = copy.deepcopy(subject)
    one_voxel.t1.data[0, 7, 8, 9] += 1
    another_label = copy.deepcopy(subject)
    another_label.lesion.data[0, 7, 8, 9] = 1
    another_type = copy.deepcopy(subject)
    another_type.flair.set_data(subject.flair.data.double())
    swapped = tio.Subject(flair=subject.t1, t1=subject.flair, lesion=subject.lesion)
    _add_map(mapped := copy.deepcopy(subject))
    others = [content(other) for other in (moved, one_voxel, another_label, another_type, swapped)]
    others.append(content(mapped, eligible="map"))
    assert len({expected, *others}) == 7
    same = copy.deepcopy(subject)
    same.lesion.set_data(255 * same.lesion.data.float())
    same.add_image(same.t1, "other")
    assert content(same, images={"flair": "flair", "t1w": "t1"}) == expected


def test_everything_a_plan_depends_on_is_in_its_key(tmp_path, monkeypatch):
    prior = tmp_path / "prior.json"
    prior.write_text(Path(next(iter(_priors()))).read_text().replace('"max_extent_mm": 42.0', '"max_extent_mm": 30.0'))
    base = {"content": "a", "options": PlanOptions(), "prior": None, "choice": ModelChoice("parametric"), "variant": 0}
    changes = [
        {},
        {"content": "b"},
        {"prior": str(prior)},
        {"variant": 1},
        {"choice": ModelChoice("default")},
        {"choice": ModelChoice("parametric", num_steps=2)},
        {"options": PlanOptions(num_lesions=3)},
        {"options": PlanOptions(num_lesions=(3, 4))},
        {"options": PlanOptions(load_ml=3)},
        {"options": PlanOptions(diameter_mm=(3, 5))},
        {"options": PlanOptions(regions=("periventricular",))},
        {"options": PlanOptions(contrast=1.5)},
        {"options": PlanOptions(overlap=True)},
        {"options": PlanOptions(halo=False)},
        {"options": PlanOptions(gate=False)},
    ]
    keys = [plan_key(**{**base, **change}) for change in changes]
    assert len(set(keys)) == len(keys)
    assert plan_key(**{**base, "options": PlanOptions(contrast=1)}) == keys[0]
    assert plan_key(**{**base, "choice": ModelChoice("parametric", device="cuda:1")}) == keys[0]
    monkeypatch.setattr(cache, "RENDER_VERSION", cache.RENDER_VERSION + 1)
    assert plan_key(**base) not in keys
    assert change_key("a", {}, base["choice"]) not in keys


def _priors():
    import lesionaug

    yield Path(lesionaug.__file__).parent / "assets" / "prior" / "prior.json"


def test_no_warning_from_reading(subject, folder):
    transform = lesions(folder, variants=1)
    seeded(transform, subject)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        seeded(transform, subject)
    assert not warned


def test_the_packaged_prior_is_what_the_test_of_keys_changes():
    assert LesionPrior.load().max_extent_mm == 42.0
