"""A dataset of nnU-Net as small as can be: phantoms of real size in coarse voxels, a network of a few features."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from phantoms import brain_phantom
from scan_files import write_nifti

SHAPE, SPACING = (40, 48, 40), (3.4, 3.4, 3.4)
PATCH = [32, 40, 32]  # z, y, x
NAME = "Dataset501_Phantoms"
CONFIGURATION = "3d_tiny"
CASES = 5
NAMES = {"0": "T1w", "1": "FLAIR"}
CHANNELS = ("t1w", "flair")


@dataclass(frozen=True)
class Folders:
    """Of nnU-Net's environment variables."""

    raw: Path
    preprocessed: Path
    results: Path

    def environment(self) -> dict[str, str]:
        return {f"nnUNet_{name}": str(getattr(self, name)) for name in ("raw", "preprocessed", "results")}

    @property
    def cases(self) -> Path:
        return self.preprocessed / NAME / f"nnUNetPlans_{CONFIGURATION}"


def dataset_json(labels: dict | None = None, names: dict | None = None) -> dict:
    labels = labels or {"background": 0, "lesion": 1}
    order = {"regions_class_order": [1, 2]} if any(isinstance(value, list) for value in labels.values()) else {}
    return {"channel_names": names or NAMES, "labels": labels, "numTraining": CASES, "file_ending": ".nii.gz", **order}


def plans() -> dict:
    """What nnU-Net's planner would write, by hand: it would take half a minute."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    resample = "resample_data_or_seg_to_shape"
    conv = {"kernel_sizes": [[3, 3, 3]] * 3, "conv_bias": True, "norm_op_kwargs": {"eps": 1e-05, "affine": True}}
    blocks = {"n_conv_per_stage": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1], "dropout_op": None}
    operators = {
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "nonlin": "torch.nn.LeakyReLU",
    }
    network = {"n_stages": 3, "features_per_stage": [4, 8, 16], "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]}
    configuration = {
        "data_identifier": f"nnUNetPlans_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": PATCH,
        "median_image_size_in_voxels": [40.0, 48.0, 40.0],
        "spacing": [3.4, 3.4, 3.4],
        "normalization_schemes": ["ZScoreNormalization"] * 2,
        "use_mask_for_norm": [True, True],
        "resampling_fn_data": resample,
        "resampling_fn_seg": resample,
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": resample,
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                **network,
                **conv,
                **blocks,
                **operators,
                "dropout_op_kwargs": None,
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    return {
        "dataset_name": NAME,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [3.4, 3.4, 3.4],
        "original_median_shape_after_transp": [40, 48, 40],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "by hand",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}, "1": {}},
        "configurations": {CONFIGURATION: configuration},
    }


def write_dataset(root: Path, labels: dict | None = None) -> Folders:
    """Raw and preprocessed cases; lesions have value 1, with regions every other one 2.

    Args:
        root: Where to.
        labels: As in dataset.json.
    """
    folders = Folders(*(root / name for name in ("raw", "preprocessed", "results")))
    content = dataset_json(labels)
    raw, base = folders.raw / NAME, folders.preprocessed / NAME
    for folder in (raw / "imagesTr", raw / "labelsTr", base / "gt_segmentations", folders.results, folders.cases):
        folder.mkdir(parents=True)
    for number in range(CASES):
        _write_case(raw, base, number, two_values="regions_class_order" in content)
    for folder in (raw, base):
        (folder / "dataset.json").write_text(json.dumps(content))
    (base / "nnUNetPlans.json").write_text(json.dumps(plans()))
    (base / "dataset_fingerprint.json").write_text("{}")
    names = [case_name(number) for number in range(CASES)]
    splits = [{"train": [n for n in names if n != left_out], "val": [left_out]} for left_out in names]
    (base / "splits_final.json").write_text(json.dumps(splits))
    _preprocess(folders, content)
    return folders


def case_name(number: int) -> str:
    return f"phantom_{number:03d}"


def _write_case(raw: Path, base: Path, number: int, two_values: bool) -> None:
    scan = brain_phantom(SHAPE, SPACING, channels=CHANNELS, seed=number)
    for index, channel in enumerate(CHANNELS):
        path = raw / "imagesTr" / f"{case_name(number)}_{index:04d}.nii.gz"
        write_nifti(path, scan.images[channel].numpy().astype(np.float32), scan.affine)
    label = scan.lesion_mask[0].numpy().astype(np.uint8)
    if two_values:
        label[: SHAPE[0] // 2] *= 2
    for folder in (raw / "labelsTr", base / "gt_segmentations"):
        write_nifti(folder / f"{case_name(number)}.nii.gz", label, scan.affine)


def _preprocess(folders: Folders, content: dict) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans())
    configuration = manager.get_configuration(CONFIGURATION)
    preprocessor = configuration.preprocessor_class(verbose=False)
    for number in range(CASES):
        name = case_name(number)
        images = [str(folders.raw / NAME / "imagesTr" / f"{name}_{index:04d}.nii.gz") for index in range(2)]
        label = str(folders.raw / NAME / "labelsTr" / f"{name}.nii.gz")
        preprocessor.run_case_save(str(folders.cases / name), images, label, manager, configuration, content)


def record_of(trainer) -> tuple[dict, list[dict]]:
    """The last record of a training, and the lines of its ledger."""
    paths = sorted((Path(trainer.output_folder) / "synthetic_lesions").glob("*.json"))
    record = json.loads(paths[-1].read_text())
    ledger = paths[-1].with_name(record["ledger"])
    return record, [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


REGIONS = {"background": 0, "any lesion": [1, 2], "right": [2]}

if __name__ == "__main__":  # not in the process of the tests: workers that it forks later would not live
    write_dataset(Path(sys.argv[1]) / "plain")
    write_dataset(Path(sys.argv[1]) / "regions", REGIONS)
