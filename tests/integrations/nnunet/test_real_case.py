"""Real scans as nnU-Net preprocesses them: the same anatomy as in their files, however they lie."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunet_variants import agreement

pytest.importorskip("nnunetv2", reason="needs lesionaug[nnunet]")

from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.geometry import case_affine
from lesionaug.integrations.nnunet.host import host_scan
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from lesionaug.anatomy import anatomy_from_images
from lesionaug.io import read_nifti

ROLES = Roles((("flair", 0), ("t1w", 1)), lesion=1, lesions=(1,))
TRANSPOSE = (2, 0, 1)


def preprocessed(files, label, within_mask):
    """Data, segmentation and properties, in other voxels than the file's."""
    data, properties = SimpleITKIO().read_images([str(file) for file in files])
    seg = np.zeros((1, *data.shape[1:]), np.float32) if label is None else SimpleITKIO().read_seg(str(label))[0]
    configuration = SimpleNamespace(
        spacing=[1.2, 1.0, 1.5],
        normalization_schemes=["ZScoreNormalization"] * len(data),
        use_mask_for_norm=[within_mask] * len(data),
        resampling_fn_data=lambda *args: resample_data_or_seg_to_shape(*args, is_seg=False, order=3, order_z=0),
        resampling_fn_seg=lambda *args: resample_data_or_seg_to_shape(*args, is_seg=True, order=1, order_z=0),
    )
    plans = SimpleNamespace(
        transpose_forward=list(TRANSPOSE),
        foreground_intensity_properties_per_channel={str(n): {} for n in range(len(data))},
        get_label_manager=lambda _: LabelManager({"background": 0, "lesion": 1}, None),
    )
    return DefaultPreprocessor(verbose=False).run_case_npy(data, seg, properties, plans, configuration, {})


@pytest.mark.realdata
@pytest.mark.parametrize("within_mask", [True, False])
@pytest.mark.parametrize(
    ("folder", "names", "label"),
    [
        ("mslesseg/P14_T1", ("flair", "t1"), "lesion"),
        ("healthy/flair_example", ("flair_native",), None),
    ],
)
def test_the_anatomy_is_that_of_the_file(shared, folder, names, label, within_mask):
    root = shared / "data" / folder
    files = [root / f"{name}.nii.gz" for name in names]
    label = None if label is None else root / f"{label}.nii.gz"
    data, seg, properties = preprocessed(files, label, within_mask)
    roles = Roles(ROLES.channels[: len(files)], 1, (1,))
    affine = case_affine(properties, data.shape[1:], TRANSPOSE)
    found = host_scan(data, seg, affine, roles)
    images = [read_nifti(file) for file in files]
    stacked = torch.stack([torch.from_numpy(np.asarray(image.data, np.float32)) for image in images])
    lesions = None if label is None else torch.from_numpy(read_nifti(label).data > 0)[None]
    expected = anatomy_from_images(stacked, roles.names, images[0].affine, lesions)
    to_file = np.linalg.inv(images[0].affine) @ affine
    assert agreement(found.brain, expected.brain, to_file) > 0.88
    assert agreement(found.eligible > 0, expected.eligible > 0, to_file) > 0.88
