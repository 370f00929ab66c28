"""How bright lesions are, jointly in all channels: between scans, within a scan, and by size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cc3d
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from lesionaug.intensity import MAD_TO_SD, Scale, robust_scale
from lesionaug.scan import CHANNELS, Scan
from lesionaug.types import Mask

RING_MM = (1.5, 4.5)  # from a lesion's voxels to the middle of those around that it is compared with
FLAIR = CHANNELS.index("flair")
MARGIN = 7  # voxels around a lesion that hold its ring
MIN_LESIONS = 3  # of a scan's own before they say how bright its next will be
MAX_LESIONS = 24  # measured; more would only cost time
MIN_FLAIR = 0.8  # robust units; 6 % of 128 real lesions of four patients are fainter
MIN_VOXELS = 5
STRIDE = 2  # voxels; the brain's median and spread need no more of them
REFERENCE_MM3 = 50.0
LIMIT = 2.5  # standard deviations
MAX_T1W = -0.5  # where there is no other channel that would show the lesion
BRIGHTEST_T1W = 0.5  # robust units; beside grey matter a lesion may be brighter than its ring, but hardly more
WORTH = 10  # lesions of a scan that weigh as much as all that is known of other scans


@dataclass(frozen=True)
class ScanContrast:
    """How the lesions of one scan differ from the mean over scans, and from each other.

    Args:
        offset: From the mean, shape `(channels,)`.
        within: Covariance over the scan's lesions, shape `(channels, channels)`.
    """

    offset: np.ndarray
    within: np.ndarray


@dataclass(frozen=True)
class ContrastModel:
    """Contrast `c = mean + slope * log(volume / 50 mm3) + scan + lesion`, in robust units.

    `scan` and `lesion` have the covariances `between` and `within`; rows are `CHANNELS`. Both are Gaussian, but for
    `lesion` in FLAIR: there many lesions are a little fainter than the mean and few much brighter, as nobody delineates
    what does not stand out, so it is log-normal, and wider where the scan's lesions are brighter. T1w goes with it, the
    darker the brighter FLAIR is, from isointense to a black hole.
    """

    mean: tuple[float, ...]
    slope: tuple[float, ...]
    between: tuple[tuple[float, ...], ...]
    within: tuple[tuple[float, ...], ...]

    def expected(self, volume_mm3: float, rows: list[int]) -> np.ndarray:
        """Mean over scans and lesions."""
        mean, slope = np.asarray(self.mean)[rows], np.asarray(self.slope)[rows]
        return mean + slope * np.log(volume_mm3 / REFERENCE_MM3)

    def draw_scan(self, scan: Scan, rows: list[int], generator: torch.Generator) -> ScanContrast:
        """How a scan's lesions look: as in a scan drawn at random, or like its own as far as it has enough of them."""
        drawn = self.draw_any_scan(rows, generator)
        measured, volumes = measure(scan)
        if len(measured) < MIN_LESIONS:
            return drawn
        residuals = np.array([m - self.expected(v, rows) for m, v in zip(measured, volumes, strict=True)])
        mean, count = residuals.mean(axis=0), len(residuals)
        scatter = (residuals - mean).T @ (residuals - mean)
        # Posterior means: of the offset given n residuals' mean, of the covariance under an inverse Wishart prior.
        between, within = _block(self.between, rows), _block(self.within, rows)
        offset = between @ np.linalg.solve(between + within / count, mean)
        usual = self._in_scan(offset, rows).within
        return ScanContrast(offset, (WORTH * usual + scatter) / (WORTH + count - 1))

    def draw_any_scan(self, rows: list[int], generator: torch.Generator) -> ScanContrast:
        """How lesions look in a scan of which nothing is known."""
        return self._in_scan(_gaussian(_block(self.between, rows), generator), rows)

    def draw_lesion(
        self, volume_mm3: float, rows: list[int], scan: ScanContrast, generator: torch.Generator
    ) -> np.ndarray:
        """Contrast of one lesion."""
        lesion = _gaussian(scan.within, generator)
        mean = self.expected(volume_mm3, rows) + scan.offset
        drawn = mean + lesion
        if FLAIR in rows:
            flair = rows.index(FLAIR)
            sd = max(float(scan.within[flair, flair]) ** 0.5, 1e-9)
            variation = sd / self._usual_flair(scan.offset, rows)
            drawn[flair] = max(_log_normal(float(mean[flair]), variation, float(lesion[flair]) / sd), MIN_FLAIR)
        if CHANNELS.index("t1w") in rows:
            t1w = rows.index(CHANNELS.index("t1w"))
            alone = MAX_T1W - abs(float(lesion[t1w]))
            drawn[t1w] = min(float(drawn[t1w]), BRIGHTEST_T1W) if len(rows) > 1 else min(float(drawn[t1w]), alone)
        return drawn

    def _in_scan(self, offset: np.ndarray, rows: list[int]) -> ScanContrast:
        """Where lesions are brighter they also differ more in FLAIR."""
        unit = np.ones(len(rows))
        if FLAIR in rows:
            usual = self._usual_flair(np.zeros(len(rows)), rows)
            unit[rows.index(FLAIR)] = self._usual_flair(offset, rows) / usual
        return ScanContrast(offset, _block(self.within, rows) * np.outer(unit, unit))

    def _usual_flair(self, offset: np.ndarray, rows: list[int]) -> float:
        flair = rows.index(FLAIR)
        return max(float((self.expected(REFERENCE_MM3, rows) + offset)[flair]), MIN_FLAIR)


def scale_of(scan: Scan) -> Scale:
    """Robust units of a scan, from some of its voxels."""
    some = (slice(None), *(slice(None, None, STRIDE),) * 3)
    return robust_scale(scan.image[some], scan.brain[some])


def local_spread(scan: Scan, scale: Scale, center: tuple[int, int, int], radius_mm: float) -> np.ndarray:
    """Robust spread of the tissue around a place, per channel, in robust units: what a lesion has to stand out of.

    Args:
        scan: Where.
        scale: Its robust units.
        center: Voxel.
        radius_mm: Of the lesion; looked at is the box around it that reaches 4 mm further.
    """
    reach = [max(1, round((radius_mm + 4.0) / step)) for step in scan.spacing_mm]
    box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(center, reach, strict=True))
    tissue = (scan.brain & ~scan.lesion_mask)[0][box]
    values = scan.image[(slice(None), *box)][:, tissue].float()
    deviation = (values - values.median(dim=1, keepdim=True).values).abs().median(dim=1).values
    return (MAD_TO_SD * deviation / scale.spread).double().numpy()


def measure(
    scan: Scan, limit: int | None = MAX_LESIONS, at_least: int = MIN_LESIONS
) -> tuple[list[np.ndarray], list[float]]:
    """Contrast and volume in mm3 of the scan's own lesions of at least five voxels.

    Args:
        scan: Only image, lesions, brain and spacing count.
        limit: How many are measured at most, evenly chosen.
        at_least: Nothing is measured where there are fewer.
    """
    if not bool(scan.lesion_mask.any()):
        return [], []
    around = _box_of(scan.lesion_mask)
    mask, brain = scan.lesion_mask[around], scan.brain[around]
    parts = cc3d.connected_components(np.ascontiguousarray(mask[0].numpy()), connectivity=26)
    statistics = cc3d.statistics(parts)
    sizes, boxes = statistics["voxel_counts"], statistics["bounding_boxes"]
    chosen = [label for label in range(1, len(sizes)) if sizes[label] >= MIN_VOXELS]
    if len(chosen) < at_least:
        return [], []
    chosen = chosen[:: -(-len(chosen) // (limit or len(chosen)))]
    scale = scale_of(scan)
    contrasts = []
    for label in chosen:
        box = (slice(None), *_grown(boxes[label], mask.shape[1:]))
        image = scale.normalise(scan.image[around][box].float())
        tissue = (brain[box] & ~mask[box])[0].numpy()
        contrasts.append(_contrast_of(image.numpy(), parts[box[1:]] == label, tissue, scan.spacing_mm))
    return contrasts, [float(sizes[label] * scan.voxel_mm3) for label in chosen]


def _contrast_of(
    image: np.ndarray, lesion: np.ndarray, tissue: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Mean of a lesion minus the median of the tissue around it, in mm: slices far apart are not around each other."""
    distance = distance_transform_edt(~lesion, sampling=spacing_mm)
    ring = tissue & (distance > RING_MM[0]) & (distance <= RING_MM[1])
    around = image[:, ring if ring.any() else tissue]
    level = np.median(around, axis=1) if around.size else 0.0
    return (image[:, lesion].mean(axis=1) - level).astype(np.float64)


def _box_of(mask: Mask) -> tuple[slice, ...]:
    """The box around a mask, with the margin that rings need."""
    spans = [mask[0].any(dim=axis[0]).any(dim=axis[1]).nonzero() for axis in ((2, 1), (2, 0), (1, 0))]
    box = tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return (slice(None), *_grown(box, tuple(mask.shape[1:])))


def _grown(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(b.start - MARGIN, 0), min(b.stop + MARGIN, n)) for b, n in zip(box, shape, strict=True))


def _block(covariance: tuple[tuple[float, ...], ...], rows: list[int]) -> np.ndarray:
    return np.asarray(covariance)[np.ix_(rows, rows)]


def _log_normal(mean: float, variation: float, unit: float) -> float:
    """The number with this mean and coefficient of variation that a standard normal one stands for."""
    sigma = math.sqrt(math.log1p(variation**2))
    return mean * math.exp(sigma * unit - sigma**2 / 2)


def _gaussian(covariance: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Draw without the far tails, which no lesion has."""
    unit = torch.randn(len(covariance), generator=generator, dtype=torch.float64).clamp(-LIMIT, LIMIT).numpy()
    return np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance))) @ unit
