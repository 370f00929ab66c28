"""`python -m benchmarks.realism GENERATED --reference REAL`, or a study of the shared data: `floors`, `held`...."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks.realism.appearing import Appearing
from benchmarks.realism.baselines import MAKERS, OWN_MAKERS, donors_of, populate
from benchmarks.realism.carved import populate_by_carving
from benchmarks.realism.held import Held
from benchmarks.realism.hosts import (
    DEFAULT_HOSTS,
    HostResult,
    HostScan,
    evaluate_scan_pairs,
    load_host,
    load_masks,
    load_mni_masks,
)
from benchmarks.realism.judge import Judge
from benchmarks.realism.location import centroids_mm, split_half_location
from benchmarks.realism.make import Make
from benchmarks.realism.memorisation import MIN_MM3, best_dices, limit_of
from benchmarks.realism.report import auc_lines, shape_lines, telltale_table, telltales
from benchmarks.realism.shape import lesions_of, shape_table, split_half_floors
from lesionaug.checks import check_known
from lesionaug.errors import LesionAugError

DONOR_SCANS = ("patient07", "patient19", "P14_T1", "P18_T1")
CHANNEL_SETS = (("flair",), ("flair", "t1w"))


@dataclass(frozen=True)
class Floors:
    """How far half of the real patients' lesions are from the other half's.

    Args:
        splits: Random halvings.
    """

    splits: int = 200

    def run(self) -> None:
        """Print median and 95th percentile per feature."""
        tables = [shape_table(lesions_of(mask)) for mask in load_masks().values()]
        count = sum(len(table["volume_mm3"]) for table in tables)
        print(f"{len(tables)} patients, {count} lesions, {len(tables) // 2} v {len(tables) // 2}")
        print(f"{'KS':20s} {'median':>7s} {'95 %':>7s}")
        for name, (median, high) in split_half_floors(tables, self.splits).items():
            print(f"{name:20s} {median:7.3f} {high:7.3f}")
        centers = [centroids_mm(mask, affine) for mask, affine in load_mni_masks().values()]
        for name, (median, worse) in split_half_location(centers, self.splits).items():
            print(f"{'location ' + name:24s} {median:.3f} {worse:.3f}")


@dataclass(frozen=True)
class Baselines:
    """Two-sample test of lesions made without a network.

    The host's own lesions, moved, say what can be asked of a generator at all: with voxels around the label that may
    change, and without.

    Args:
        hosts: Scans whose real lesions are compared with.
        seeds: Of places, donors and noise; the table gives the mean.
        makers: Which of them.
    """

    hosts: tuple[str, ...] = DEFAULT_HOSTS
    seeds: tuple[int, ...] = (0,)
    makers: tuple[str, ...] = (*MAKERS, *OWN_MAKERS, "carvemix")

    def run(self) -> None:
        """Print the AUC of each maker.

        Raises:
            LesionAugError: There is no such maker.
        """
        scans = load_scans(self.hosts)
        makers = self._makers([scans[name] for name in DONOR_SCANS if name in scans])
        check_known("maker", self.makers, makers)
        for name in self.makers:
            found = _test(name, [scans[host] for host in self.hosts], self.seeds, makers[name])[0]
            print("\n".join(auc_lines(found)), flush=True)

    @staticmethod
    def _makers(givers: Sequence[HostScan]) -> dict[str, Callable[[HostScan, int], HostResult]]:
        """By name: from a host and a seed to the host with lesions."""
        donors = [donor for giver in givers for donor in donors_of(giver)]
        foreign = {
            name: lambda host, seed, maker=maker: populate(host, donors, maker, seed) for name, maker in MAKERS.items()
        }
        own = {
            name: lambda host, seed, maker=maker: populate(host, (), maker, seed, own=True)
            for name, maker in OWN_MAKERS.items()
        }
        return {**foreign, **own, "carvemix": lambda host, seed: populate_by_carving(host, givers, seed)}


@dataclass(frozen=True)
class Generator:
    """Two-sample test of the package's generator.

    Args:
        model: Packaged pair of models (`default`, `parametric`).
        diffmask: Folder of a mask model instead.
        lefusion: Folder of an inpainting model instead.
        prior: File of a prior instead.
        masks: `model` draws them; `real` takes other patients' lesions of the same volume, to judge LeFusion alone.
        contrast: `prior` draws it; `donors` takes that of other patients' real lesions of the same volume, `host` that
            of the host's own (brightness then gives nothing away).
        hosts: Scans whose real lesions are compared with.
        seeds: Of places, masks and noise; the table gives the mean.
        halo: Whether lesions may show their partial volume around the label.
        num_steps: Network calls per lesion, instead of each model's own.
    """

    model: str = "default"
    diffmask: Path | None = None
    lefusion: Path | None = None
    prior: Path | None = None
    masks: Literal["model", "real"] = "model"
    contrast: Literal["prior", "donors", "host"] = "prior"
    hosts: tuple[str, ...] = DEFAULT_HOSTS
    seeds: tuple[int, ...] = (0,)
    halo: bool = False
    num_steps: int | None = None

    def run(self) -> None:
        """Print AUC, the features that give the lesions away, and the shape distances."""
        from benchmarks.realism.generator import GeneratorTest  # models load torch

        scans = load_scans(self.hosts)
        real = load_masks()
        test = GeneratorTest(
            synthesizer=self._synthesizer(),
            contrasts=self.contrast,
            donors=tuple(donor for name in DONOR_SCANS for donor in donors_of(scans[name])),
            masks=real if self.masks == "real" else None,
            halo=self.halo,
        )
        found, results = _test(self.model, [scans[name] for name in self.hosts], self.seeds, test.populate)
        print("\n".join(auc_lines(found)))
        print(telltale_table(telltales(results, CHANNEL_SETS[-1])))
        if self.masks == "model":
            crops = [crop for result in results for crop in lesions_of(result.new_lesions)]
            print("\n".join(shape_lines(crops, _pooled_shapes(real))))

    def _synthesizer(self):
        from lesionaug.synthesis import load_synthesizer

        return load_synthesizer(
            self.model, diffmask=self.diffmask, lefusion=self.lefusion, prior=self.prior, num_steps=self.num_steps
        )


@dataclass(frozen=True)
class Masks:
    """Shape and novelty of masks drawn at the volumes and extents of real lesions.

    Args:
        model: Packaged mask model (`default`, `parametric`) or folder of one.
        count: Of masks.
        seed: Of the choice of sizes, and of the masks.
        num_steps: Network calls per mask, instead of the model's own.
    """

    model: str = "default"
    count: int = 300
    seed: int = 0
    num_steps: int | None = None

    def run(self) -> None:
        """Print shape distances with those of as many real lesions, and how alike masks are to real ones."""
        from benchmarks.realism.masks import draw_masks  # models load torch
        from lesionaug.models.registry import load_mask_generator

        real = [crop for mask in load_masks().values() for crop in lesions_of(mask)]
        model = load_mask_generator(self.model, device="cpu", num_steps=self.num_steps)
        drawn = draw_masks(model, real, self.count, self.seed)
        print(f"{len(drawn.whole)} masks, {drawn.share_in_parts:.0%} in parts, {drawn.share_empty:.0%} empty")
        print("volume over wanted, 5 / 50 / 95 %: " + " / ".join(f"{ratio:.2f}" for ratio in drawn.volume_ratio))
        print("\n".join(shape_lines(drawn.parts, shape_table(drawn.real))))
        large = [mask for mask in drawn.parts if mask.sum() >= MIN_MM3]
        alike = np.mean([dice > limit_of(mask) for dice, mask in zip(best_dices(large, real), large, strict=True)])
        print(f"memorisation: {alike:.1%} of {len(large)} masks above the real 99th percentile (alarm above 3 %)")


def load_scans(hosts: Sequence[str]) -> dict[str, HostScan]:
    """Hosts and donors by name."""
    return {name: load_host(name) for name in dict.fromkeys((*hosts, *DONOR_SCANS))}


def _test(name: str, hosts: Sequence[HostScan], seeds: Sequence[int], make: Callable[[HostScan, int], HostResult]):
    """Tests per channel set and seed, and all results."""
    rounds = [[make(host, seed) for host in hosts] for seed in seeds]
    found = {
        f"{name} {'+'.join(channels)}": [evaluate_scan_pairs(results, channels) for results in rounds]
        for channels in CHANNEL_SETS
    }
    return found, [result for results in rounds for result in results]


def _pooled_shapes(masks):
    return shape_table([crop for mask in masks.values() for crop in lesions_of(mask)])


COMMANDS = {
    "judge": Judge,
    "make": Make,
    "floors": Floors,
    "baselines": Baselines,
    "generator": Generator,
    "masks": Masks,
    "held": Held,
    "appearing": Appearing,
}

HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; folders without a command are judged."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if words[0] not in (*COMMANDS, *HELP):
        words = ["judge", *words]
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="benchmarks.realism", args=words)
    try:
        command.run()
    except (LesionAugError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
