"""`python -m benchmarks.realism held`: every yardstick in one table, each beside what real lesions show of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.measure import provenance
from benchmarks.realism.appearance import feature_names
from benchmarks.realism.hosts import (
    DEFAULT_HOSTS,
    HostResult,
    evaluate_scan_pairs,
    load_host,
    load_masks,
    pair_features,
)
from benchmarks.realism.memorisation import MIN_MM3, memorisation
from benchmarks.realism.report import AIMS, MAX_AUC, MAX_CLOSER, MAX_COPIED, by_chance
from benchmarks.realism.shape import ks_distance, lesions_of, shape_distances, shape_table, split_half_floors
from benchmarks.realism.textures import texture_copies
from benchmarks.realism.yardsticks import HEAD, Yardstick, middle_and_worst
from benchmarks.result_files import write_result

Array = np.ndarray
CHANNEL_SETS = (("flair",), ("flair", "t1w"))
APPEARANCE = ("contrast", "sd", "edge_gradient", "profile_-1", "profile_+0", "profile_+1")
SHUFFLES = 200


@dataclass(frozen=True)
class Held:
    """All yardsticks of a generator on patients that it never saw.

    Examples:
      python -m benchmarks.realism held --diffmask RUN/model --lefusion RUN/model --held patient03 patient10

    Args:
        diffmask: Folder of a mask model instead of the packaged one.
        lefusion: Folder of an inpainting model instead of the packaged one.
        prior: File of a prior that did not see the held patients; without one priors and location maps are fitted to
            halves of the patients and judged by the other halves.
        held: Patients whose masks the mask model never saw.
        hosts: Scans that the inpainting model never saw, for the two-sample test.
        learnt: Scans that it learnt from, whose textures it might have learnt by heart.
        sites: Scans that plans are made for.
        masks: Drawn, at the volumes and control spheres of held lesions.
        plans: For each site.
        splits: Halvings of the patients.
        seeds: Of the two-sample test; the table gives the mean.
        halo: Whether lesions may show their partial volume around the label.
        parts: What is measured.
        output: JSON file for all of it, with hardware, versions and commit.
    """

    diffmask: Path | None = None
    lefusion: Path | None = None
    prior: Path | None = None
    held: tuple[str, ...] = ("patient03", "patient10", "patient16", "patient20")
    hosts: tuple[str, ...] = DEFAULT_HOSTS
    learnt: tuple[str, ...] = ("patient19", "P14_T1", "P14_T2", "P14_T3")
    sites: tuple[str, ...] = ("flair_example", "patient07", "patient19", "P14_T1", "P18_T1")
    masks: int = 300
    plans: int = 6
    splits: int = 4
    seeds: tuple[int, ...] = (0, 1, 2)
    halo: bool = False
    parts: tuple[Literal["plans", "masks", "hosts"], ...] = ("plans", "masks", "hosts")
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write."""
        origin, rows = provenance(), []
        print(HEAD, flush=True)
        for part in self.parts:
            for row in PARTS[part](self):
                rows.append(row)
                print(row.line(), flush=True)
        if self.output:
            found = {"yardsticks": [row.to_dict() for row in rows]}
            write_result(self.output, "realism held", asdict(self), origin, found)


def plan_rows(config: Held) -> list[Yardstick]:
    """Number, size, load and place."""
    from benchmarks.realism.plans import Patients, Site, given_prior_plans, split_half_plans
    from lesionaug.prior import LesionPrior

    patients, sites = Patients.load(), [Site.of(load_host(name)) for name in config.sites]
    if config.prior is None:
        return split_half_plans(patients, sites, config.splits, config.plans, seed=0)
    return given_prior_plans(LesionPrior.load(config.prior), patients, config.held, sites, config.plans, seed=0)


def mask_rows(config: Held) -> list[Yardstick]:
    """Shape of drawn masks against held lesions, and whether training lesions were learnt by heart."""
    from benchmarks.realism.masks import draw_masks
    from lesionaug.models.registry import load_mask_generator

    patients = load_masks()
    seen, unseen = (
        [crop for name, mask in patients.items() if (name in config.held) is held for crop in lesions_of(mask)]
        for held in (False, True)
    )
    drawn = draw_masks(load_mask_generator(config.diffmask or "default", device="cpu"), unseen, config.masks)
    return [*_shape_rows(config, drawn, patients), *_memory_rows(drawn.parts, seen, unseen)]


def _shape_rows(config: Held, drawn, patients) -> list[Yardstick]:
    """Against the lesions whose volumes were asked for, which are of the held patients."""
    reference = shape_table(drawn.real)
    found = shape_distances(shape_table(drawn.parts), reference)
    floors = split_half_floors([shape_table(lesions_of(mask)) for mask in patients.values()], 100)
    chance = by_chance(reference, len(drawn.parts))
    return [
        Yardstick(
            f"{name} KS",
            found[name],
            aim,
            floor=floors[name][0],
            worst_real=floors[name][1],
            note=f"{len(drawn.parts)} masks, {len(drawn.real)} held lesions; chance, 95 %: {chance[name]:.3f}",
        )
        for name, aim in AIMS.items()
    ]


def _memory_rows(masks: Sequence[Array], seen: Sequence[Array], unseen: Sequence[Array]) -> list[Yardstick]:
    found, real = memorisation(masks, seen, unseen), memorisation(unseen, seen, seen)
    note = f"{found.count} masks of {MIN_MM3:.0f} mm3 or more"
    return [
        Yardstick("memorised masks, share", found.share_above, MAX_COPIED, floor=real.share_above, note=note),
        Yardstick("closer to seen than to unseen, share", found.closer_to_seen, MAX_CLOSER, floor=0.5, note=note),
    ]


def host_rows(config: Held) -> list[Yardstick]:
    """Two-sample test in the same scan, and what tells the lesions apart."""
    results = _populated(config)
    rows = [row for channels in CHANNEL_SETS for row in _auc_rows(results, channels)]
    everything = [result for seed in results for result in seed]
    return [*rows, _texture_row(config, everything), *_appearance_rows(everything)]


def _texture_row(config: Held, results: Sequence[HostResult]) -> Yardstick:
    found = texture_copies(results, [load_host(name) for name in config.learnt])
    note = f"{found.count} lesions; highest correlation {found.highest:.2f}, of a real one {found.real_highest:.2f}"
    return Yardstick("memorised textures, share", found.share_above, MAX_COPIED, floor=found.real_above, note=note)


def _populated(config: Held) -> list[list[HostResult]]:
    from benchmarks.realism.generator import GeneratorTest
    from lesionaug.synthesis import load_synthesizer

    synthesizer = load_synthesizer(diffmask=config.diffmask, lefusion=config.lefusion, prior=config.prior)
    test, hosts = GeneratorTest(synthesizer, halo=config.halo), [load_host(name) for name in config.hosts]
    return [[test.populate(host, seed) for host in hosts] for seed in config.seeds]


def _auc_rows(results: Sequence[Sequence[HostResult]], channels: tuple[str, ...]) -> list[Yardstick]:
    found = [evaluate_scan_pairs(result, channels) for result in results]
    rows = []
    for kind, label in (("logreg", "logistic"), ("forest", "forest")):
        value, error = (float(np.mean([getattr(test, key) for test in found])) for key in (kind, f"{kind}_se"))
        note = f"{found[0].real} real + {found[0].synthetic} synthetic, {len(found)} seeds; standard error {error:.2f}"
        name = f"AUC {'+'.join(channels)}, {label}"
        rows.append(Yardstick(name, value, MAX_AUC, floor=0.5, error=error, note=note))
    return rows


def _appearance_rows(results: Sequence[HostResult]) -> list[Yardstick]:
    """KS per feature and host; the floor is that of shuffled groups, for the same numbers of lesions."""
    channels, rng = CHANNEL_SETS[-1], np.random.default_rng(0)
    pairs = [pair_features(result, channels) for result in results]
    rows = []
    for name in [f"{channel}_{feature}" for channel in channels for feature in APPEARANCE]:
        column = feature_names(channels).index(name)
        groups = [(real[:, column], synthetic[:, column]) for real, synthetic in pairs]
        shuffled = [np.mean([_shuffled_ks(*group, rng) for group in groups]) for _ in range(SHUFFLES)]
        real = middle_and_worst(shuffled)
        value = float(np.mean([ks_distance(*group) for group in groups]))
        note = "mean over hosts and seeds of KS in the host; medians " + _medians(groups)
        rows.append(Yardstick(f"{name} KS", value, round(real["worst_real"], 3), note=note, **real))
    return rows


def _medians(groups: Sequence[tuple[Array, Array]]) -> str:
    real, synthetic = (np.median(np.concatenate(side)) for side in zip(*groups, strict=True))
    return f"{real:.2f} real, {synthetic:.2f} synthetic"


def _shuffled_ks(a: Array, b: Array, rng: np.random.Generator) -> float:
    both = rng.permutation(np.concatenate([a, b]))
    return ks_distance(both[: len(a)], both[len(a) :])


PARTS = {"plans": plan_rows, "masks": mask_rows, "hosts": host_rows}
