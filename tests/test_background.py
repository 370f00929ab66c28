"""What surrounds a head is found whatever it is worth, and so is the head."""

import numpy as np
import pytest
import torch
import torchio as tio
from phantoms import brain_phantom

from lesionaug.anatomy import anatomy_from_images
from lesionaug.anatomy.background import background_of
from lesionaug.anatomy.morphology import box_of

SPACING = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def phantom():
    return brain_phantom((60, 70, 60), SPACING, channels=("flair",))


@pytest.fixture(scope="module")
def flair(phantom):
    return phantom.images["flair"][None]


def found(image, affine):
    anatomy = anatomy_from_images(image, ("flair",), affine)
    return anatomy.brain[0].numpy(), anatomy.eligible[0].numpy() > 0


def overlap(one, other) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def nonzero_z_scored(image, background=0.0):
    """As `NormalizeIntensityd(nonzero=True)` does it: the background stays, amid the tissue's intensities."""
    tissue = image != 0
    values = image[tissue]
    return torch.full_like(image, background).masked_scatter(tissue, (values - values.mean()) / values.std())


def z_scored(image):
    """As `ZNormalization(masking_method=mean)` does it."""
    values = image[image > image.mean()]
    return (image - values.mean()) / values.std()


BACKGROUNDS = {
    "zero amid the tissue": nonzero_z_scored,
    "brighter than everything": lambda image: nonzero_z_scored(image, 9.0),
    "far below everything": lambda image: nonzero_z_scored(image, -1000.0),
    "a negative constant": z_scored,
    "all the same but shifted": lambda image: image + 500,
}


@pytest.mark.parametrize("change", BACKGROUNDS.values(), ids=BACKGROUNDS)
def test_a_constant_background_is_one_whatever_it_is_worth(phantom, flair, change):
    brain, eligible = found(flair, phantom.affine)
    other_brain, other_eligible = found(change(flair), phantom.affine)
    assert overlap(brain, other_brain) > 0.97
    assert overlap(eligible, other_eligible) > 0.93


@pytest.mark.parametrize("change", [lambda image: image, nonzero_z_scored, z_scored], ids=["raw", "nonzero", "masked"])
def test_padding_with_zeros_is_background_too(phantom, flair, change):
    brain, _ = found(flair, phantom.affine)
    padded = tio.Pad(9)(tio.ScalarImage(tensor=change(flair), affine=phantom.affine))
    around, _ = found(padded.data, padded.affine)
    assert overlap(brain, around[9:-9, 9:-9, 9:-9]) > 0.97


@pytest.mark.parametrize("change", [lambda image: image, nonzero_z_scored, z_scored], ids=["raw", "nonzero", "masked"])
@pytest.mark.parametrize("seed", range(3))
def test_random_affine_may_mix_two_constants(phantom, flair, change, seed):
    torch.manual_seed(seed)
    image = tio.ScalarImage(tensor=change(flair), affine=phantom.affine)
    brain = torch.from_numpy(np.isin(phantom.labels, (0, 530), invert=True))[None].to(torch.uint8)
    subject = tio.RandomAffine()(tio.Subject(flair=image, brain=tio.LabelMap(tensor=brain, affine=phantom.affine)))
    moved, _ = found(subject.flair.data, subject.flair.affine)
    assert overlap(moved, subject.brain.data[0].numpy() > 0) > 0.93


@pytest.mark.parametrize("change", [lambda image: image, nonzero_z_scored], ids=["raw", "nonzero"])
def test_a_brain_needs_no_margin(phantom, flair, change):
    brain, eligible = found(flair, phantom.affine)
    box = box_of(flair[0].numpy() != 0)
    start = np.eye(4)
    start[:3, 3] = [side.start for side in box]
    tight_brain, tight_eligible = found(change(flair)[(slice(None), *box)].contiguous(), phantom.affine @ start)
    assert overlap(brain[box], tight_brain) > 0.97
    assert overlap(eligible[box], tight_eligible) > 0.93


def test_noise_is_no_background_and_constants_inside_are_none():
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    assert not background_of(noise).any()
    hollow = noise.copy()
    hollow[8:12, 8:12, 8:12] = 0
    assert not background_of(hollow).any()
    hollow[:3] = 0
    assert background_of(hollow)[:3].all()
    assert not background_of(hollow)[8:12].any()


def test_tissue_without_noise_is_no_background():
    image = np.zeros((30, 30, 30), np.float32)
    image[6:-6, 6:-6, 6:-6] = 2.0
    image[10:-10, 10:-10, 10:-10] = 3.0
    assert np.array_equal(background_of(image), image == 0)
