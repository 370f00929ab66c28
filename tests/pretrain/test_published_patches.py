import numpy as np
import pytest
from golden_networks import numbers
from lesionaug.pretrain.published_patches import PATCH_SHAPE, crop_offset, lesion_patches, to_network_units

from lesionaug.models.control import ball

SCAN = (70, 110, 96)


@pytest.fixture(scope="session")
def geometry(golden):
    return np.load(golden / "geometry.npz")


def ramp(shape):
    i, j, k = np.ogrid[tuple(map(slice, shape))]
    return ((37 * i + 11 * j + 5 * k) % 1800 - 1200).astype(float)


@pytest.mark.parametrize(("name", "edge"), [("a", np.s_[:, 0]), ("b", np.s_[0]), ("c", np.s_[:, 0])])
@pytest.mark.realdata
def test_intensities_and_size(golden, geometry, name, edge):
    expected = numbers(golden, "geometry")[f"preprocess_{name}"]
    out = to_network_units(ramp(expected["input_shape"]))
    assert list(crop_offset(expected["input_shape"])) == expected["affine_translation_after"]
    np.testing.assert_allclose(out[::2, ::2, ::2], geometry[f"preprocess_{name}_out_stride2"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(out[edge], geometry[f"preprocess_{name}_edge_plane"], rtol=0, atol=1e-6)


@pytest.mark.realdata
def test_patches(golden, geometry):
    lesions = np.unpackbits(geometry["patch_volume_mask"])[: np.prod(SCAN)].reshape(SCAN).astype(bool)
    expected = numbers(golden, "geometry")["patches"]["lesions"]
    for patch, facts, packed in zip(lesion_patches(lesions), expected, geometry["patch_masks"], strict=True):
        assert patch.label == facts["label"]
        assert np.dot((3, 2, 1), patch.start) == facts["patch_first_image_value"]
        assert np.array_equal(patch.mask, np.unpackbits(packed).reshape(PATCH_SHAPE).astype(bool))


def test_a_patch_shows_the_scan_at_its_place():
    lesions = ball(SCAN, (40, 60, 50), 4)
    (patch,) = lesion_patches(lesions)
    assert np.array_equal(lesions[patch.box], patch.mask)


def test_a_lesion_wider_than_a_patch_has_none():
    assert not list(lesion_patches(ball(SCAN, (35, 55, 48), 18)))


def test_a_scan_smaller_than_a_patch_is_refused():
    with pytest.raises(ValueError, match="at least"):
        list(lesion_patches(np.zeros((20, 64, 64), dtype=bool)))
