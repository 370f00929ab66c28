"""How a lesion's contrast falls off at the border of its label: `python -m lesionaug.pretrain.edges SCANS.csv`.

Against the signed distance to the border (in mm, negative inside) contrast follows `Phi((shift - distance) / width)`.
The width is fitted beside the blur that `lesionaug.models.grain` measures in the tissue around, the shift says how far
what is seen reaches beyond what the rater drew. Both are constants of `lesionaug.models.compositing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import torch
import tyro
from lesionaug.pretrain.labelled import LabelledScan
from lesionaug.pretrain.reading import read_scan
from lesionaug.pretrain.sources import find_sources
from scipy.ndimage import distance_transform_edt
from scipy.optimize import minimize
from scipy.special import ndtr

from lesionaug.models.grain import scanner_blur

MIN_MM3 = 30.0
CORE_MM = 1.0  # so deep a lesion has its full contrast
RING_MM = (3.0, 5.0)
CLEAR_MM = 3.0  # from other lesions
MIN_CONTRAST = 0.5  # robust units; fainter ones have no edge to speak of
MARGIN = 8  # voxels
THICK_MM = 2.0  # of slices, from which a lesion is looked at within the slice that shows most of it


@dataclass(frozen=True)
class Edge:
    """Of one scan and channel: shift and width in mm, and the blur measured there."""

    shift_mm: float
    width_mm: float
    blur_mm: float
    lesions: int


def edge_of(scan: LabelledScan, channel: int) -> Edge | None:
    """Fit the edge of a scan's lesions; none where fewer than two are large and bright enough."""
    image, brain = scan.image[channel].astype(np.float32), scan.brain
    center = np.median(image[brain])
    robust = (image - center) / (1.4826 * np.median(np.abs(image[brain] - center)))
    found = [profile for profile in _profiles(robust, scan) if profile is not None]
    if len(found) < 2:
        return None
    distance, contrast = (np.concatenate(parts) for parts in list(zip(*found, strict=True))[:2])

    def error(values: np.ndarray) -> float:
        shift, width, top = values
        return float(np.abs(top * ndtr((shift - distance) / max(width, 1e-3)) - contrast).mean())

    shift, width, _ = minimize(error, (0.0, 0.8, 1.0), method="Nelder-Mead").x
    return Edge(float(shift), float(width), float(np.median([blur for *_, blur in found])), len(found))


def _profiles(robust: np.ndarray, scan: LabelledScan) -> Iterator[tuple[np.ndarray, np.ndarray, float] | None]:
    spacing = np.asarray(scan.spacing_mm)
    labels = np.asarray(cc3d.connected_components(scan.lesions, connectivity=26))
    statistics = cc3d.statistics(labels)
    for label in range(1, len(statistics["voxel_counts"])):
        if statistics["voxel_counts"][label] * spacing.prod() >= MIN_MM3:
            box = statistics["bounding_boxes"][label]
            wide = tuple(slice(max(b.start - MARGIN, 0), b.stop + MARGIN) for b in box)
            mask, others = labels[wide] == label, (labels[wide] > 0) & (labels[wide] != label)
            yield _profile(robust[wide], mask, others, scan.brain[wide], spacing)


def _profile(
    image: np.ndarray, mask: np.ndarray, others: np.ndarray, brain: np.ndarray, spacing: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Distances to the border and relative contrast around one lesion, and the blur in mm."""
    fine = spacing < THICK_MM
    tissue = torch.from_numpy(brain & ~mask & ~others)[None, None]
    widths = scanner_blur(torch.from_numpy(image)[None, None], tissue, torch.from_numpy(mask)[None, None])[0, 0]
    blur = float((widths.numpy() * spacing)[fine].mean())
    if not fine.all():
        axis = int(np.argmin(fine))
        place = int(np.argmax(mask.sum(axis=tuple({0, 1, 2} - {axis}))))
        image, mask, others, brain = (part.take(place, axis) for part in (image, mask, others, brain))
        spacing = np.delete(spacing, axis)
    distance = signed_distance_mm(mask, spacing)
    clear = brain & (distance_transform_edt(~others, sampling=spacing) > CLEAR_MM)
    ring, core = (distance > RING_MM[0]) & (distance < RING_MM[1]) & clear, distance < -CORE_MM
    if min(ring.sum(), core.sum()) < 4:
        return None
    level = np.median(image[ring])
    height = image[core].mean() - level
    if abs(height) < MIN_CONTRAST:
        return None
    chosen = clear & (distance > -2.5) & (distance < 4)
    return distance[chosen], ((image - level) / height)[chosen].clip(-1.5, 2.5), blur


def signed_distance_mm(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance of voxels to the border of a mask, negative inside."""
    half = float(np.min(spacing)) / 2
    outside = distance_transform_edt(~mask, sampling=spacing) - half
    return np.where(mask, half - distance_transform_edt(mask, sampling=spacing), outside)


def main(table: tyro.conf.Positional[Path]) -> None:
    """Print the edges of labelled scans, and a line through width over blur.

    Args:
        table: Columns subject, patient, flair, t1w, t2w, lesion, brain.
    """
    edges: dict[str, list[Edge]] = {}
    for files in (scan for source in find_sources([table], "table") for scan in source.scans):
        scan = read_scan(files)
        for index, channel in enumerate(scan.channels):
            edge = edge_of(scan, index)
            print(scan.subject, channel, edge, flush=True)
            edges.setdefault(channel, []).extend([edge] if edge else [])
    for channel, found in edges.items():
        blur, width, shift = (np.array([getattr(e, n) for e in found]) for n in ("blur_mm", "width_mm", "shift_mm"))
        slope, start = np.polyfit(blur, width, 1) if len(found) > 2 else (np.nan, np.nan)
        print(
            f"{channel}: shift {np.median(shift):.2f} mm, width {slope:.2f} * blur + {start:.2f} mm, {len(found)} scans"
        )


if __name__ == "__main__":
    tyro.cli(main)
