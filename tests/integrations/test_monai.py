"""The MONAI transforms add lesions to dictionaries, repeat them, and agree with TorchIO's, in every kind of loader."""

import copy
import doctest
import json
import pickle

import numpy as np
import pytest
import torch
from phantom_subjects import PARAMETRIC, seeded, small_phantom, subject_of
from scan_files import write_phantom

from lesionaug import SyntheticMSLesion
from lesionaug.cli import main
from lesionaug.errors import LesionAugError
from lesionaug.serving.errors import LateRenderError

pytest.importorskip("monai")

from lesionaug.integrations.monai import RandSyntheticMSLesiond, RenderMSLesionsd, items, transforms
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, ThreadDataLoader, list_data_collate
from monai.transforms import (
    Compose,
    ConcatItemsd,
    EnsureChannelFirstd,
    Flipd,
    LoadImaged,
    Orientationd,
    RandFlipd,
)

KEYS = ("flair", "t1", "lesion")


@pytest.fixture(scope="module")
def phantom():
    return small_phantom()


@pytest.fixture
def item(phantom):
    return item_of(phantom)


def item_of(phantom, **changes):
    tensors = {
        "flair": phantom.images["flair"][None],
        "t1": phantom.images["t1w"][None],
        "lesion": phantom.lesion_mask.to(torch.uint8),
        **changes,
    }
    affine = torch.from_numpy(phantom.affine)
    return {key: MetaTensor(data.clone(), affine=affine.clone()) for key, data in tensors.items()}


def lesions(keys=("flair", "t1"), **changes) -> RandSyntheticMSLesiond:
    return RandSyntheticMSLesiond(keys, **{"label_key": "lesion", "prob": 1.0, **PARAMETRIC, **changes})


def repeat(**changes) -> RenderMSLesionsd:
    return RenderMSLesionsd(("flair", "t1"), **{"label_key": "lesion", "model": "parametric", **changes})


def assert_equal(one, other):
    assert set(one) == set(other)
    for key in one:
        if isinstance(one[key], torch.Tensor):
            assert one[key].dtype == other[key].dtype
            assert torch.equal(one[key].as_tensor(), other[key].as_tensor()), key
        else:
            assert one[key] == other[key]


def new_voxels(after, before):
    return (after["lesion"].as_tensor() != 0) & (before["lesion"].as_tensor() == 0)


def test_lesions_are_added_and_nothing_else_changes(item):
    before = copy.deepcopy(item)
    item["name"] = before["name"] = "phantom"
    after = lesions()(item)
    assert_equal(item, before)
    new = new_voxels(after, before)
    assert new.any()
    for key in ("flair", "t1"):
        assert torch.equal(after[key].as_tensor()[~new], before[key].as_tensor()[~new])
        assert (after[key].as_tensor()[new] != before[key].as_tensor()[new]).float().mean() > 0.9
    assert (after["lesion"] >= before["lesion"]).all()
    assert after["name"] == "phantom"


@pytest.mark.parametrize("dtype", [torch.float64, torch.int16, torch.float16])
def test_type_affine_and_metadata_stay(phantom, dtype):
    item = item_of(phantom, flair=phantom.images["flair"][None].to(dtype))
    item["flair"].meta["scanner"] = "A"
    after = lesions()(item)
    assert isinstance(after["flair"], MetaTensor)
    assert after["flair"].dtype == dtype
    assert after["flair"].meta["scanner"] == "A"
    assert torch.equal(after["flair"].affine, item["flair"].affine)
    assert after["flair"].applied_operations == item["flair"].applied_operations


def test_its_own_random_state_decides_and_no_other_is_drawn_from(item):
    state, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()
    one, same, other = (lesions().set_random_state(seed)(item) for seed in (3, 3, 4))
    assert_equal(one, same)
    assert not torch.equal(one["lesion"], other["lesion"])
    assert np.array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.get_rng_state(), torchs)


def test_the_same_plan_gives_the_lesions_of_torchio(item, phantom):
    subject = seeded(SyntheticMSLesion(**PARAMETRIC), subject_of(phantom))
    arguments = subject.applied_transforms[0][1]
    line = json.dumps({"plan": arguments["plan"], "digests": arguments["digests"]})
    after = repeat()({**item, "lesion_plan": line})
    for key in KEYS:
        assert torch.equal(after[key].as_tensor(), subject[key].data), key


def test_what_was_done_is_told_and_can_be_repeated(item):
    after = lesions(plan_key="lesion_plan")(item)
    assert_equal(repeat()({**item, "lesion_plan": after["lesion_plan"]}), after)
    left_alone = lesions(prob=0, plan_key="lesion_plan")(item)
    assert_equal(repeat()({**item, "lesion_plan": left_alone["lesion_plan"]}), left_alone)
    assert_equal({key: left_alone[key] for key in KEYS}, item)


def test_a_plan_of_other_models_is_refused(item):
    after = lesions(plan_key="lesion_plan")(item)
    other = after["lesion_plan"].replace('"lefusion": "parametric"', '"lefusion": "another"')
    with pytest.raises(LesionAugError, match="models that the plan was made with"):
        repeat()({**item, "lesion_plan": other})
    with pytest.raises(LesionAugError, match="Expected a plan under 'lesion_plan'"):
        repeat()(item)


def test_probability(item):
    transform = lesions(prob=0.5).set_random_state(0)
    changed = [bool(new_voxels(transform(item), item).any()) for _ in range(12)]
    assert 2 < sum(changed) < 10


def test_channels_of_one_image(item):
    stacked = ConcatItemsd(("flair", "t1", "flair"), "image")(item)
    channels = {"image": ("flair", "t1w", None)}
    after = lesions("image", channels=channels).set_random_state(1)(
        {"image": stacked["image"], "lesion": item["lesion"]}
    )
    apart = lesions().set_random_state(1)(item)
    assert torch.equal(after["lesion"].as_tensor(), apart["lesion"].as_tensor())
    expected = torch.cat([apart["flair"].as_tensor(), apart["t1"].as_tensor(), item["flair"].as_tensor()])
    assert torch.equal(after["image"].as_tensor(), expected)


def test_an_image_may_be_missing_if_the_user_says_so(item):
    del item["t1"]
    with pytest.raises(LesionAugError, match="Expected images 't1' in the dictionary, got 'flair', 'lesion'"):
        lesions()(item)
    assert new_voxels(lesions(allow_missing_keys=True)(item), item).any()


@pytest.mark.parametrize("axes", ["LPI", "ASR", "SPL"])
def test_any_orientation_works(item, axes):
    turned = Orientationd(KEYS, axcodes=axes, labels=None)(item)
    after = lesions()(turned)
    assert new_voxels(after, turned).any()
    assert torch.equal(after["flair"].affine, turned["flair"].affine)


def test_the_affine_is_read_in_the_space_that_the_image_is_in(item):
    transform = lesions()
    expected = transform.names.parts(item).affine
    for key in KEYS:
        item[key].affine = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])).double() @ item[key].affine
        item[key].meta["space"] = "LPS"
    assert np.allclose(transform.names.parts(item).affine, expected)


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_pending_is_applied_before(item, lazy):
    turned = Flipd(KEYS, spatial_axis=0)(item)
    expected = Compose([lesions()]).set_random_state(2)(turned)
    after = Compose([Flipd(KEYS, spatial_axis=0), lesions()], lazy=lazy).set_random_state(2)(item)
    assert torch.equal(after["lesion"].as_tensor(), expected["lesion"].as_tensor())
    assert torch.allclose(after["flair"].as_tensor(), expected["flair"].as_tensor(), atol=1e-3)


def test_pending_operations_outside_a_pipeline_are_refused(item):
    pending = Flipd(KEYS, spatial_axis=0, lazy=True)(item)
    with pytest.raises(LesionAugError, match="operations that are pending in 'flair'"):
        lesions()(pending)


def test_a_missing_label_is_an_error_unless_it_is_to_be_created(item):
    del item["lesion"]
    with pytest.raises(LesionAugError, match="Expected 'lesion' in the dictionary, got 'flair', 't1'"):
        lesions()(item)
    assert lesions(create_label=True)(item)["lesion"].any()
    left_alone = lesions(create_label=True, prob=0)(item)["lesion"]
    assert not left_alone.any()
    assert torch.equal(left_alone.affine, item["flair"].affine)
    assert "lesion" not in item


def test_lesions_stay_where_the_map_allows(item):
    allowed = torch.zeros_like(item["flair"].as_tensor())
    allowed[:, :25] = 1
    item["white"] = MetaTensor(allowed, affine=item["flair"].affine)
    new = new_voxels(lesions(eligible_key="white")(item), item)
    assert new.any()
    assert not new[:, 25:].any()


def test_random_transforms_are_not_cached(item):
    dataset = CacheDataset([item] * 2, Compose([Flipd(KEYS, spatial_axis=0), lesions()]), progress=False)
    flipped = Flipd(KEYS, spatial_axis=0)(item)
    seen = [dataset[index]["lesion"].as_tensor() for index in (0, 1, 0)]
    assert len(torch.stack(seen).flatten(1).unique(dim=0)) == 3
    for kept in dataset._cache:
        assert_equal({key: kept[key] for key in KEYS}, flipped)


def batches(item, loader, **options):
    dataset = Dataset([item] * 4, Compose([lesions(plan_key="plan"), RandFlipd(KEYS, prob=0.5, spatial_axis=0)]))
    found = loader(dataset, batch_size=2, generator=torch.Generator().manual_seed(5), **options)
    return torch.cat([batch["lesion"].as_tensor() for batch in found])


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_differ_and_can_be_reproduced(item, context):
    one, again = (batches(item, DataLoader, num_workers=2, multiprocessing_context=context) for _ in range(2))
    assert torch.equal(one, again)
    assert len(one.flatten(1).unique(dim=0)) == 4


@pytest.mark.parametrize("options", [{"num_workers": 0}, {"num_workers": 2, "use_thread_workers": True}])
def test_threads_differ_too(item, options):
    assert len(batches(item, ThreadDataLoader, **options).flatten(1).unique(dim=0)) == 4


def test_batches_mix_dictionaries_that_chance_skipped(item):
    del item["lesion"]
    transform = lesions(create_label=True, prob=0.5).set_random_state(1)
    batch = list_data_collate([transform(item) for _ in range(6)])
    with_lesions = batch["lesion"].flatten(1).any(dim=1)
    assert with_lesions.any()
    assert not with_lesions.all()


def test_transforms_travel_as_plain_data(item):
    transform = lesions().set_random_state(7)
    copies = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
    expected = transform(item)
    for other in copies:
        assert_equal(other(item), expected)


def test_one_cache_serves_torchio_and_monai(item, phantom, tmp_path, monkeypatch):
    filled = SyntheticMSLesion(**PARAMETRIC, cache=tmp_path / "cache", variants=1)
    assert list(filled.fill(subject_of(phantom))) == [True]
    expected = seeded(filled, subject_of(phantom))
    monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", None)
    monkeypatch.setattr("lesionaug.scan_parts.assemble_scan", None)
    cached = lesions(cache=tmp_path / "cache", variants=1, cache_only=True)
    assert list(cached.fill(item)) == [False]
    after = cached(item)
    for key in KEYS:
        assert torch.equal(after[key].as_tensor(), expected[key].data), key


def test_what_the_command_line_fills_is_found_by_scans_in_their_files_type(tmp_path, monkeypatch):
    files = write_phantom(tmp_path)
    words = [part for role, path in files.items() for part in (f"--{role}", str(path))]
    options = ["--cache", str(tmp_path / "cache"), "--variants", "1", "--num-lesions", "3", "--model", "parametric"]
    assert main(["cache", "fill", *words, *options, "--no-halo", "--no-gate"]) == 0
    monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", None)
    load = Compose([LoadImaged(list(files), dtype=None), EnsureChannelFirstd(list(files))])
    given = load({role: str(path) for role, path in files.items()})
    names = {"label_key": "lesions", "cache": tmp_path / "cache", "variants": 1, "cache_only": True}
    assert lesions(("flair", "t1w"), **names)(given)["lesions"].sum() > given["lesions"].sum()


@pytest.mark.parametrize("module", [items, transforms], ids=["items", "transforms"])
def test_examples_in_docstrings_run(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


class Late:
    def render(self, *_):
        raise LateRenderError("Expected an answer, got none")


def test_a_late_server_is_dealt_with_as_in_torchio(item, monkeypatch):
    monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", lambda *_, **__: Late())
    assert_equal(lesions(on_late="skip")(item), item)
    with pytest.raises(LateRenderError):
        lesions(on_late="error")(item)


def test_the_default_models_paint(item):
    after = lesions(model="default", num_lesions=2)(item)
    new = new_voxels(after, item)
    assert new.any()
    assert after["flair"].as_tensor()[new].mean() > item["flair"].as_tensor()[new].mean()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_stay_on_their_device(item):
    on_gpu = {key: item[key].to("cuda") for key in KEYS}
    after = lesions().set_random_state(1)(on_gpu)
    assert all(after[key].device.type == "cuda" for key in KEYS)
    assert_equal({key: after[key].cpu() for key in KEYS}, lesions().set_random_state(1)(item))


def _shifted(item):
    item["t1"].affine[0, 3] += 1


BAD_ITEMS = {
    "plain tensor": (lambda item: item.update(t1=item["t1"].as_tensor()), "Expected a MetaTensor"),
    "no channels": (lambda item: item.update(flair=item["flair"][0]), r"Expected a volume \(channels, i, j, k\)"),
    "two channels": (lambda item: item.update(t1=torch.cat([item["t1"]] * 2)), "Expected 1 channels in 't1', got 2"),
    "two labels": (
        lambda item: item.update(lesion=torch.cat([item["lesion"]] * 2)),
        "Expected one channel in 'lesion'",
    ),
    "another grid": (_shifted, "Expected images on one grid"),
    "many values": (lambda item: item.update(lesion=item["t1"].clone()), "Expected a binary label"),
}


@pytest.mark.parametrize("case", BAD_ITEMS)
def test_dictionaries_that_cannot_be_worked_with(item, case):
    change, message = BAD_ITEMS[case]
    change(item)
    with pytest.raises(LesionAugError, match=message):
        lesions()(item)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keys": ("image",)}, "Expected the contrast of 'image'"),
        ({"channels": {"flair": "pd"}}, "Expected a channel among flair, t1w, t2w, got 'pd'"),
        ({"channels": {"flair": "t1w"}}, "Expected each contrast once"),
        ({"channels": {"other": "t1w"}}, "Expected a key of channels among flair, t1, got 'other'"),
        ({"cache_only": True}, "Expected a cache for cache_only"),
        ({"regions": ("knee",)}, "Expected regions among"),
    ],
)
def test_options_that_cannot_be_meant(arguments, message):
    with pytest.raises(LesionAugError, match=message):
        lesions(**arguments)
