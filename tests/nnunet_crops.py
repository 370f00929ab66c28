"""A crop as nnU-Net's loader hands it to its first transform, and lesions for it; importable by workers of any kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lesionaug.integrations.nnunet.channels import Roles
from lesionaug.integrations.nnunet.ledger import Ledger
from lesionaug.integrations.nnunet.live import LiveLesions
from lesionaug.integrations.nnunet.maps import encoded
from lesionaug.integrations.nnunet.schedule import Chance, Share
from scans import small_scan

from lesionaug.loaded import ModelChoice, loaded_here
from lesionaug.plan_options import PlanOptions

ROLES = Roles((("flair", 2), ("t1w", 0)), lesion=2, lesions=(2,), ignore=3)
KEPT = (24, 28, 24)


def crop(cascade=False) -> dict[str, torch.Tensor]:
    """Three channels, one of them unknown; labels outside, grey matter, lesion, ignored; the map; a previous stage."""
    scan = small_scan(channels=("flair", "t1w", "t2w"))
    label = torch.where(scan.lesion_mask, 2, 0).to(torch.int16)
    label[:, :4], label[:, :, 30:36], label[:, 20:24] = -1, 3, 1
    previous = torch.full_like(label, 7)
    image = scan.image[[1, 2, 0]]
    return {"image": image, "segmentation": torch.cat([label, encoded(scan), *([previous] if cascade else [])])}


def lesions(folder: Path, renderer=None, probability=1.0, lenient=True, **options) -> LiveLesions:
    return LiveLesions(
        roles=ROLES,
        spacing_mm=(1.0, 1.0, 1.0),
        kept=KEPT,
        options=PlanOptions(**{"num_lesions": 3, "diameter_mm": (3, 6), "halo": False, "gate": False, **options}),
        prior=None,
        renderer=renderer or loaded_here(ModelChoice(model="parametric")),
        lenient=lenient,
        chance=Chance(probability, Share(((0.0, 1.0),))),
        ledger=Ledger(folder / "ledger.jsonl"),
    )


def seeded(transform: LiveLesions, seed: int) -> dict[str, torch.Tensor]:
    """A crop with lesions, from NumPy's seed."""
    np.random.seed(seed)
    return transform(**crop())


def send_seeded(connection, transform: LiveLesions, seed: int) -> None:
    """The same in another process; its answer as arrays, for tensors would need shared memory.

    On one thread, as in nnU-Net's workers: a fork has none of its parent's OpenMP threads, and waits for them for ever.
    """
    torch.set_num_threads(1)
    connection.send({name: tensor.numpy() for name, tensor in seeded(transform, seed).items()})
