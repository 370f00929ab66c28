"""Tiny published models with weights that mean nothing, and checkpoints of them in the published layout."""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from lesionaug.diffusion.schedules import cosine_tables
from lesionaug.models.published import PublishedDiffMask, PublishedLeFusion
from lesionaug.models.published_config import DIFFMASK_PRESETS, LEFUSION_PRESETS
from lesionaug.networks.unet3d import Unet3D, Unet3DConfig

STEPS = 6
SHAPE = (4, 8, 8)
NETWORKS = {
    "diffmask": Unet3DConfig(dim=8, dim_mults=(1, 2), in_channels=2),
    "lefusion": Unet3DConfig(dim=8, dim_mults=(1, 2), condition_size=16),
}


def network(job: str, seed: int = 0) -> Unet3D:
    torch.manual_seed(seed)
    return Unet3D(NETWORKS[job]).eval().requires_grad_(False)


def diffmask(num_steps: int | None = None, **changes) -> PublishedDiffMask:
    changes = {"diffusion_steps": STEPS, "patch_shape": SHAPE, **changes}
    config = replace(DIFFMASK_PRESETS["fork"], network=NETWORKS["diffmask"], **changes)
    return PublishedDiffMask(network("diffmask"), cosine_tables(STEPS), config, num_steps)


def lefusion(num_steps: int | None = None, **changes) -> PublishedLeFusion:
    changes = {"diffusion_steps": STEPS, "patch_shape": SHAPE, "jump_length": 2, "jump_n_sample": 2, **changes}
    config = replace(LEFUSION_PRESETS["fork"], network=NETWORKS["lefusion"], **changes)
    return PublishedLeFusion(network("lefusion"), cosine_tables(STEPS), config, num_steps)


def published_content(job: str, prefix: str = "denoise_fn.module.") -> dict:
    tables = asdict(cosine_tables(STEPS))
    states = {
        weights: {**tables, **{prefix + key: value for key, value in network(job, seed).state_dict().items()}}
        for seed, weights in enumerate(("model", "ema"))
    }
    return {"step": 7, **states, "scaler": {}}


def published_file(path: Path, job: str, prefix: str = "denoise_fn.module.") -> Path:
    torch.save(published_content(job, prefix), path)
    return path
