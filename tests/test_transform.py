"""The TorchIO transforms compose, replay, travel to workers, and change what they say they change and no more."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torchio as tio
from phantom_subjects import PARAMETRIC, SHAPE, assert_same, seeded, small_phantom, subject_of

from lesionaug import RenderMSLesions, SyntheticMSLesion
from lesionaug.errors import LesionAugError
from lesionaug.loaded import remembered_models, remembered_prior


@pytest.fixture(scope="module")
def phantom():
    return small_phantom()


@pytest.fixture
def subject(phantom):
    return subject_of(phantom, name="phantom")


def test_lesions_are_added_and_nothing_else_changes(subject):
    before = copy.deepcopy(subject)
    after = seeded(SyntheticMSLesion(**PARAMETRIC), subject)
    assert_same(subject, before)
    new = after.lesion.data.bool() & ~before.lesion.data.bool()
    assert new.any()
    assert after.lesion.data.bool()[before.lesion.data.bool()].all()
    assert after.lesion.data.dtype == before.lesion.data.dtype
    for name in ("flair", "t1"):
        assert torch.equal(after[name].data[~new], before[name].data[~new])
        assert (after[name].data[new] != before[name].data[new]).float().mean() > 0.9
    assert after.flair.data[new].mean() > before.flair.data[new].mean()
    assert after["name"] == "phantom"


def test_the_torch_seed_decides(subject):
    transform = SyntheticMSLesion(**PARAMETRIC)
    assert_same(seeded(transform, subject, 1), seeded(transform, subject, 1))
    assert not torch.equal(seeded(transform, subject, 1).lesion.data, seeded(transform, subject, 2).lesion.data)


def test_only_torchs_generator_is_drawn_from(subject):
    state = np.random.get_state()[1].copy()
    seeded(SyntheticMSLesion(**PARAMETRIC), subject)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda lesions: lesions,
        lambda lesions: tio.Compose([tio.ToCanonical(), lesions, tio.RandomFlip(axes=(0, 1)), tio.RandomNoise()]),
        lambda lesions: tio.OneOf({lesions: 1}),
        lambda lesions: tio.Compose([lesions, lesions]),
    ],
    ids=["alone", "compose", "one of", "twice"],
)
def test_history_replays_exactly(subject, pipeline):
    after = seeded(pipeline(SyntheticMSLesion(**PARAMETRIC)), subject)
    history = after.get_composed_history()
    assert any(isinstance(step, RenderMSLesions) for step in history)
    torch.manual_seed(99)
    assert_same(history(subject), after)


def test_history_is_plain_data_and_names_the_models(subject):
    after = seeded(SyntheticMSLesion(**PARAMETRIC), subject)
    (name, arguments), *_ = after.applied_transforms
    assert name == "RenderMSLesions"
    assert arguments["digests"] == {"diffmask": "parametric", "lefusion": "parametric"}
    assert len(arguments["plan"]["lesions"]) == 3
    assert len(pickle.dumps(arguments)) < 4000


def test_a_replay_with_other_weights_is_refused(subject):
    render = seeded(SyntheticMSLesion(**PARAMETRIC), subject).get_composed_history()[0]
    render.digests["lefusion"] = "another"
    with pytest.raises(LesionAugError, match="models that the plan was made with"):
        render(subject)


def test_transforms_travel_as_plain_data(subject):
    transform = SyntheticMSLesion(**PARAMETRIC)
    expected = seeded(transform, subject)
    for other in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert_same(seeded(other, subject), expected)
    assert len(pickle.dumps(transform)) < 4000  # weights would be megabytes


def test_weights_are_loaded_once_per_process(subject):
    remembered_models.cache_clear()
    remembered_prior.cache_clear()
    for seed in range(2):
        seeded(copy.deepcopy(SyntheticMSLesion(**PARAMETRIC)), subject, seed)
    assert remembered_models.cache_info().misses == 1
    assert remembered_prior.cache_info().misses == 1


def test_probability_zero_returns_the_subject_itself(subject):
    assert SyntheticMSLesion(**PARAMETRIC, p=0)(subject) is subject


@pytest.mark.parametrize("selection", [{"exclude": ["t1"]}, {"include": ["flair"]}])
def test_left_out_images_stay_as_they_are(subject, selection):
    after = seeded(SyntheticMSLesion(**PARAMETRIC, **selection), subject)
    assert torch.equal(after.t1.data, subject.t1.data)
    assert not torch.equal(after.flair.data, subject.flair.data)
    assert after.lesion.data.sum() > subject.lesion.data.sum()


def test_kept_images_are_those_before(subject):
    after = seeded(SyntheticMSLesion(**PARAMETRIC, keep={"flair": "healthy"}), subject)
    assert torch.equal(after.healthy.data, subject.flair.data)
    assert not torch.equal(after.flair.data, subject.flair.data)


def test_a_missing_label_is_an_error_unless_it_is_to_be_created(subject):
    subject.remove_image("lesion")
    with pytest.raises(LesionAugError, match="Expected a label 'lesion' in the subject, got flair, t1"):
        SyntheticMSLesion(**PARAMETRIC)(subject)
    after = seeded(SyntheticMSLesion(**PARAMETRIC, create_label=True), subject)
    assert after.lesion.data.sum() > 0
    assert "lesion" not in subject
    skipped = SyntheticMSLesion(**PARAMETRIC, create_label=True, p=0)(subject)
    assert skipped.lesion.data.sum() == 0
    assert_same(after.get_composed_history()(subject), after)


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.float64])
def test_images_and_label_keep_their_types(subject, dtype):
    for name in ("flair", "t1", "lesion"):
        subject[name].set_data(subject[name].data.to(dtype))
    after = seeded(SyntheticMSLesion(**PARAMETRIC), subject)
    new = after.lesion.data != subject.lesion.data
    for name in ("flair", "t1", "lesion"):
        assert after[name].data.dtype == dtype
        assert torch.equal(after[name].data[~new], subject[name].data[~new])


def test_a_label_of_255_gains_lesions_of_255(subject):
    subject.lesion.set_data(subject.lesion.data * 255)
    after = seeded(SyntheticMSLesion(**PARAMETRIC), subject)
    assert after.lesion.data.unique().tolist() == [0, 255]
    assert after.lesion.data.sum() > subject.lesion.data.sum()


@pytest.mark.parametrize("orientation", ["LPI", "ASR", "SPL"])
def test_any_orientation_works(subject, orientation):
    turned = tio.ToOrientation(orientation)(subject)
    after = seeded(SyntheticMSLesion(**PARAMETRIC), turned)
    assert after.lesion.data.sum() > turned.lesion.data.sum()
    assert after.flair.data.shape == turned.flair.data.shape


def test_lesions_stay_where_the_subjects_own_map_allows(subject):
    allowed = torch.zeros(1, *SHAPE)
    allowed[:, : SHAPE[0] // 2] = 1
    subject.add_image(tio.ScalarImage(tensor=allowed, affine=subject.flair.affine), "white")
    after = seeded(SyntheticMSLesion(**PARAMETRIC, eligible="white", exclude=["white"]), subject)
    new = after.lesion.data.bool() & ~subject.lesion.data.bool()
    assert new.any()
    assert (allowed[new] > 0).all()


def test_one_channel_is_enough(subject):
    after = seeded(SyntheticMSLesion(images={"flair": "flair"}, **PARAMETRIC), subject)
    assert torch.equal(after.t1.data, subject.t1.data)
    assert after.lesion.data.sum() > subject.lesion.data.sum()


def test_division_by_zero_inside_does_not_raise_as_torchio_would_have_it(subject):
    subject.flair.set_data(torch.where(subject.flair.data > 0, subject.flair.data, 0))
    with np.errstate(all="raise"):
        assert seeded(SyntheticMSLesion(**PARAMETRIC), subject).lesion.data.any()


def loader_of(subject, context=None, num_workers=2):
    dataset = tio.SubjectsDataset([subject] * 4, transform=SyntheticMSLesion(**PARAMETRIC))
    return tio.SubjectsLoader(
        dataset,
        batch_size=2,
        num_workers=num_workers,
        multiprocessing_context=context,
        generator=torch.Generator().manual_seed(5),
    )


def test_workers_by_fork_and_spawn_agree(subject):
    forked, spawned = ([batch["lesion"]["data"] for batch in loader_of(subject, c)] for c in ("fork", "spawn"))
    assert len(forked) == 2
    assert all(torch.equal(one, other) for one, other in zip(forked, spawned, strict=True))
    lesions = torch.cat(forked).flatten(1)
    assert len(lesions.unique(dim=0)) == 4  # no two samples have the same lesions


def test_history_replays_for_subjects_that_crossed_a_process(subject):
    dataset = tio.SubjectsDataset([subject] * 2, transform=SyntheticMSLesion(**PARAMETRIC))
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=list)
    for after in next(iter(loader)):
        assert_same(after.get_composed_history()(subject), after)


def test_queue_centres_patches_on_new_lesions(subject):
    subject.lesion.set_data(torch.zeros_like(subject.lesion.data))
    dataset = tio.SubjectsDataset([subject] * 2, transform=SyntheticMSLesion(**PARAMETRIC))
    queue = tio.Queue(dataset, max_length=4, samples_per_volume=2, sampler=tio.LabelSampler(8, "lesion"), num_workers=1)
    batches = list(tio.SubjectsLoader(queue, batch_size=2, num_workers=0))
    patches = torch.cat([batch["lesion"]["data"] for batch in batches])
    assert patches.shape == (4, 1, 8, 8, 8)
    assert (patches[:, 0, 4, 4, 4] == 1).all()


def test_batches_mix_subjects_that_p_skipped(subject):
    subject.remove_image("lesion")
    dataset = tio.SubjectsDataset([subject] * 6, transform=SyntheticMSLesion(**PARAMETRIC, create_label=True, p=0.5))
    torch.manual_seed(1)
    (batch,) = tio.SubjectsLoader(dataset, batch_size=6)
    with_lesions = batch["lesion"]["data"].flatten(1).any(dim=1)
    assert with_lesions.any()
    assert not with_lesions.all()


def test_default_models_paint_lesions_and_replay(subject):
    after = seeded(SyntheticMSLesion(num_lesions=2), subject)
    new = after.lesion.data.bool() & ~subject.lesion.data.bool()
    assert new.any()
    assert after.flair.data[new].mean() > subject.flair.data[new].mean()
    assert_same(after.get_composed_history()(subject), after)
