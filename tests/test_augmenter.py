"""What every host's transform is made of, used without any host."""

import numpy as np
import pytest
import torch
from phantom_subjects import PARAMETRIC, small_phantom

from lesionaug import ScanParts, lesion_augmenter
from lesionaug.augmenter import SEEDS
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.serving.errors import RemoteRenderError


@pytest.fixture(scope="module")
def scan():
    phantom = small_phantom()
    images = {channel: image[None] for channel, image in phantom.images.items()}
    return ScanParts(images, phantom.affine, phantom.lesion_mask.to(torch.uint8))


class Dice:
    """Draws the same number each time, and remembers out of how many."""

    def __init__(self, number):
        self.number, self.asked = number, []

    def __call__(self, count):
        self.asked.append(count)
        return self.number


def test_all_that_is_random_is_one_draw(scan):
    torch.manual_seed(0)
    augmenter, dice = lesion_augmenter(**PARAMETRIC), Dice(7)
    plan, change = augmenter(scan, dice)
    torch.manual_seed(1)
    again, same = augmenter(scan, dice)
    assert dice.asked == [SEEDS, SEEDS]
    assert plan == again
    assert change.to_bytes() == same.to_bytes()
    assert augmenter(scan, Dice(8))[0] != plan


def test_with_a_cache_the_draw_is_among_the_variants(scan, tmp_path):
    augmenter, dice = lesion_augmenter(**PARAMETRIC, cache=tmp_path, variants=3), Dice(2)
    assert augmenter.drawn(scan, dice) == augmenter.variant(scan, 2)
    assert dice.asked == [3]


def test_what_is_written_are_copies_that_differ_in_the_change_alone(scan):
    before = {channel: image.clone() for channel, image in scan.images.items()}
    _, change = lesion_augmenter(**PARAMETRIC)(scan, Dice(1))
    images, label = scan.written(change)
    changed = np.zeros(label.numel(), bool)
    changed[change.indices] = True
    changed = torch.from_numpy(changed).view_as(label)
    for channel, image in images.items():
        assert torch.equal(scan.images[channel], before[channel])
        assert torch.equal(image[~changed], before[channel][~changed])
    assert torch.equal(label != 0, (scan.label != 0) | changed)


def test_the_anatomy_is_found_once(scan, monkeypatch):
    augmenter = lesion_augmenter(**PARAMETRIC)
    plan, _ = augmenter(scan, Dice(1))
    monkeypatch.setattr("lesionaug.scan_parts.assemble_scan", None)
    assert augmenter(scan, Dice(2))[0] != plan, "another plan of the anatomy that was found before"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variants": 0}, "Expected 1 variant or more"),
        ({"on_late": "cache"}, "Expected a cache for on_late"),
        ({"cache_only": True}, "Expected a cache for cache_only"),
        ({"model": "other"}, "Expected a model among"),
        ({"num_lesions": 2, "load_ml": 1.0}, "Expected num_lesions or load_ml, got both"),
    ],
)
def test_options_that_cannot_be_meant(options, message):
    with pytest.raises(LesionAugError, match=message):
        lesion_augmenter(**options)


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="colour"):
        lesion_augmenter(colour="red")


def test_what_a_power_cut_left_empty_is_filled_again(scan, tmp_path):
    augmenter = lesion_augmenter(**PARAMETRIC, cache=tmp_path, variants=2)
    assert list(augmenter.fill(scan)) == [True, True]
    assert list(augmenter.fill(scan)) == [False, False]
    for entry in tmp_path.rglob("*.lesions"):
        entry.write_bytes(b"")
    assert list(augmenter.fill(scan)) == [True, True]
    only = lesion_augmenter(**PARAMETRIC, cache=tmp_path, variants=2, cache_only=True)
    assert all(len(only(scan, Dice(variant))[1].indices) for variant in range(2))


def test_a_server_that_fails_costs_lesions_where_that_is_asked_for(scan, monkeypatch):
    def failed(*_, **__):
        raise RemoteRenderError("out of memory")

    monkeypatch.setattr("lesionaug.augmenter.loaded_synthesizer", failed)
    with pytest.warns(LesionAugWarning, match="out of memory"):
        plan, change = lesion_augmenter(**PARAMETRIC, on_late="skip")(scan, Dice(1))
    assert not plan.lesions
    assert not len(change.indices)
    with pytest.raises(RemoteRenderError):
        lesion_augmenter(**PARAMETRIC, on_late="wait")(scan, Dice(1))
