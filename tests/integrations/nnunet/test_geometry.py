"""Where a preprocessed voxel lies is what nnU-Net's own preprocessing does to images of coordinates."""

import itertools
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from lesionaug.errors import LesionAugError

pytest.importorskip("nnunetv2")

from lesionaug.integrations.nnunet.geometry import case_affine
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

SHAPE = (22, 26, 18)
AFFINES = {
    "right, anterior, superior": [[1.1, 0, 0, -20], [0, 0.9, 0, 11], [0, 0, 2.0, -7]],
    "left, posterior, superior": [[-1.1, 0, 0, 20], [0, -0.9, 0, 11], [0, 0, 2.0, 5]],
    "sagittal slices": [[0, 0, 1.2, -9], [1.0, 0, 0, 3], [0, -1.0, 0, 8]],
    "oblique": None,
}


def affine_called(name: str) -> np.ndarray:
    affine = np.eye(4)
    if AFFINES[name] is not None:
        affine[:3] = AFFINES[name]
        return affine
    c, s = np.cos(0.3), np.sin(0.3)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag((1.1, 0.9, 2.0))
    affine[:3, 3] = (4, -6, 2)
    return affine


def write_coordinates(folder, affine) -> list[str]:
    """An image for each world axis whose voxels hold where they are, with background around to be cropped away."""
    world = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    inside = np.zeros(SHAPE, bool)
    inside[3:-2, 2:-4, 1:-3] = True
    files = []
    for axis in range(3):
        values = np.where(inside, world[..., axis] + 1000, 0).astype(np.float32)  # nowhere 0 by chance
        files.append(str(folder / f"case_{axis:04d}.nii.gz"))
        nib.save(nib.Nifti1Image(values, affine), files[-1])
    return files


def preprocessed(reader, files, transpose):
    """As nnU-Net does it, without changing intensities."""
    data, properties = reader().read_images(files)
    spacing = np.array(properties["spacing"])[list(transpose)] * (1.5, 1.3, 0.8)
    configuration = SimpleNamespace(
        spacing=spacing.tolist(),
        normalization_schemes=["NoNormalization"] * 3,
        use_mask_for_norm=[False] * 3,
        resampling_fn_data=lambda *args: resample_data_or_seg_to_shape(*args, is_seg=False, order=1, order_z=0),
        resampling_fn_seg=lambda *args: resample_data_or_seg_to_shape(*args, is_seg=True, order=0, order_z=0),
    )
    plans = SimpleNamespace(
        transpose_forward=list(transpose), foreground_intensity_properties_per_channel={str(n): {} for n in range(3)}
    )
    data, _, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        data, None, properties, plans, configuration, {}
    )
    return data, properties


@pytest.mark.parametrize("reader", [SimpleITKIO, SimpleITKIOWithReorient, NibabelIO, NibabelIOWithReorient])
@pytest.mark.parametrize(("orientation", "transpose"), [*itertools.product(AFFINES, [(0, 1, 2), (2, 0, 1)])])
def test_images_of_coordinates_stay_true(tmp_path, reader, orientation, transpose):
    data, properties = preprocessed(reader, write_coordinates(tmp_path, affine_called(orientation)), transpose)
    affine = case_affine(properties, data.shape[1:], transpose)
    voxels = np.stack(np.meshgrid(*map(np.arange, data.shape[1:]), indexing="ij"), axis=-1)
    expected = voxels @ affine[:3, :3].T + affine[:3, 3]
    found = np.moveaxis(data, 0, -1) - 1000
    inner = (slice(2, -2),) * 3  # at the rim, interpolation has nothing to go on with
    assert np.abs(found - expected)[inner].max() < 1e-2


def test_a_case_that_does_not_say_how_it_lies_is_refused():
    with pytest.raises(LesionAugError, match="read by SimpleITK or nibabel, got properties of spacing"):
        case_affine({"spacing": [1, 1, 1]}, (4, 4, 4), (0, 1, 2))
    flat = {"spacing": (1, 1), "origin": (0, 0), "direction": (1, 0, 0, 1)}
    with pytest.raises(LesionAugError, match="three-dimensional image each, got 2 dimensions"):
        case_affine({"sitk_stuff": flat}, (1, 4, 4), (0, 1, 2))
