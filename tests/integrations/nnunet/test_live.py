"""What the first training transform may change, and what it must not."""

import multiprocessing

import cc3d
import numpy as np
import pytest
import torch
from lesionaug.integrations.nnunet.maps import decoded
from nnunet_crops import KEPT, ROLES, crop, lesions, seeded, send_seeded

from lesionaug.loaded import ModelChoice, loaded_here
from lesionaug.scan import REGIONS
from lesionaug.serving.errors import LateRenderError, RemoteRenderError


class Late:
    """A renderer that is never there in time."""

    spacing_mm, channels = 1.0, ("flair", "t1w")

    def patch_shape(self, extent_mm):
        return loaded_here(ModelChoice(model="parametric")).patch_shape(extent_mm)

    def __call__(self, request, progress=None):
        raise LateRenderError("Expected an answer, got none")


class Failing(Late):
    """A renderer whose server has run out of memory."""

    def __call__(self, request, progress=None):
        raise RemoteRenderError("Expected rendered lesions, got an error in the server: out of memory")


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in ("image", "segmentation"))


@pytest.fixture
def painted(tmp_path):
    return seeded(lesions(tmp_path), 1)


def test_only_voxels_of_new_lesions_change(painted):
    before = crop()
    label, old = painted["segmentation"], before["segmentation"][:1]
    new = label != old
    assert new.sum() > 20
    assert set(label[new].tolist()) == {ROLES.lesion}
    assert set(old[new].tolist()) <= {0, 1}
    changed = (painted["image"] != before["image"]).any(dim=0, keepdim=True)
    assert not (changed & ~new & (old != ROLES.ignore)).any()


def test_channels_that_no_model_knows_stay(painted):
    assert torch.equal(painted["image"][1], crop()["image"][1])
    assert not torch.equal(painted["image"][2], crop()["image"][2])


def test_nothing_is_written_outside_the_scan(tmp_path):
    before, transform = crop(), lesions(tmp_path, num_lesions=25)
    after = transform(**crop())
    outside = before["segmentation"][0] < 0
    assert torch.equal(after["image"][:, outside], before["image"][:, outside])
    assert torch.equal(after["segmentation"][0, outside], before["segmentation"][0, outside])


def test_the_map_goes_and_the_previous_stage_stays(tmp_path):
    for probability in (0.0, 1.0):
        after = lesions(tmp_path, probability=probability)(**crop(cascade=True))
        assert after["segmentation"].shape[0] == 2
        assert torch.equal(after["segmentation"][1], crop(cascade=True)["segmentation"][2])


def test_lesions_are_centred_in_the_middle_that_is_kept_and_may_reach_out_of_it(tmp_path):
    transform, old = lesions(tmp_path), crop()["segmentation"][0]
    margin = [(n - kept) // 2 for n, kept in zip(old.shape, KEPT, strict=True)]
    outside = np.ones(old.shape, bool)
    outside[tuple(slice(m, m + kept) for m, kept in zip(margin, KEPT, strict=True))] = False
    reached = 0
    for seed in range(12):
        new = (seeded(transform, seed)["segmentation"][0] != old).numpy()
        parts = cc3d.connected_components(new)
        centers = cc3d.statistics(parts)["centroids"][1:]
        assert ((centers >= np.array(margin) - 2) & (centers <= np.add(margin, KEPT) + 2)).all()
        reached += int((new & outside).sum())
    assert reached > 0


def test_numpys_seed_decides_and_torchs_does_not(tmp_path):
    transform = lesions(tmp_path)
    torch.manual_seed(1)
    first = seeded(transform, 5)
    torch.manual_seed(2)
    assert same(seeded(transform, 5), first)
    assert not same(seeded(transform, 6), first)


def test_the_arguments_stay_as_they_were(tmp_path):
    sample, before = crop(), crop()
    lesions(tmp_path)(**sample)
    assert same(sample, before)


def test_probability_nought_changes_nothing_and_is_no_news(tmp_path):
    transform = lesions(tmp_path, probability=0.0)
    assert same(seeded(transform, 0), {**crop(), "segmentation": crop()["segmentation"][:1]})
    assert not transform.ledger.news()


def test_the_ledger_counts(tmp_path):
    transform = lesions(tmp_path)
    for seed in range(3):
        seeded(transform, seed)
    assert transform.ledger.news() == {"samples": 3, "lesions": 9}
    assert not transform.ledger.news()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda codes: codes.zero_(), "little brain in the crop"),
        (lambda codes: codes.clamp_(max=1), "no white matter in the middle of the crop"),
    ],
)
def test_where_there_is_no_place_nothing_happens_and_it_is_counted(tmp_path, damage, reason):
    transform, sample = lesions(tmp_path), crop()
    damage(sample["segmentation"][1])
    after = transform(**sample)
    assert same(after, {"image": crop()["image"], "segmentation": crop()["segmentation"][:1]})
    assert transform.ledger.news() == {f"none: {reason}": 1}


@pytest.mark.parametrize(("renderer", "reason"), [(Late(), "render server late"), (Failing(), "render server failed")])
def test_a_late_or_failing_renderer_is_skipped_and_counted(tmp_path, renderer, reason):
    transform = lesions(tmp_path, renderer=renderer)
    after = transform(**crop())
    assert same(after, {"image": crop()["image"], "segmentation": crop()["segmentation"][:1]})
    assert transform.ledger.news() == {f"none: {reason}": 1}


@pytest.mark.parametrize(("renderer", "error"), [(Late(), LateRenderError), (Failing(), RemoteRenderError)])
def test_a_late_or_failing_renderer_is_an_error_where_that_is_asked_for(tmp_path, renderer, error):
    with pytest.raises(error):
        lesions(tmp_path, renderer=renderer, lenient=False)(**crop())


@pytest.mark.parametrize("lenient", [True, False])
def test_a_crop_without_the_regions_asked_for_is_no_error(tmp_path, lenient):
    here = set(decoded(crop()["segmentation"][1:2]).regions.unique().tolist())
    elsewhere = next(name for number, name in enumerate(REGIONS, start=1) if number not in here)
    transform = lesions(tmp_path, regions=(elsewhere,), lenient=lenient)
    after = transform(**crop())
    assert same(after, {"image": crop()["image"], "segmentation": crop()["segmentation"][:1]})
    assert transform.ledger.news() == {"none: none of the regions in the middle of the crop": 1}


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spawn", "forkserver"))]
)
def test_the_same_lesions_in_processes_of_every_kind(tmp_path, method):
    transform = lesions(tmp_path)
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=send_seeded, args=(there, transform, 3))
    process.start()
    assert here.poll(120)
    found = here.recv()
    process.join(60)
    assert same(found, seeded(transform, 3))
    assert transform.ledger.news() == {"samples": 2, "lesions": 6}
