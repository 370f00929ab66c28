"""CarveMix before the two-sample test: another patient's lesions at their own coordinates, with tissue around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool
from scipy import ndimage

from benchmarks.baselines.carvemix import carvemix
from benchmarks.realism.hosts import CLEAR_MM, HostResult, HostScan
from lesionaug.scan import Scan

Array = np.ndarray


def populate_by_carving(host: HostScan, donors: Sequence[HostScan], seed: int = 0) -> HostResult:
    """Carve the lesions of one donor after the other into the host, those that are clear of all that is there.

    Args:
        host: Where to.
        donors: Scans on the same grid; those of the host's own patient are not used.
        seed: Of how much is carved, and of the donors' order.

    Raises:
        ValueError: No other patient has lesions that are clear of the host's.
    """
    rng = np.random.default_rng(seed)
    before = after = scan_of(host)
    for index in rng.permutation(len(donors)):
        free = clear_lesions(replace(host, lesions=after.lesion_mask[0].numpy()), donors[index])
        if free.any():
            after = carvemix(after, replace(scan_of(donors[index]), lesion_mask=torch.from_numpy(free)[None]), rng)
    new = (after.lesion_mask & ~before.lesion_mask)[0].numpy()
    if not new.any():
        raise ValueError(f"Expected lesions of other patients clear of those of {host.name}, got none; add donors")
    return HostResult(host, dict(zip(after.channels, after.image.numpy(), strict=True)), new)


def clear_lesions(host: HostScan, donor: HostScan) -> Bool[Array, "i j k"]:
    """Lesions of another patient that take part in the test, lie in the host's brain and near none of its lesions."""
    found = np.zeros_like(host.brain)
    if donor.patient == host.patient:
        return found
    room = ndimage.distance_transform_edt(~host.lesions) > CLEAR_MM if host.lesions.any() else ~host.lesions
    for crop, box in donor.test_lesions():
        if (room & host.brain)[box][crop].all():
            found[box] |= crop
    return found


def scan_of(host: HostScan) -> Scan:
    """As the synthesiser sees it, with all the brain eligible."""
    brain = torch.from_numpy(np.ascontiguousarray(host.brain))[None]
    return Scan(
        image=torch.from_numpy(np.stack(list(host.images.values())).astype(np.float32)),
        channels=tuple(host.images),
        lesion_mask=torch.from_numpy(np.ascontiguousarray(host.lesions))[None],
        brain=brain,
        eligible=brain.float(),
        regions=torch.zeros_like(brain, dtype=torch.uint8),
        spacing_mm=(1.0, 1.0, 1.0),
    )
