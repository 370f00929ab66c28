"""`python -m benchmarks.placement`: where lesions lie and what shape they have, real ones beside synthetic ones.

Three kinds of places, each with its real lesions and with synthetic ones drawn there by default settings:

    template    a database of single lesions, brought to the ICBM template by a non-linear registration
    hosts       patients with images at 1 mm: their own lesions, their own anatomy, judged by `benchmarks.places`
    patients    24 masks without images: shape alone, beside the synthetic lesions of all hosts

Without an image there is a brain's outline at best, and an outline places ventricles and cortex to several millimetres
only, so patients have no tissues. Thick slices are left out: their lesions fill one or two slices and have the shape of
these. Synthetic lesions are taken one by one, real ones as 26-connected pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from benchmarks.measure import provenance
from benchmarks.places import FLUID, GREY, WHITE, Place, patient, template
from benchmarks.realism.hosts import load_host, load_masks, shared
from benchmarks.realism.shape import lesions_with_boxes, shape_features
from benchmarks.result_files import write_result
from lesionaug import PlanOptions, load_synthesizer
from lesionaug.gate import depth_ratio
from lesionaug.synthesis import LesionSynthesizer

Array = np.ndarray
Row = dict[str, float]
Summary = dict[str, float | list[float]]

LEAST_MM3 = 10.0
MOST_MM3 = 4200.0  # what the generator draws as one lesion; larger ones count as volume, not as a lesion beside others
CLASSES_MM3 = (10.0, 30.0, 100.0, 300.0, 1500.0)
LESIONS_A_PLAN = 20
SHELL_MM = 3.0
TOUCHES_MM = 1.5
PROFILE_MM = (1.5, 3.0, 6.0, 10.0, 20.0)
RIM_MM = (1.0, 3.0)  # the millimetre next to a lesion is half lesion
AROUND_MM = 20  # a lesion that lies in cortex, or in a ventricle, has more of it within this distance
STRETCHED = 1.3  # below, a lesion has no long axis to speak of
PERCENTILES = (5, 25, 50, 75, 95)
FEW = 5  # lesions; fewer real ones have no range
TISSUES = {"white matter": WHITE, "grey matter": GREY, "fluid": FLUID}
LEGEND = "real 5th, 50th, 95th percentile | synthetic 50th, share from the real 5th to the 95th; or real | synthetic"
OF_VOLUME = ("in ", "seen ", "within ")
"""Beginnings of the names of shares, which are also given of the volume of all lesions together."""


@dataclass(frozen=True)
class Placement:
    """Compare synthetic lesions with real ones in the ICBM template and in patients' own anatomy.

    Args:
        scans: Plans of 20 lesions for each place.
        hosts: Imaged patients with T1w at 1 mm, by the name of their folder in the shared data.
        diffmask: Folder of a mask model instead of the packaged one.
        output: JSON file for all of it.
    """

    scans: int = 3
    hosts: tuple[str, ...] = ("patient07", "patient19", "P14_T1", "P18_T1")
    diffmask: Path | None = None
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write."""
        origin, synthesizer = provenance(), load_synthesizer(diffmask=self.diffmask)
        found = {"template": compared(synthesizer, template(), database(), range(self.scans))}
        for number, name in enumerate(self.hosts, start=1):
            host, seeds = load_host(name), range(number * self.scans, (number + 1) * self.scans)
            found[name] = compared(synthesizer, patient(host), pieces(host.lesions), seeds)
        masks = {name: measured(pieces(mask)) for name, mask in load_masks().items()}
        real = [row for rows in masks.values() for row in rows]
        new = [{key: row[key] for key in real[0]} for name in self.hosts for row in found[name]["synthetic"]]
        found["patients"] = {"real": real, "synthetic": new}
        table = {place: beside(**rows) for place, rows in found.items()}
        each = {name: summary(rows) for name, rows in masks.items()}
        print(as_text(table))
        if self.output:
            write_result(self.output, "placement", asdict(self), origin, {"placement": table, "each patient": each})


def compared(
    synthesizer: LesionSynthesizer, place: Place, real: Iterable[Int[Array, "n 3"]], seeds: Sequence[int]
) -> dict[str, list[Row]]:
    """Rows of both kinds; plans of one seed have the same sizes everywhere, so no two places should share one."""
    return {"real": measured(real, place), "synthetic": measured(synthetic(synthesizer, place, seeds), place)}


def synthetic(synthesizer: LesionSynthesizer, place: Place, seeds: Sequence[int]) -> Iterator[Int[Array, "n 3"]]:
    """Voxels of each new lesion; one that the gate has left out has none and is no lesion."""
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        plan = synthesizer.plan(place.scan, generator, PlanOptions(num_lesions=LESIONS_A_PLAN))
        _, instances = synthesizer.render_instances(place.scan, plan)
        numbered = instances[0].numpy()
        for number, box in enumerate(ndimage.find_objects(numbered), start=1):
            if box is not None:
                yield np.argwhere(numbered[box] == number) + [part.start for part in box]


def database() -> Iterator[Int[Array, "n 3"]]:
    """Voxels of each lesion of the database, in the template's grid."""
    stored = np.load(shared() / "data/lesion_db/lesions.npz")
    yield from np.split(stored["voxels"].astype(int), stored["offsets"][1:-1])


def pieces(mask: Bool[Array, "i j k"]) -> Iterator[Int[Array, "n 3"]]:
    """Voxels of each lesion of a mask."""
    for crop, box in lesions_with_boxes(mask):
        yield np.argwhere(crop) + [part.start for part in box]


def measured(lesions: Iterable[Int[Array, "n 3"]], place: Place | None = None) -> list[Row]:
    """One row a lesion; shape alone where no place is known."""
    compared = (voxels for voxels in lesions if len(voxels) >= LEAST_MM3)
    return [shape_of(voxels) | (whereabouts(voxels, place) if place else {}) for voxels in compared]


def shape_of(voxels: Int[Array, "n 3"]) -> Row:
    """Shape of a lesion of voxels of 1 mm."""
    mask = crop_of(voxels)
    shape = {
        "sphericity": shape_features(mask)["sphericity"],
        "elongation": elongation(voxels),
        "depth over ball's radius": depth_ratio(torch.from_numpy(mask)[None]),
        "flat face": flat_face(mask),
    }
    by_class = {
        f"{name}, {low:g}-{high:g} mm3": value if low <= len(voxels) < high else np.nan
        for name, value in shape.items()
        for low, high in pairwise(CLASSES_MM3)
    }
    return {"volume_mm3": float(len(voxels))} | shape | by_class


def whereabouts(voxels: Int[Array, "n 3"], place: Place) -> Row:
    """Tissues, distances and direction of a lesion."""
    where = tuple(voxels.T)
    inside, rim = shares_of(place.tissue[where]), shares_of(seen_around(voxels, place.seen))
    own = shares_of(place.seen[where])
    row = {f"in {tissue}": inside[index] for tissue, index in TISSUES.items()}
    row |= {f"seen in {tissue}": own[index] for tissue, index in TISSUES.items()}
    row |= {f"around: {tissue}": rim[index] for tissue, index in TISSUES.items()}
    to_ventricles = beyond(voxels, place.ventricles, place.to_ventricles_mm)
    for name, away in (("ventricles", to_ventricles), ("cortex", beyond(voxels, place.cortex, place.to_cortex_mm))):
        row |= {f"within {mm:g} mm of {name}": float((away <= mm).mean()) for mm in PROFILE_MM}
        row |= {f"nearest to {name}, mm": away.min(), f"mean to {name}, mm": away.mean()}
        row[f"touches {name}"] = float(away.min() <= TOUCHES_MM)
    near = to_ventricles.min() <= SHELL_MM and elongation(voxels) > STRETCHED
    row["angle to wall, degrees"] = angle_to_wall(voxels, place.to_ventricles_mm) if near else np.nan
    return row


def beyond(
    voxels: Int[Array, "n 3"], tissue: Bool[Array, "i j k"], distance_mm: Float[Array, "i j k"]
) -> Float[Array, " n"]:
    """Distance of each voxel to a tissue that goes on outside of the lesion.

    What a real lesion covers is not seen, so what a synthetic one covers must not count either.
    """
    where = tuple(voxels.T)
    if not tissue[where].any():
        return distance_mm[where]
    box, inside = around(voxels, AROUND_MM)
    left = tissue[box].copy()
    left[inside] = False
    return ndimage.distance_transform_edt(~left)[inside]


def around(voxels: Int[Array, "n 3"], margin: int) -> tuple[tuple[slice, ...], tuple[Array, ...]]:
    """Box around a lesion, and where in it the lesion is."""
    start = np.maximum(voxels.min(axis=0) - margin, 0)
    box = tuple(slice(a, b) for a, b in zip(start, voxels.max(axis=0) + margin + 1, strict=True))
    return box, tuple((voxels - start).T)


def shares_of(tissues: Int[Array, " n"]) -> Array:
    """Share of each tissue among the voxels that were seen; nothing where none was."""
    known = tissues[tissues >= 0]
    return np.bincount(known, minlength=3) / len(known) if len(known) else np.full(3, np.nan)


def seen_around(voxels: Int[Array, "n 3"], seen: Int[Array, "i j k"]) -> Int[Array, " n"]:
    """What is seen in `RIM_MM` around a lesion."""
    near, far = RIM_MM
    box, inside = around(voxels, int(far) + 1)
    free = np.ones(seen[box].shape, bool)
    free[inside] = False
    away = ndimage.distance_transform_edt(free)
    return seen[box][(away > near) & (away <= far)]


def crop_of(voxels: Int[Array, "n 3"]) -> Bool[Array, "a b c"]:
    """The lesion alone."""
    inside = voxels - voxels.min(axis=0)
    mask = np.zeros(inside.max(axis=0) + 1, bool)
    mask[tuple(inside.T)] = True
    return mask


def flat_face(mask: Bool[Array, "a b c"]) -> float:
    """Largest share of the surface's voxel faces that lie in one plane and look the same way."""
    padded, counts = np.pad(mask, 1), []
    for axis in range(3):
        step = np.diff(padded.astype(int), axis=axis)
        planes = tuple({0, 1, 2} - {axis})
        counts += [(step == sign).sum(axis=planes) for sign in (-1, 1)]
    return float(max(count.max() for count in counts) / sum(count.sum() for count in counts))


def principal(voxels: Int[Array, "n 3"]) -> tuple[Array, Array]:
    """Second moments of the principal axes, smallest first, and the axes as columns."""
    offsets = voxels - voxels.mean(axis=0)
    return np.linalg.eigh(offsets.T @ offsets / len(voxels) + np.eye(3) / 12)


def elongation(voxels: Int[Array, "n 3"]) -> float:
    """First over second principal axis: that of `realism.shape`, first over third, calls a disc long."""
    values, _ = principal(voxels)
    return float(np.sqrt(values[2] / values[1]))


def angle_to_wall(voxels: Int[Array, "n 3"], distance_mm: Array) -> float:
    """Between the long axis and the wall: 90 degrees stands on it; random axes have a median of 30.

    Args:
        voxels: Of a lesion.
        distance_mm: Of each voxel to what is behind the wall; it grows away from the wall.
    """
    box, inside = around(voxels, 3)
    slopes = np.gradient(ndimage.gaussian_filter(distance_mm[box], 1.0))
    away = np.array([slope[inside].mean() for slope in slopes])
    along = principal(voxels)[1][:, 2] @ away / max(np.linalg.norm(away), 1e-9)
    return float(np.degrees(np.arcsin(min(abs(along), 1.0))))


def summary(rows: list[Row]) -> Summary:
    """Percentiles over lesions that can be one, how many of these touch something, and shares of all lesion volume."""
    single = singles(rows)
    found: Summary = {"lesions": len(single), "larger": len(rows) - len(single)}
    for name in rows[0] if rows else ():
        values = known(single, name)
        if name.startswith("touches"):
            found[name] = round(float(values.mean()), 3)
        elif len(values):
            found[name] = [round(float(value), 3) for value in np.percentile(values, PERCENTILES)]
        share = share_of_volume(rows, name)
        if name.startswith(OF_VOLUME) and share is not None:
            found[f"{name}, of volume"] = round(share, 3)
    return found


def singles(rows: list[Row]) -> list[Row]:
    """Without what has grown together."""
    return [row for row in rows if row["volume_mm3"] <= MOST_MM3]


def known(rows: list[Row], name: str) -> Float[Array, " lesions"]:
    """One quantity of all lesions in which it was measured."""
    values = np.array([row[name] for row in rows], float)
    return values[~np.isnan(values)]


def share_of_volume(rows: list[Row], name: str) -> float | None:
    """A share of each lesion as one of all lesions together; none where it was not measured."""
    seen = [row for row in rows if not np.isnan(row[name])]
    return float(np.average(known(seen, name), weights=known(seen, "volume_mm3"))) if seen else None


def in_range(real: list[Row], synthetic: list[Row]) -> dict[str, float]:
    """Share of synthetic lesions from the 5th to the 95th percentile of the real ones, where those are not too few."""
    found = {}
    for name in synthetic[0] if synthetic else ():
        one, other = (known(singles(rows), name) for rows in (real, synthetic))
        if len(one) >= FEW and len(other) and not name.startswith("touches"):
            low, high = np.percentile(one, (PERCENTILES[0], PERCENTILES[-1]))
            found[name] = round(float(((low <= other) & (other <= high)).mean()), 3)
    return found


def beside(real: list[Row], synthetic: list[Row]) -> dict[str, Any]:
    """Both summaries, and how many synthetic lesions lie in the real ones' range."""
    return {"real": summary(real), "synthetic": summary(synthetic), "synthetic in range": in_range(real, synthetic)}


def as_text(table: Mapping[str, Mapping[str, Any]]) -> str:
    """A column a place, a line a quantity."""
    names = dict.fromkeys(name for found in table.values() for kind in ("real", "synthetic") for name in found[kind])
    shown = [name for name in names if not name.startswith(("within", "mean", "seen")) or "of volume" in name]
    lines = [f"{'':38}" + "".join(f"{place:>28}" for place in table)]
    lines += [f"{name:38}" + "".join(f"{_cell(found, name):>28}" for found in table.values()) for name in shown]
    return "\n".join([*lines, LEGEND])


def _cell(found: Mapping[str, Any], name: str) -> str:
    real, new = (found[kind].get(name) for kind in ("real", "synthetic"))
    if not isinstance(real, list) and not isinstance(new, list):
        return "-" if real is None and new is None else f"{_short(real)} | {_short(new)}"
    low, _, middle, _, high = map(_short, real or [None] * len(PERCENTILES))
    share = found["synthetic in range"].get(name)
    return f"{low} {middle} {high} | {_short(new[2] if new else None)} {'' if share is None else f'{share:.0%}':>4}"


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if isinstance(value, int) or value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    tyro.cli(Placement).run()
