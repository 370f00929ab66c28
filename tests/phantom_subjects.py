"""A phantom as TorchIO sees it, and what tests of transforms do with it."""

import torch
import torchio as tio
from phantoms import brain_phantom

SHAPE, SPACING = (50, 60, 50), (3.0, 3.0, 3.0)
PARAMETRIC = {"model": "parametric", "num_lesions": 3, "halo": False, "gate": False}
"""Three lesions, always, and no voxel changed outside their labels."""


def small_phantom():
    return brain_phantom(SHAPE, SPACING)


def subject_of(phantom, **more) -> tio.Subject:
    return tio.Subject(
        flair=tio.ScalarImage(tensor=phantom.images["flair"][None], affine=phantom.affine),
        t1=tio.ScalarImage(tensor=phantom.images["t1w"][None], affine=phantom.affine),
        lesion=tio.LabelMap(tensor=phantom.lesion_mask.to(torch.uint8), affine=phantom.affine),
        **more,
    )


def seeded(transform, subject, seed=0):
    torch.manual_seed(seed)
    return transform(subject)


def assert_same(one, other):
    assert one.get_images_names() == other.get_images_names()
    for name in one.get_images_names():
        assert one[name].data.dtype == other[name].data.dtype
        assert torch.equal(one[name].data, other[name].data), name
