"""Distributions of one measure side by side, as SVG that goes into the page."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionaug.report.compare import Measure
from lesionaug.report.samples import Sample
from lesionaug.scan import REGIONS

COLORS = {"new": "#c2410c", "prior": "#6b7280", "hosts": "#2563eb", "reference": "#111827"}
DASHES = {"prior": "--"}
FEW = 40  # values, below which bins would be noise
LABELS = {
    "new": "new lesions",
    "prior": "prior",
    "hosts": "the hosts' own lesions",
    "reference": "reference masks",
}
Groups = Mapping[str, Sequence[Sample]]


def plot(measure: Measure, groups: Groups) -> str:
    """One panel.

    Args:
        measure: What to draw.
        groups: Samples by key of `COLORS`.

    Returns:
        An `svg` element; empty where the measure is not known of the new lesions.
    """
    values = {key: [v for sample in samples for v in measure.of(sample)] for key, samples in groups.items()}
    values = {key: found for key, found in values.items() if found}
    if "new" not in values:
        return ""
    figure = Figure(figsize=(4.3, 2.9), layout="constrained")
    axes = figure.subplots()
    draw = _bars if measure.categories else _steps if measure.per_scan else _outlines
    draw(axes, measure, values)
    axes.set_xlabel("" if measure.categories else measure.name)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return _svg(figure)


def _outlines(axes: Axes, measure: Measure, values: Mapping[str, list]) -> None:
    """Shares in bins that all groups have in common."""
    everything = np.concatenate([np.asarray(found, float) for found in values.values()])
    low, high = np.quantile(everything, (0.001, 0.9995))
    if measure.log:
        bins = np.geomspace(max(low, 1e-3), max(high, 1e-3) * 1.0001, 22).tolist()
        axes.set_xscale("log")
    else:
        bins = np.linspace(low, high + 1e-6, 22).tolist()
    for key, found in values.items():
        clipped = np.clip(np.asarray(found, float), bins[0], bins[-1])
        _histogram(axes, key, clipped, bins) if len(found) >= FEW or key == "new" else _ticks(axes, key, clipped)
    axes.set_ylabel("share of lesions")
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # for ticks
    axes.margins(x=0.01)


def _histogram(axes: Axes, key: str, values: np.ndarray, bins: list[float]) -> None:
    share = np.full(len(values), 1 / len(values))
    if key == "new":
        axes.hist(values, bins, weights=share, color="#fed7aa")
    style, label = DASHES.get(key, "-"), _label(key, values)
    axes.hist(
        values, bins, weights=share, histtype="step", linewidth=1.4, label=label, color=COLORS[key], linestyle=style
    )


def _ticks(axes: Axes, key: str, values: np.ndarray) -> None:
    """Each value by itself, at the top, every group in a row of its own."""
    row = 0.93 if key == "hosts" else 0.85
    place, label = axes.get_xaxis_transform(), _label(key, values)
    axes.vlines(values, row, row + 0.06, transform=place, color=COLORS[key], linewidth=0.9, label=label)


def _steps(axes: Axes, measure: Measure, values: Mapping[str, list]) -> None:
    """Share of scans that have so much or less; scans are too few for bins."""
    for key, found in values.items():
        places = np.sort(np.asarray(found, float))
        axes.step(
            np.concatenate([places[:1], places]),
            np.linspace(0, 1, len(places) + 1),
            where="post",
            linewidth=1.4,
            label=_label(key, found, "scans"),
            color=COLORS[key],
            linestyle=DASHES.get(key, "-"),
        )
    if measure.log:
        axes.set_xscale("log")
    axes.set_ylabel("share of scans up to this")


def _bars(axes: Axes, measure: Measure, values: Mapping[str, list]) -> None:
    names = [name for name in (*REGIONS, "elsewhere") if any(name in found for found in values.values())]
    width = 0.8 / len(values)
    for place, (key, found) in enumerate(values.items()):
        counts = Counter(found)
        axes.bar(
            np.arange(len(names)) + (place - (len(values) - 1) / 2) * width,
            [counts[name] / len(found) for name in names],
            0.9 * width,
            color="#fb923c" if key == "new" else COLORS[key],
            label=_label(key, found),
        )
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=7.5)
    axes.set_ylabel("share of lesions")


def _label(key: str, found: Sequence | np.ndarray, unit: str = "") -> str:
    return LABELS[key] if key == "prior" else f"{LABELS[key]} ({len(found)}{' ' + unit if unit else ''})"


def _svg(figure: Figure) -> str:
    content = io.StringIO()
    # Text stays text, to be found and read aloud; identifiers come from the content alone, so that pages are the same.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lesionaug", "font.family": "sans-serif"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue().partition("<svg")[1] + content.getvalue().partition("<svg")[2]
