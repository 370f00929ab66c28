"""What the prior promises where nothing else is asked for, as a sample like any other."""

from __future__ import annotations

import numpy as np
import torch

from lesionaug.distributions import uniform
from lesionaug.plan_options import DIAMETER_MM, NUM_LESIONS
from lesionaug.planning import draw_volume
from lesionaug.prior import LesionPrior
from lesionaug.report.samples import Sample
from lesionaug.scan import CHANNELS, REGIONS

SCANS = 200


def prior_samples(
    prior: LesionPrior, shares: dict[str, float], channels: tuple[str, ...], seed: int = 0
) -> list[Sample]:
    """Scans as the prior has them, where there is room for everything.

    Args:
        prior: What is drawn from.
        shares: Of the regions, where the data set's scans may have lesions.
        channels: Whose contrast is drawn.
        seed: Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    return [_scan(prior, shares, channels, generator) for _ in range(SCANS)]


def _scan(
    prior: LesionPrior, shares: dict[str, float], channels: tuple[str, ...], generator: torch.Generator
) -> Sample:
    low, high = NUM_LESIONS
    regions = [_region(prior, shares, generator) for _ in range(low + int(uniform(generator) * (high + 1 - low)))]
    bounds = (np.pi / 6 * DIAMETER_MM[0] ** 3, np.pi / 6 * DIAMETER_MM[1] ** 3)
    drawn = [draw_volume(prior, REGIONS.index(region), bounds, np.inf, generator) for region in regions]
    volumes = [volume for volume in drawn if volume]
    rows = [CHANNELS.index(channel) for channel in channels]
    scan = prior.contrast.draw_any_scan(rows, generator)
    contrast = np.array([prior.contrast.draw_lesion(v, rows, scan, generator) for v in volumes])
    return Sample(
        patient="",
        volume_mm3=tuple(volumes),
        load_ml=sum(volumes) / 1000,
        regions=tuple(regions),
        contrast={channel: tuple(row) for channel, row in zip(channels, contrast.T, strict=False)},
    )


def _region(prior: LesionPrior, shares: dict[str, float], generator: torch.Generator) -> str:
    names = [name for name in REGIONS if shares.get(name)]
    ends = np.cumsum([share for name, share in zip(REGIONS, prior.region_share, strict=True) if name in names])
    return names[int(np.searchsorted(ends, uniform(generator) * ends[-1], side="right").clip(0, len(names) - 1))]
