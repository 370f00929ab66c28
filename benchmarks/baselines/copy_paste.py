"""Copy and paste, aware of masks and blended: real lesions of other scans in places where lesions may be.

How a lesion is blended, and where it fits, is what `benchmarks.realism` judges: there is one implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from benchmarks.realism.baselines import Donor, blended_copy_paste, donors_of, paint, to_scanner_units
from benchmarks.realism.hosts import CLEAR_MM, HostScan
from benchmarks.realism.placement import Room
from lesionaug.errors import LesionAugError
from lesionaug.scan import Scan

MIN_VOXELS = 3  # what counts as a lesion where segmentations are judged; a method must be able to add all of these
CENTRES = 20_000  # drawn by their probability, then tried one after the other
ISOTROPIC_MM = 0.02  # how far a voxel may be from 1 mm


def donors_in(scan: Scan, patient: str) -> list[Donor]:
    """The lesions of a scan that can be given away: from 3 to 1500 mm3, each with the tissue around it.

    Larger ones are confluent, and find no room in another brain.

    Args:
        scan: 1 mm isotropic.
        patient: Whose it is.

    Raises:
        LesionAugError: Voxels of another size.
    """
    return donors_of(_host(scan, patient), MIN_VOXELS)


def copy_paste(
    scan: Scan, donors: Sequence[Donor], rng: np.random.Generator, num_lesions: tuple[int, int] = (1, 10)
) -> Scan:
    """A scan with lesions of others, each at the level of the tissue around its new place, fading out over 2.5 mm.

    Lesions go where the scan's eligible map says, clear of all others; one that fits nowhere is left out. Voxels beyond
    the fading keep their bits.

    Args:
        scan: 1 mm isotropic.
        donors: Real lesions, of other patients.
        rng: All that is random.
        num_lesions: From how many to how many are tried.

    Raises:
        LesionAugError: No donors, some that lack a channel, no room, or voxels of another size.
    """
    if not donors:
        raise LesionAugError("Expected lesions to paste, got none; pass those of other patients: donors_in(scan, name)")
    if any(set(scan.channels) - set(donor.values) for donor in donors):
        wanted = ", ".join(scan.channels)
        raise LesionAugError(f"Expected donors with {wanted}, got some without; cut them from such scans")
    host = _host(scan, "")
    room, before = _room(scan, rng), host.robust_images()
    painted, new = {channel: image.copy() for channel, image in before.items()}, np.zeros_like(host.brain)
    for _ in range(int(rng.integers(num_lesions[0], num_lesions[1] + 1))):
        donor = donors[int(rng.integers(len(donors)))]
        box = room.place(donor.mask, rng)
        if box is not None:
            paint(host, painted, new, donor, blended_copy_paste, box, rng)
    changed = np.stack([painted[channel] != before[channel] for channel in scan.channels])
    return _written(scan, to_scanner_units(host, painted), torch.from_numpy(changed), torch.from_numpy(new)[None])


def _written(scan: Scan, images: dict[str, np.ndarray], changed: torch.Tensor, new: torch.Tensor) -> Scan:
    image = torch.from_numpy(np.stack([images[channel] for channel in scan.channels])).to(scan.image.dtype)
    return replace(
        scan,
        image=torch.where(changed & scan.brain, image, scan.image),
        lesion_mask=scan.lesion_mask | new,
    )


def _room(scan: Scan, rng: np.random.Generator) -> Room:
    """Eligible tissue that no lesion is near; centres are drawn by their probability."""
    lesions, eligible = scan.lesion_mask[0].numpy(), scan.eligible[0].numpy()
    clear = ndimage.distance_transform_edt(~lesions) > CLEAR_MM if lesions.any() else ~lesions
    weights = np.where(clear, eligible, 0).astype(float).reshape(-1)
    if not weights.any():
        raise LesionAugError("Expected eligible tissue clear of lesions, got none; check the scan's eligible map")
    drawn = rng.choice(weights.size, CENTRES, p=weights / weights.sum())
    centres = np.stack(np.unravel_index(drawn, eligible.shape), axis=1)
    return Room(eligible > 0, clear, scan.brain[0].numpy() & ~lesions, centres)


def _host(scan: Scan, name: str) -> HostScan:
    if any(abs(size - 1) > ISOTROPIC_MM for size in scan.spacing_mm):
        raise LesionAugError(f"Expected voxels of 1 mm, got {scan.spacing_mm}; resample the scan")
    images = {channel: image.numpy() for channel, image in zip(scan.channels, scan.image, strict=True)}
    return HostScan(name, images, scan.brain[0].numpy(), scan.lesion_mask[0].numpy())
