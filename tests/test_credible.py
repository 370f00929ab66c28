"""No lesion goes astray without a word: whole heads are used, and what is none is refused in one sentence."""

import os
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import brain_phantom
from scipy import ndimage

from lesionaug.anatomy import anatomy_from_images
from lesionaug.errors import LesionAugError, LesionAugWarning

DATA = Path(os.environ.get("LESIONAUG_SHARED", Path(__file__).parents[2] / "shared")) / "data"
realdata = pytest.mark.realdata
no_data = pytest.mark.skipif(not DATA.exists(), reason="shared data not here")

REFUSED = "Expected a whole head that fits the atlas, got .*; hand in a brain mask"
WHOLE = [
    "open_ms/subjects_mni/patient07/flair",
    "mslesseg/P18_T1/flair",
    "ms3seg/ms3_01/flair",
    "open_ms/longitudinal/patient09/study2_flair",
    "healthy/flair_example/flair_native",
]
"""Three scanners; with and without skull; to 6.8 mm between slices."""


@pytest.fixture(scope="module")
def phantom():
    return brain_phantom((60, 70, 60), (3.0, 3.0, 3.0), channels=("flair",))


def flipped(affine, shape, axes):
    index = np.eye(4)
    for axis in axes:
        index[axis, axis], index[axis, 3] = -1, shape[axis] - 1
    return affine @ index


def cropped(volume, affine, start, size):
    box = tuple(slice(max(s, 0), max(s, 0) + n) for s, n in zip(start, size, strict=True))
    offset = np.eye(4)
    offset[:3, 3] = [side.start for side in box]
    return volume[(slice(None), *box)].contiguous(), affine @ offset


def halved(image, axis, end):
    image = image.clone()
    half = image.shape[axis + 1] // 2
    image.narrow(axis + 1, 0 if end else half, half)[:] = image.min()
    return image


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [0, 1])
def test_half_a_brain_is_refused(phantom, axis, end):
    with pytest.raises(LesionAugError, match=REFUSED):
        anatomy_from_images(halved(phantom.images["flair"][None], axis, end), ("flair",), phantom.affine)


def test_a_crop_with_little_brain_is_told_what_a_crop_needs(phantom):
    image, affine = cropped(phantom.images["flair"][None], phantom.affine, (0, 10, 10), (14, 18, 18))
    says = r"Expected a brain of 50 ml or more, got 11\.3 ml of signal; .* if this is a crop, .*AddAnatomy"
    with pytest.raises(LesionAugError, match=says):
        anatomy_from_images(image, ("flair",), affine)


@pytest.mark.parametrize("start", [(0, 0, 0), (15, 20, 15), (28, 20, 28), (15, 38, 10)])
def test_a_crop_of_96_mm_is_refused(phantom, start):
    image, affine = cropped(phantom.images["flair"][None], phantom.affine, start, (32, 32, 32))
    with pytest.raises(LesionAugError, match=f"{REFUSED}|Expected a brain of 50 ml or more"):
        anatomy_from_images(image, ("flair",), affine)


def test_a_brain_mask_is_taken_as_it_is(phantom):
    image = phantom.images["flair"][None]
    brain = torch.from_numpy((phantom.labels > 0) & (phantom.labels < 500))[None]
    brain &= torch.from_numpy(~np.isin(phantom.labels, (4, 43)))[None]  # as some tools leave the ventricles out
    anatomy = anatomy_from_images(image, ("flair",), phantom.affine, brain_mask=brain)
    assert torch.equal(anatomy.brain, brain)
    assert not (anatomy.eligible > 0)[~brain].any()
    assert torch.equal(anatomy.regions > 0, anatomy.eligible > 0)


MASKS = {
    "empty": (torch.zeros_like, "Expected a brain mask with voxels, got an empty one"),
    "everything": (torch.ones_like, "of background in it"),
    "beside it": (lambda brain: brain.roll(12, 2), "of background in it"),
    "a corner": (
        lambda brain: brain & (torch.arange(60)[None, :, None, None] < 20),
        "Expected a (whole head|brain of)",
    ),
}


@pytest.mark.parametrize(("change", "says"), MASKS.values(), ids=MASKS)
def test_a_mask_of_something_else_is_refused(phantom, change, says):
    brain = torch.from_numpy((phantom.labels > 0) & (phantom.labels < 500))[None]
    with pytest.raises(LesionAugError, match=says):
        anatomy_from_images(phantom.images["flair"][None], ("flair",), phantom.affine, brain_mask=change(brain).bool())


def test_t1w_given_as_flair_is_noticed():
    phantom = brain_phantom((60, 70, 60), (3.0, 3.0, 3.0), channels=("t1w",))
    image = phantom.images["t1w"][None]
    with pytest.warns(LesionAugWarning, match="If it is a T1w, give it as t1w"):
        anatomy_from_images(image, ("flair",), phantom.affine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        anatomy_from_images(image, ("t1w",), phantom.affine)


def test_a_ct_is_noticed_and_a_quiet_mri_is_not(phantom):
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 3, phantom.labels.shape).astype(np.float32))
    head = ndimage.binary_dilation(phantom.labels > 0, iterations=2)
    ct = torch.full(phantom.labels.shape, -1000.0)
    ct[torch.from_numpy(head)], ct[torch.from_numpy(phantom.labels > 0)] = 1000, 35
    with pytest.warns(LesionAugWarning, match="Expected an MRI as flair, .* as in CT"):
        anatomy_from_images((ct + noise)[None], ("flair",), phantom.affine)
    quiet = brain_phantom((60, 70, 60), (3.0, 3.0, 3.0), channels=("flair",)).images["flair"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        anatomy_from_images(quiet[None], ("flair",), phantom.affine)


def read(name):
    image = nib.load(DATA / f"{name}.nii.gz")
    return torch.from_numpy(np.asarray(image.dataobj, np.float32))[None], image.affine


@realdata
@no_data
@pytest.mark.parametrize("name", WHOLE)
def test_real_heads_are_used_and_their_broken_copies_are_not(name):
    image, affine = read(name)
    shape = image.shape[1:]
    order = np.argsort(nib.orientations.io_orientation(affine)[:, 0]).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a true FLAIR is not accused of being a T1w
        anatomy_from_images(image, ("flair",), affine)
    _, front, up = order
    size = [round(96 / float(np.linalg.norm(affine[:3, axis]))) for axis in range(3)]
    middle = [(n - m) // 2 for n, m in zip(shape, size, strict=True)]
    broken = {
        "front to back": (image, flipped(affine, shape, [front])),
        "upside down": (image, flipped(affine, shape, [up])),
        "turned around": (image, flipped(affine, shape, [front, up])),
        "crop": cropped(image, affine, middle, size),
        "left half": (halved(image, order[0], 0), affine),
        "front half": (halved(image, front, 0), affine),
    }
    for what, (volume, where) in broken.items():
        with pytest.raises(LesionAugError, match=f"{REFUSED}|Expected a brain of 50 ml or more"):
            pytest.fail(f"{what}: {anatomy_from_images(volume, ('flair',), where).brain.sum()}")


@realdata
@no_data
@pytest.mark.parametrize("name", ["mslesseg/P14_T2/t1", "mslesseg/P14_T3/t1", "ms3seg/ms3_13/flair"])
def test_real_scans_with_half_their_skull_left_on_are_refused(name):
    image, affine = read(name)
    with pytest.raises(LesionAugError, match=REFUSED):
        anatomy_from_images(image, ("t1w" if name.endswith("t1") else "flair",), affine)


@realdata
@no_data
@pytest.mark.parametrize(
    "name", ["open_ms/subjects_mni/patient07/t1", "open_ms/subjects_mni/patient19/t1", "ms3seg/ms3_01/t1"]
)
def test_real_t1w_given_as_flair_is_noticed(name):
    image, affine = read(name)
    with pytest.warns(LesionAugWarning, match="as in T1w"):
        anatomy_from_images(image, ("flair",), affine)


@realdata
@no_data
@pytest.mark.parametrize("name", ["mslesseg/P18_T1", "mslesseg/P14_T2", "open_ms/subjects_mni/patient07"])
def test_z_scoring_the_nonzero_voxels_moves_no_lesion(name):
    """P18's lesions all went around its cerebellum."""
    image, affine = read(f"{name}/flair")
    tissue = image != 0
    scored = torch.zeros_like(image)
    scored[tissue] = (image[tissue] - image[tissue].mean()) / image[tissue].std()
    plain, other = (anatomy_from_images(volume, ("flair",), affine).eligible > 0 for volume in (image, scored))
    assert 2 * (plain & other).sum() / (plain.sum() + other.sum()) > 0.96
