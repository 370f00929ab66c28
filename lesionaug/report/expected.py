"""What the prior promises, as a sample like any other."""

from __future__ import annotations

import numpy as np
import torch

from lesionaug.distributions import uniform
from lesionaug.planning import draw_size
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
    count = round(prior.count.draw(generator))
    regions = [_region(shares, generator) for _ in range(count)]
    sizes = [draw_size(prior, REGIONS.index(region), None, np.inf, generator) for region in regions]
    volumes = [size.volume_mm3 for size in sizes if size]
    rows = [CHANNELS.index(channel) for channel in channels]
    offset = _offset(prior, rows, generator)
    contrast = np.array([prior.contrast.draw_lesion(v, rows, offset, generator) for v in volumes])
    return Sample(
        patient="",
        volume_mm3=tuple(volumes),
        load_ml=sum(volumes) / 1000,
        regions=tuple(regions),
        contrast={channel: tuple(row) for channel, row in zip(channels, contrast.T, strict=False)},
    )


def _region(shares: dict[str, float], generator: torch.Generator) -> str:
    names = [name for name in REGIONS if name in shares]
    ends = np.cumsum([shares[name] for name in names])
    return names[int(np.searchsorted(ends, uniform(generator) * ends[-1], side="right").clip(0, len(names) - 1))]


def _offset(prior: LesionPrior, rows: list[int], generator: torch.Generator) -> np.ndarray:
    """Of a scan without lesions of its own."""
    between = np.asarray(prior.contrast.between)[np.ix_(rows, rows)]
    unit = torch.randn(len(rows), generator=generator, dtype=torch.float64).clamp(-2.5, 2.5).numpy()
    return np.linalg.cholesky(between + 1e-9 * np.eye(len(rows))) @ unit
