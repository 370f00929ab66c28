"""Synthetic lesions without a network, to calibrate the two-sample test and to be beaten by the generator.

Each maker gets a host patch and a real lesion of another patient (the donor), and returns the patch with a lesion in
it, all in robust units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from benchmarks.realism.appearance import MAD_TO_SD, signed_distance_mm
from benchmarks.realism.hosts import HostResult, HostScan, wanted_volumes
from benchmarks.realism.placement import Room
from benchmarks.realism.shape import MIN_VOXELS

Array = np.ndarray
MARGIN = 5  # voxels around a donor: its ring
NEAREST = 5  # donors of about the wanted volume to draw from
BLUR_MM = 0.8
FEATHER_MM = 2.5


@dataclass(frozen=True)
class Donor:
    """A real lesion with the tissue around it.

    Args:
        patient: Whose it is.
        mask: The lesion, with a margin around it.
        values: Channels in robust units of its scan.
        level: Median of its ring, per channel.
    """

    patient: str
    mask: Bool[Array, "a b c"]
    values: Mapping[str, Float[Array, "a b c"]]
    level: Mapping[str, float]

    def contrast(self, channel: str) -> float:
        """Mean inside minus ring."""
        return float(self.values[channel][self.mask].mean() - self.level[channel])


@dataclass(frozen=True)
class Site:
    """A host patch as large as the donor's.

    Args:
        values: Channel in robust units of the host.
        level: Median of the ring around the lesion to be.
        noise_sd: Of the ring, robust.
        correlation_mm: Width of the Gaussian that gives white noise the ring's neighbour correlation.
    """

    values: Float[Array, "a b c"]
    level: float
    noise_sd: float
    correlation_mm: float


Maker = Callable[[Site, Donor, str, np.random.Generator], tuple[Bool[Array, "a b c"], Float[Array, "a b c"]]]


def constant_ellipsoids(site: Site, donor: Donor, channel: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """Axis-parallel ellipsoid with the donor's box proportions and volume, filled with one value."""
    mask = ellipsoid(donor.mask)
    return mask, np.where(mask, site.level + donor.contrast(channel), site.values)


def smoothed_real_shapes(site: Site, donor: Donor, channel: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """The donor's mask, blurred, times its contrast, plus noise of the host's strength and correlation.

    The method without a network that a generator has to beat.
    """
    mask = donor.mask
    profile = ndimage.gaussian_filter(mask.astype(float), BLUR_MM)
    lesion = site.level + donor.contrast(channel) * profile / profile[mask].mean()
    return mask, np.where(mask, lesion + correlated_noise(mask.shape, site, rng), site.values)


def hard_copy_paste(site: Site, donor: Donor, channel: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """The donor's voxels as they are, in robust units."""
    return donor.mask, np.where(donor.mask, donor.values[channel], site.values)


def blended_copy_paste(site: Site, donor: Donor, channel: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """The donor's voxels, shifted from its ring's level to the host's, fading out over 2.5 mm around the mask."""
    weight = np.clip(1 - signed_distance_mm(donor.mask, (1, 1, 1)) / FEATHER_MM, 0, 1)
    shifted = donor.values[channel] - donor.level[channel] + site.level
    return donor.mask, weight * shifted + (1 - weight) * site.values


def within_label(site: Site, donor: Donor, channel: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """The donor's voxels, shifted from its ring's level to the host's; not a voxel outside its mask changes."""
    return donor.mask, np.where(donor.mask, donor.values[channel] - donor.level[channel] + site.level, site.values)


MAKERS: dict[str, Maker] = {
    "constant_ellipsoids": constant_ellipsoids,
    "smoothed_real_shapes": smoothed_real_shapes,
    "hard_copy_paste": hard_copy_paste,
    "blended_copy_paste": blended_copy_paste,
}

OWN_MAKERS: dict[str, Maker] = {"own_lesions_blended": blended_copy_paste, "own_lesions_within_label": within_label}
"""The host's own lesions, moved: no painter can be asked to do better, with voxels outside the label or without."""


def ellipsoid(mask: Bool[Array, "a b c"]) -> Bool[Array, "a b c"]:
    """Of the same volume as a mask, in the middle of its crop, with semi-axes in proportion to its box."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    axes = [part.stop - part.start for part in box]
    center = [(part.start + part.stop - 1) / 2 for part in box]
    grids = np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij")
    distance = sum(((grid - c) / a) ** 2 for grid, c, a in zip(grids, center, axes, strict=True))
    nearest = np.argsort(distance, axis=None, kind="stable")[: mask.sum()]
    filled = np.zeros(mask.size, bool)
    filled[nearest] = True
    return filled.reshape(mask.shape)


def correlated_noise(shape: Sequence[int], site: Site, rng: np.random.Generator) -> Float[Array, "a b c"]:
    """Gaussian noise of the site's strength and neighbour correlation."""
    noise = ndimage.gaussian_filter(rng.standard_normal(tuple(n + 8 for n in shape)), site.correlation_mm)
    inner = noise[4:-4, 4:-4, 4:-4]
    return inner * site.noise_sd / noise.std()


def donors_of(host: HostScan, min_voxels: int = MIN_VOXELS) -> list[Donor]:
    """All the real lesions of a scan that can be given away.

    Args:
        host: Whose.
        min_voxels: Of a lesion; those that take part in the test if not given.
    """
    images = host.robust_images()
    return [_donor(host, images, crop, box) for crop, box in host.test_lesions(min_voxels)]


def _donor(host: HostScan, images: Mapping[str, Array], crop: Array, box: tuple[slice, ...]) -> Donor:
    wide = tuple(
        slice(max(b.start - MARGIN, 0), min(b.stop + MARGIN, n)) for b, n in zip(box, host.brain.shape, strict=True)
    )
    mask = np.zeros([part.stop - part.start for part in wide], bool)
    mask[tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True))] = crop
    ring = ring_of(mask, host.brain[wide] & ~host.lesions[wide])
    values = {channel: image[wide] for channel, image in images.items()}
    return Donor(host.patient, mask, values, {channel: float(np.median(x[ring])) for channel, x in values.items()})


def ring_of(mask: Bool[Array, "a b c"], tissue: Bool[Array, "a b c"]) -> Bool[Array, "a b c"]:
    """Tissue 2 to 4 mm from a lesion; all the tissue of the crop where there is none so near."""
    signed = signed_distance_mm(mask, (1, 1, 1))
    ring = (signed >= 2) & (signed <= 4) & tissue
    return ring if ring.any() else tissue & ~mask


def site_of(values: Float[Array, "a b c"], mask: Bool[Array, "a b c"], tissue: Bool[Array, "a b c"]) -> Site:
    """What a maker may know of the tissue around the lesion to be."""
    ring = ring_of(mask, tissue)
    level = float(np.median(values[ring]))
    spread = float(MAD_TO_SD * np.median(np.abs(values[ring] - level)))
    return Site(values, level, spread, _correlation_mm(values - level, ring))


def _correlation_mm(residual: Array, region: Array) -> float:
    both = region[1:] & region[:-1]
    products = (residual[1:] * residual[:-1])[both]
    correlation = (
        float(np.clip(products.mean() / max(residual[region].var(), 1e-9), 0.05, 0.95)) if both.any() else 0.05
    )
    # White noise after a Gaussian of width s has correlation exp(-1 / (4 s^2)) between neighbours.
    return float(np.sqrt(-1 / (4 * np.log(correlation))))


def populate(host: HostScan, donors: Sequence[Donor], maker: Maker, seed: int = 0, *, own: bool = False) -> HostResult:
    """Put 1.5 lesions per real one, of the same volumes, into the white matter of a host.

    Args:
        host: Where to.
        donors: Real lesions; those of the host's own patient are not used.
        maker: Makes a lesion.
        seed: Of places, donors and noise.
        own: Whether the host's own lesions are used instead.

    Raises:
        ValueError: All donors are the host's own.
    """
    rng = np.random.default_rng(seed)
    foreign = donors_of(host) if own else [donor for donor in donors if donor.patient != host.patient]
    if not foreign:
        raise ValueError(f"Expected lesions of other patients than {host.patient}, got none; pass more donors")
    room, before = Room.of(host), host.robust_images()
    painted, new = {channel: image.copy() for channel, image in before.items()}, np.zeros_like(host.brain)
    for volume in wanted_volumes(host, rng):
        donor = _draw(foreign, volume, rng)
        box = room.place(donor.mask, rng)
        if box is not None:
            paint(host, painted, new, donor, maker, box, rng)
    # Units there and back cost a voxel its last bits; those that nothing was painted into keep them.
    images = {
        channel: np.where(painted[channel] == before[channel], host.images[channel], image)
        for channel, image in to_scanner_units(host, painted).items()
    }
    return HostResult(host, images, new)


def _draw(donors: Sequence[Donor], volume: float, rng: np.random.Generator) -> Donor:
    off = [abs(np.log(donor.mask.sum() / volume)) for donor in donors]
    return donors[rng.choice(np.argsort(off)[:NEAREST])]


def paint(
    host: HostScan,
    painted: dict[str, Array],
    new: Bool[Array, "i j k"],
    donor: Donor,
    maker: Maker,
    box: tuple[slice, slice, slice],
    rng: np.random.Generator,
) -> None:
    """Put a lesion into `painted`, the host's channels in robust units, and into `new`."""
    tissue = host.brain[box] & ~host.lesions[box]
    for channel, image in painted.items():
        mask, values = maker(site_of(image[box].copy(), donor.mask, tissue), donor, channel, rng)
        image[box] = values
    new[box] |= mask


def to_scanner_units(host: HostScan, painted: Mapping[str, Array]) -> dict[str, Array]:
    """Channels in robust units of a host in the units of its images."""
    found = {}
    for channel, image in host.images.items():
        values = image[host.brain].astype(np.float64)
        center = np.median(values)
        found[channel] = painted[channel] * (MAD_TO_SD * np.median(np.abs(values - center))) + center
    return found
