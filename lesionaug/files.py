"""From scan files to the same files with new lesions: plan and render on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lesionaug.anatomy import anatomy_from_labels
from lesionaug.assemble import assemble_scan
from lesionaug.checks import binary_mask
from lesionaug.errors import LesionAugError
from lesionaug.io import NiftiImage, mask_like, nifti_bytes, read_intensities, read_mask, read_nifti, sha256_of
from lesionaug.loaded import ModelChoice, loaded_synthesizer
from lesionaug.plan_options import PlanOptions
from lesionaug.record import InputFile, Record, versions
from lesionaug.rendering import Progress
from lesionaug.scan import CHANNELS, LesionPlan, Scan
from lesionaug.synthesis import left_out

LESIONS, ELIGIBLE, LABELS, BRAIN = "lesions", "eligible", "labels", "brain"
"""Roles of input files besides the channels."""


@dataclass(frozen=True)
class ScanFiles:
    """A scan together with the files it came from.

    Args:
        images: By channel.
        lesions: Label of the existing lesions; empty where no file was given.
        scan: What the synthesiser sees of them.
        lesion_value: Value of lesions in a label of several classes.
    """

    images: dict[str, NiftiImage]
    lesions: NiftiImage
    scan: Scan
    lesion_value: float | None = None

    @property
    def affine(self) -> np.ndarray:
        """Voxel to world in mm, 4 by 4."""
        return next(iter(self.images.values())).affine

    def outputs(self, after: Scan) -> dict[str, bytes]:
        """Files like those read, with what was rendered, by name."""
        new = (after.lesion_mask & ~self.scan.lesion_mask)[0].numpy()
        changed = new | (after.image != self.scan.image).any(dim=0).numpy()  # a halo lies around the label
        files = {
            f"{channel}.nii.gz": nifti_bytes(self.images[channel], values.numpy(), changed)
            for channel, values in zip(after.channels, after.image, strict=True)
        }
        _, foreground = binary_mask(self.lesions.data, self.lesions.name, self.lesion_value)
        return {**files, "lesion.nii.gz": nifti_bytes(self.lesions, np.full(new.shape, foreground), new)}


def read_scan(paths: Mapping[str, Path], lesion_value: float | None = None) -> ScanFiles:
    """A scan from NIfTI files.

    Args:
        paths: By role: channels, and `lesions`, `eligible`, `labels` and `brain` where there are any.
        lesion_value: Value of lesions in a label of several classes.

    Raises:
        LesionAugError: No image, or files that cannot be read, used or do not match.
    """
    images = {channel: read_intensities(paths[channel]) for channel in CHANNELS if channel in paths}
    if not images:
        raise LesionAugError("Expected at least one image, got none; give --flair or --t1w")
    like = next(iter(images.values()))
    lesions, mask = read_mask(paths[LESIONS], lesion_value) if LESIONS in paths else _no_lesions(like)
    eligible, labels, brain = (read_nifti(paths[role]) if role in paths else None for role in (ELIGIBLE, LABELS, BRAIN))
    for image in (*images.values(), lesions, eligible, labels, brain):
        if image is not None:
            image.check_same_grid(like)
    scan = assemble_scan(
        {channel: torch.from_numpy(image.data)[None] for channel, image in images.items()},
        like.affine,
        torch.from_numpy(mask)[None],
        eligible=None if eligible is None else torch.from_numpy(eligible.data)[None],
        anatomy=None if labels is None else anatomy_from_labels(labels.data.astype(np.int32), like.affine),
        brain_mask=None if brain is None else torch.from_numpy(brain.data)[None],
    )
    return ScanFiles(images, lesions, scan, lesion_value)


def plan_files(
    paths: Mapping[str, Path],
    home: Path,
    files: ScanFiles,
    seed: int,
    options: PlanOptions,
    choice: ModelChoice,
    prior: str | None,
) -> Record:
    """Draw the lesions for a scan on disk.

    Args:
        paths: By role, as for `read_scan`; relative ones from `home`.
        home: Folder of the record.
        files: What was read from them.
        seed: All that is random comes from it.
        options: What the user fixed instead of leaving it to the prior.
        choice: The models that are to render.
        prior: File of a prior, or the packaged one.
    """
    synthesizer = loaded_synthesizer(choice, prior)
    plan = synthesizer.plan(files.scan, torch.Generator().manual_seed(seed), options)
    return Record(
        inputs={role: InputFile(str(path), sha256_of(home / path)) for role, path in paths.items()},
        spacing_mm=files.scan.spacing_mm,
        seed=seed,
        options=asdict(options),
        models=asdict(choice),
        digests=choice.digests(),
        prior={"path": prior, "digest": synthesizer.prior.digest},
        plan=plan.to_dict(),
        outputs={},
        versions=versions(),
        lesion_value=files.lesion_value,
    )


def render_files(
    record: Record, files: ScanFiles, progress: Progress | None = None
) -> tuple[dict[str, bytes], Scan, Record]:
    """Files with the lesions of a record, by name, the scan they show, and the record of them.

    Raises:
        LesionAugError: The models are not those of the record.
    """
    choice = ModelChoice(**record.models)
    if choice.digests() != record.digests:
        raise LesionAugError(
            f"Expected the models that the plan was made with, {record.digests}, got {choice.digests()}; "
            "use those, or synthesize again"
        )
    plan = LesionPlan.from_dict(record.plan)
    after, instances = loaded_synthesizer(choice).render_instances(files.scan, plan, progress)
    outputs = files.outputs(after)
    return outputs, after, with_outputs(record, outputs, left_out(plan, instances))


def with_outputs(record: Record, outputs: Mapping[str, bytes], missing: tuple[int, ...]) -> Record:
    """The record of these outputs.

    Args:
        record: Of the plan.
        outputs: By name.
        missing: Lesions that the gate has left out.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in outputs.items()}
    return replace(record, outputs=digests, left_out=missing)


def _no_lesions(like: NiftiImage) -> tuple[NiftiImage, np.ndarray]:
    empty = mask_like(like)
    return empty, empty.data > 0
