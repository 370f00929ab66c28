"""Real lesions of a scan beside synthetic ones in the same scan, three planes, one grey window.

`python -m benchmarks.figure --output docs/figures/lesions.png` draws the figure of the README.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from matplotlib.axes import Axes

from benchmarks.realism.generator import scan_of
from benchmarks.realism.hosts import HostScan, load_host
from benchmarks.realism.shape import lesions_with_boxes
from lesionaug.plan_options import PlanOptions
from lesionaug.synthesis import LesionSynthesizer, load_synthesizer

PLANES = ("sagittal", "coronal", "axial")
HALF_MM = 20
MAX_MM3 = 1500


@dataclass(frozen=True)
class Figure:
    """Draw real beside synthetic lesions.

    Args:
        output: Image to write.
        hosts: Scans of the shared data, or folders laid out like them.
        channel: Contrast shown.
        lesions: Of each kind per host.
        diffmask: Folder of a mask model instead of the packaged one.
        lefusion: Folder of an inpainting model instead of the packaged one.
        seed: Of the plan.
        halo: Whether lesions may show their partial volume around the label.
        outlines: Whether the label's contour is drawn.
    """

    output: Path
    hosts: tuple[str, ...] = ("patient07", "P18_T1", "flair_example")
    channel: str = "flair"
    lesions: int = 6
    diffmask: Path | None = None
    lefusion: Path | None = None
    seed: int = 0
    halo: bool = False
    outlines: bool = False


def main(config: Figure) -> None:
    """Render, draw, write."""
    synthesizer = load_synthesizer(diffmask=config.diffmask, lefusion=config.lefusion)
    rows, columns = len(config.hosts) * len(PLANES), 2 * config.lesions + 1
    ratios = [1] * config.lesions + [0.15] + [1] * config.lesions
    figure, axes = plt.subplots(rows, columns, figsize=(1.15 * columns, 1.2 * rows), width_ratios=ratios, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for number, name in enumerate(config.hosts):
        host = load_host(name)
        block = axes[number * len(PLANES) : (number + 1) * len(PLANES)]
        _draw_host(block, host, synthesizer, config)
        block[1, 0].text(-0.25, 0.5, name, rotation=90, va="center", ha="right", transform=block[1, 0].transAxes)
    figure.text(0.27, 0.995, "real", ha="center", va="top", size=13)
    figure.text(0.75, 0.995, "synthetic", ha="center", va="top", size=13)
    figure.subplots_adjust(0.03, 0.005, 0.995, 0.965, wspace=0.03, hspace=0.03)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(config.output, dpi=110, pil_kwargs={"optimize": True})


def _draw_host(block: np.ndarray, host: HostScan, synthesizer: LesionSynthesizer, config: Figure) -> None:
    scan = scan_of(host)
    plan = synthesizer.plan(
        scan, torch.Generator().manual_seed(config.seed), PlanOptions(num_lesions=5 * config.lesions, halo=config.halo)
    )
    after = synthesizer.render(scan, plan)
    new = (after.lesion_mask & ~scan.lesion_mask)[0].numpy()
    row = scan.channels.index(config.channel)
    before_image, after_image = scan.image[row].numpy(), after.image[row].numpy()
    window = np.percentile(after_image[host.brain], (1, 99.97))
    real, synthetic = (_largest(mask, config.lesions) for mask in (host.lesions, new))
    for column, center in enumerate(real):
        _draw(block[:, column], before_image, host.lesions, center, window, config.outlines)
    for column, center in enumerate(synthetic, start=config.lesions + 1):
        _draw(block[:, column], after_image, new, center, window, config.outlines)


def _largest(mask: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """Centres of the largest lesions that fit a crop."""
    found = [(crop.sum(), box) for crop, box in lesions_with_boxes(mask) if crop.sum() <= MAX_MM3]
    found.sort(key=lambda item: -item[0])
    return [tuple((part.start + part.stop) // 2 for part in box) for _, box in found[:count]]


def _draw(
    column: Sequence[Axes],
    image: np.ndarray,
    mask: np.ndarray,
    center: tuple[int, ...],
    window: tuple[float, float],
    outlines: bool,
) -> None:
    for plane, axis in enumerate(column):
        section = [slice(max(c - HALF_MM, 0), c + HALF_MM) for c in center]
        section[plane] = center[plane]
        axis.imshow(np.rot90(image[tuple(section)]), cmap="gray", vmin=window[0], vmax=window[1])
        if outlines:
            axis.contour(np.rot90(mask[tuple(section)]), [0.5], colors="tab:orange", linewidths=0.7)


if __name__ == "__main__":
    main(tyro.cli(Figure))
