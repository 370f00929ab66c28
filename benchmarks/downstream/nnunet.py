"""The nnU-Net engine: nnU-Net's own planning, training and prediction by its commands, in a folder per run.

Arms without a trainer of their own are put in as further training cases, made before, as CarveMix's authors do:

    none ── nnUNetTrainer      heavy ── nnUNetTrainerDA5      lesionaug_live ── …SyntheticMSLesion
    all others ── nnUNetTrainer, with copies of the training cases that the arm has changed
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Bool
from lesionaug.integrations.nnunet.settings import CONFIG

from benchmarks.downstream.arms import Arm, Lesions
from benchmarks.downstream.cases import Case
from benchmarks.downstream.runs import Run
from lesionaug.dataset.nnunet import NAMES
from lesionaug.errors import LesionAugError
from lesionaug.io import read_mask
from lesionaug.scan import Scan

DATASET = "Dataset901_Downstream"
OWN_TRAINERS = {
    "none": "nnUNetTrainer{epochs}",
    "heavy": "nnUNetTrainerDA5{epochs}",
    "lesionaug_live": "nnUNetTrainer{epochs}SyntheticMSLesion",
}
"""Arms that are trainers; the others are training cases."""


@dataclass(frozen=True)
class Nnunet:
    """How nnU-Net is run, the same for all arms.

    Args:
        configuration: Of nnU-Net's plans.
        epochs: A shortened schedule, from nnU-Net's own trainers (`_100epochs`); its 1000 epochs if empty. nnU-Net has
            none for DA5, so the arm `heavy` takes the whole schedule or has to be left out.
        copies: Changed copies of each training case, for arms that are no trainers.
        device: Where networks are trained.
    """

    configuration: str = "3d_fullres"
    epochs: str = ""
    copies: int = 20
    device: str = "cuda"

    def trainer(self, arm: str) -> str:
        """Name of the trainer of an arm.

        Raises:
            LesionAugError: nnU-Net has no such trainer.
        """
        if arm == "heavy" and self.epochs:
            raise LesionAugError(
                f"Expected nnU-Net's whole schedule for the arm heavy, got epochs {self.epochs}; leave out one of them"
            )
        return OWN_TRAINERS.get(arm, OWN_TRAINERS["none"]).format(epochs=self.epochs)


def commands(run: Run, settings: Nnunet, folder: Path) -> list[list[str]]:
    """What is called, in order."""
    number, *plain = DATASET.removeprefix("Dataset").split("_")[0], settings.configuration
    trainer = ["-tr", settings.trainer(run.arm), "-device", settings.device]
    program = [sys.executable, "-m", "lesionaug.cli", "nnunet"]
    plan = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry as run"
    files = ["-i", str(folder / "raw" / DATASET / "imagesTs"), "-o", str(folder / "predictions")]
    return [
        [sys.executable, "-c", f"{plan}; run()", "-d", number, "-c", *plain, "--verify_dataset_integrity"],
        [*program, "train", number, *plain, "all", *trainer, "--c"],
        [*program, "predict", *files, "-d", number, "-c", *plain, "-f", "all", *trainer],
    ]


def masks_by_nnunet(
    run: Run,
    arm: Arm,
    lesions: Lesions,
    cases: Sequence[Case],
    hosts: Sequence[Case],
    tested: Sequence[Case],
    settings: Nnunet,
    folder: Path,
) -> dict[str, Bool[np.ndarray, "i j k"]]:
    """Train, and predict all tested cases.

    Args:
        run: Which.
        arm: Its arm; one phase only.
        lesions: How lesions are added, for arms that are trainers.
        cases: Of the drawn patients.
        hosts: Healthy scans, for arms that train on them.
        tested: To predict.
        settings: Of nnU-Net.
        folder: Of this run; what nnU-Net writes is kept in it.

    Raises:
        LesionAugError: An arm with several phases, or a command that failed.
    """
    training = list(training_scans(run, arm, cases, hosts, settings))
    write_raw(folder / "raw" / DATASET, training, tested)
    names = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    names[CONFIG] = str(write_settings(lesions, folder))
    for number, command in enumerate(commands(run, settings, folder)):
        _call(command, {**os.environ, **names}, folder / f"log{number}.txt")
    return read_predictions(folder / "predictions", tested)


def write_settings(lesions: Lesions, folder: Path) -> Path:
    """A file that tells trainers with lesions how to make them; the user's own settings, if any, are not looked at."""
    given = {
        "mode": "live",
        "probability": lesions.probability,
        "model": lesions.model,
        "diffmask": lesions.diffmask,
        "lefusion": lesions.lefusion,
        "prior": str(lesions.prior) if lesions.prior else None,
        "num_steps": lesions.num_steps,
    }
    path = folder / "lesions.json"
    path.write_text(json.dumps({name: value for name, value in given.items() if value is not None}, indent=1))
    return path


def training_scans(
    run: Run, arm: Arm, cases: Sequence[Case], hosts: Sequence[Case], settings: Nnunet
) -> Iterator[tuple[str, Scan, np.ndarray]]:
    """Name, scan and affine of every training case.

    Raises:
        LesionAugError: nnU-Net cannot train this arm.
    """
    if len(arm.phases) > 1:
        raise LesionAugError(f"Expected an arm of one phase for nnU-Net, got {run.arm}; leave it out or use quick")
    if arm.begun().courses:
        raise LesionAugError(
            f"Expected an arm whose cases are made before nnU-Net trains, got {run.arm}, which adapts to the network; "
            "leave it out or use quick"
        )
    (phase,), rng = arm.phases, np.random.default_rng([run.seed, run.draw])
    if phase.hosts == "patients":
        yield from ((case.name, case.scan, case.affine) for case in cases)
    if run.arm in OWN_TRAINERS:
        return
    for copy in range(settings.copies):
        for host in hosts if phase.hosts == "healthy" else cases:
            yield f"{host.name}_copy{copy:03d}", phase.change(host, cases, rng), host.affine


def write_raw(folder: Path, training: Sequence[tuple[str, Scan, np.ndarray]], tested: Sequence[Case]) -> None:
    """nnU-Net's raw data set."""
    for name, scan, affine in training:
        _write_images(folder / "imagesTr", name, scan, affine)
        _write(folder / "labelsTr" / f"{name}.nii.gz", scan.lesion_mask[0].numpy().astype(np.uint8), affine)
    for case in tested:
        _write_images(folder / "imagesTs", case.name, case.scan, case.affine)
    content = {
        "channel_names": {str(n): NAMES[name] for n, name in enumerate(training[0][1].channels)},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(training),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content, indent=2))


def read_predictions(folder: Path, tested: Sequence[Case]) -> dict[str, Bool[np.ndarray, "i j k"]]:
    """Predicted masks by case.

    Raises:
        LesionAugError: One is missing, or of another shape than its scan.
    """
    found = {case.name: read_mask(folder / f"{case.name}.nii.gz")[1] for case in tested}
    for case in tested:
        if found[case.name].shape != case.scan.shape:
            raise LesionAugError(
                f"Expected a prediction of {case.scan.shape} voxels for {case.name}, got {found[case.name].shape}; "
                f"remove {folder} and run again"
            )
    return found


def _write_images(folder: Path, name: str, scan: Scan, affine: np.ndarray) -> None:
    for number, image in enumerate(scan.image):
        _write(folder / f"{name}_{number:04d}.nii.gz", image.numpy(), affine)


def _write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


def _call(command: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("w") as stream:
        code = subprocess.run(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        last = " / ".join(log.read_text().strip().splitlines()[-3:])
        raise LesionAugError(f"Expected {' '.join(command[3:6])} to end well, got exit code {code}: {last}; see {log}")
