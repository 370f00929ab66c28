"""The figure of `judge`: distributions of real and generated lesions, how well they are told apart, where they lie."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from benchmarks.realism.appearance import feature_names
from benchmarks.realism.halving import Scans, halves_of
from benchmarks.realism.judging import pooled_shapes
from benchmarks.realism.location import CELL_MM, CELLS, LOW_MM, map_of_points
from benchmarks.realism.yardsticks import Yardstick
from lesionaug.anatomy.atlas import packaged_atlas
from lesionaug.dataset.atomic import write_atomically

Array = np.ndarray
REAL = "black"
COLORS = ("tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple", "tab:brown")
PLANES = ("sagittal", "coronal", "axial")
STEPS = 200
BRIGHTEST = 99.8  # percentile of a projection that is drawn black


@dataclass(frozen=True)
class Panel:
    """A distribution.

    Args:
        label: Of its axis.
        values: Of some scans.
        log: Whether the axis is logarithmic.
        unit: What is counted.
    """

    label: str
    values: Callable[[Scans], Float[Array, " n"]]
    log: bool = False
    unit: str = "lesions"


def draw(
    real: Scans,
    generated: Mapping[str, Scans],
    columns: Mapping[str, Sequence[Yardstick]],
    channels: Sequence[str],
    path: Path,
    splits: int = 100,
) -> None:
    """Write the figure, all of it or nothing.

    Args:
        real: Scans of two patients or more.
        generated: Scans of each method.
        columns: Rows of each method.
        channels: Measured.
        path: Of the image; its ending says what kind.
        splits: Halvings of the patients that make the grey band.
    """
    colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(generated)}
    placed = {name: scans for name, scans in {"real": real, **generated}.items() if _points(scans) is not None}
    rows = -(-len(placed) // 2)
    figure = Figure(figsize=(11, 6.4 + 2.1 * rows), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(6.4, max(2.1 * rows, 0.01)))
    axes = top.subplots(2, 3).flat
    for axis, panel in zip(axes, panels(channels, real, generated), strict=False):
        distribution(axis, panel, real, generated, colors, halves_of(real, splits, 0))
    aucs(top.axes[-1], columns, colors)
    top.legend(*top.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=7, frameon=False)
    if placed:
        places(bottom, placed, colors)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.removeprefix(".") or "png", dpi=130)
    write_atomically(path, content.getvalue())


def panels(channels: Sequence[str], real: Scans, generated: Mapping[str, Scans]) -> list[Panel]:
    """What is drawn of these scans."""
    found = [
        Panel("lesion volume (mm$^3$)", lambda scans: np.concatenate([s.volumes_mm3 for s in scans]), log=True),
        Panel("lesions per scan", lambda scans: np.array([len(s.volumes_mm3) for s in scans], float), unit="scans"),
        Panel("load per scan (ml)", _loads_ml, log=True, unit="scans"),
        Panel("sphericity", lambda scans: pooled_shapes(scans)["sphericity"]),
    ]
    if channels and all(scan.features is not None for group in (real, *generated.values()) for scan in group):
        column = feature_names(channels).index(f"{channels[0]}_contrast")
        label = f"{channels[0]} contrast to the tissue around"
        found.append(Panel(label, lambda scans: np.concatenate([s.features[:, column] for s in scans])))
    return found


def _loads_ml(scans: Scans) -> Float[Array, " n"]:
    return np.array([scan.volumes_mm3.sum() / 1000 for scan in scans])


def distribution(
    axis: Axes,
    panel: Panel,
    real: Scans,
    generated: Mapping[str, Scans],
    colors: Mapping[str, str],
    halves: Sequence[tuple[Scans, Scans]],
) -> None:
    """Share of lesions or scans that have so much or less; the band is that of halves of the real patients."""
    everything = np.concatenate([panel.values(scans) for scans in (real, *generated.values())])
    if not len(everything):
        return
    low, high = np.quantile(everything, (0.002, 0.998))
    grid = np.geomspace(max(low, 1e-3), max(high, 2e-3), STEPS) if panel.log else np.linspace(low, high, STEPS)
    shares = [share_up_to(panel.values(half), grid) for pair in halves for half in pair]
    band = np.percentile(shares, (2.5, 97.5), axis=0)
    axis.fill_between(grid, *band, color="0.85", label="halves of the real patients")
    axis.plot(grid, share_up_to(panel.values(real), grid), color=REAL, linewidth=1.8, label="real")
    for name, scans in generated.items():
        axis.plot(grid, share_up_to(panel.values(scans), grid), color=colors[name], linewidth=1.4, label=name)
    axis.set(xlabel=panel.label, ylabel=f"share of {panel.unit} up to this", ylim=(0, 1.02))
    axis.set_xscale("log" if panel.log else "linear")
    axis.spines[["top", "right"]].set_visible(False)


def share_up_to(values: Float[Array, " n"], grid: Float[Array, " m"]) -> Float[Array, " m"]:
    """Empirical distribution function; zero where there are no values."""
    return np.searchsorted(np.sort(values), grid, side="right") / max(len(values), 1)


def aucs(axis: Axes, columns: Mapping[str, Sequence[Yardstick]], colors: Mapping[str, str]) -> None:
    """AUC of every classifier with its standard error; grey is what real lesions show."""
    names = list(dict.fromkeys(row.name for rows in columns.values() for row in rows if row.name.startswith("AUC")))
    if not names:
        axis.axis("off")
        return
    for place, name in enumerate(names):
        found = {method: row for method, rows in columns.items() for row in rows if row.name == name}
        worst = [row.worst_real for row in found.values() if row.worst_real is not None]
        if worst:
            axis.barh(place, max(worst) - 0.5, left=0.5, color="0.85")
        for step, (method, row) in enumerate(found.items()):
            if row.value is not None:
                y = place + 0.5 * ((step + 0.5) / len(found) - 0.5)
                axis.errorbar(row.value, y, xerr=row.error, fmt="o", markersize=4, color=colors[method])
    low = [row.value - 0.05 for rows in columns.values() for row in rows if row.name in names and row.value is not None]
    axis.axvline(0.5, color=REAL, linewidth=0.8)
    axis.set(xlabel="AUC: 0.5 not told apart, 1 always", xlim=(min([0.4, *low]), 1.03), ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), [name.removeprefix("AUC ") for name in names], fontsize=6.5)
    axis.spines[["top", "right"]].set_visible(False)


def places(figure: SubFigure, placed: Mapping[str, Scans], colors: Mapping[str, str]) -> None:
    """Lesion centres in the atlas seen from three sides, with its outline."""
    brain = outline()
    grid = figure.subfigures(-(-len(placed) // 2), 2, squeeze=False)
    for part, (name, scans) in zip(grid.flat, placed.items(), strict=False):
        density = map_of_points(np.concatenate([scan.points_mm for scan in scans]))
        part.suptitle(f"{name}: where lesions are", fontsize=9, color=colors.get(name, REAL))
        for direction, (axis, label) in enumerate(zip(part.subplots(1, 3), PLANES, strict=True)):
            seen = density.sum(axis=direction).T
            axis.imshow(seen, origin="lower", cmap="Greys", vmin=0, vmax=max(np.percentile(seen, BRIGHTEST), 1e-9))
            axis.contour(brain.max(axis=direction).T, [0.5], colors="0.4", linewidths=0.7)
            axis.set_xlabel(label, fontsize=7)
            axis.set(xticks=(), yticks=())
            axis.spines[:].set_visible(False)


def outline() -> Float[Array, "x y z"]:
    """The atlas' brain on the grid of `map_of_points`."""
    affine = np.diag((CELL_MM, CELL_MM, CELL_MM, 1.0))
    affine[:3, 3] = np.array(LOW_MM) + CELL_MM / 2
    return packaged_atlas().resample(affine, CELLS, np.eye(4), ("brain",))[0]


def _points(scans: Scans) -> Array | None:
    if any(scan.points_mm is None for scan in scans):
        return None
    points = np.concatenate([scan.points_mm for scan in scans])
    return points if len(points) else None
