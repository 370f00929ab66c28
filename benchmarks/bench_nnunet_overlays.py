"""What does a prepared variant cost nnU-Net's loader: a case loaded and cropped with it, beside without, in one run?

`python -m benchmarks.bench_nnunet_overlays 501` needs a dataset that `lesionaug nnunet prepare` has prepared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Timing, provenance, timed
from benchmarks.result_files import write_result

if TYPE_CHECKING:
    from lesionaug.integrations.nnunet.places import Configuration

STAGES = {
    "load, without": "nnU-Net opens a case",
    "load, with": "and a variant is read and laid over it",
    "crop, without": "nnU-Net opens a case, chooses a box and decompresses it",
    "crop, with": "the same with a variant",
    "sample, without": "crop and nnU-Net's own augmentation: what a worker does for one sample",
    "sample, with": "the same with a variant",
}


@dataclass(frozen=True)
class BenchNnunetOverlays:
    """Milliseconds of a sample with and without a prepared variant.

    Examples:
      python -m benchmarks.bench_nnunet_overlays 501 --output benchmarks/results/nnunet-overlays.json

    Args:
        dataset: Number or name, as nnU-Net's commands take it.
        configuration: Of nnU-Net.
        repeats: Of everything.
        quick: Twice: shows that all of it runs.
        output: JSON file for times, hardware, versions and commit.
    """

    dataset: tyro.conf.Positional[str]
    configuration: str = "3d_fullres"
    repeats: int = 40
    quick: bool = False
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write."""
        import torch

        torch.set_num_threads(1)
        console, origin = Console(), provenance()
        stages, prepared = measure(replace(self, repeats=2) if self.quick else self)
        console.print(table(stages))
        console.print(line(stages), soft_wrap=True)
        if self.output:
            found = {"prepared": prepared, "stages": {name: asdict(timing) for name, timing in stages.items()}}
            write_result(self.output, "nnunet-overlays", asdict(self), origin, found)
            console.print(f"wrote {self.output}")


def measure(config: BenchNnunetOverlays) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Time of each of `STAGES`, with and without for the same cases and boxes; and what the variants are."""
    from lesionaug.integrations.nnunet.compat import make_torchvision_importable
    from lesionaug.integrations.nnunet.places import configuration_of

    make_torchvision_importable()  # nnU-Net's trainer may import it
    configuration = configuration_of(config.dataset, config.configuration)
    plain, overlaid = datasets_of(configuration)
    augment = augmentation(configuration)
    runs: dict[str, Callable[[int], Any]] = {}
    for name, dataset in (("without", SameDraws(plain)), ("with", overlaid)):
        runs[f"load, {name}"] = seeded(lambda n, d=dataset: d.load_case(plain.identifiers[n % len(plain.identifiers)]))
        crops, samples = loader_of(configuration, dataset, None), loader_of(configuration, dataset, augment)
        runs[f"crop, {name}"] = seeded(lambda _, loader=crops: loader.generate_train_batch())
        runs[f"sample, {name}"] = seeded(lambda _, loader=samples: loader.generate_train_batch())
    return {stage: timed(runs[stage], config.repeats) for stage in STAGES}, facts(overlaid)


def facts(overlaid: Any) -> dict[str, Any]:
    """How much there is to lay over a case."""
    prepared = overlaid.overlays.prepared
    changes = [overlaid.overlays.change(case, 0) for case in prepared.lesions]
    return {
        "cases": len(prepared.lesions),
        "variants": prepared.variants,
        "lesions_per_case": sum(map(sum, prepared.lesions.values())) / len(changes) / prepared.variants,
        "voxels_per_case": sum(len(change.indices) for change in changes) / len(changes),
        "bytes_per_variant": sum(len(change.to_bytes()) for change in changes) / len(changes),
        "settings": prepared.settings,
    }


class SameDraws:
    """A dataset that takes as many numbers from NumPy's generator as one with variants: crops are then the same.

    Args:
        dataset: Of nnU-Net.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.identifiers = dataset, dataset.identifiers

    def load_case(self, identifier: str) -> Any:
        np.random.uniform(), np.random.randint(2)
        return self.dataset.load_case(identifier)


def seeded(run: Callable[[int], Any]) -> Callable[[int], Any]:
    """The same draws at the same repeat."""
    import torch

    def seeded_run(repeat: int) -> Any:
        np.random.seed(repeat)
        torch.manual_seed(repeat)
        return run(repeat)

    return seeded_run


def datasets_of(configuration: Configuration) -> tuple[Any, Any]:
    """nnU-Net's dataset of all cases, and the same with a variant at each load."""
    from lesionaug.integrations.nnunet.channels import roles_of
    from lesionaug.integrations.nnunet.overlays import open_overlays, with_overlays
    from lesionaug.integrations.nnunet.settings import read_settings
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    settings = read_settings(configuration.plans)
    folder = configuration.folder
    plain: Any = infer_dataset_class(str(folder))(str(folder))
    overlays = open_overlays(folder, plain.identifiers, settings, roles_of(configuration.dataset, settings))
    return plain, with_overlays(plain, overlays, lambda: 1.0)


def loader_of(configuration: Configuration, dataset: Any, transforms: Any) -> Any:
    """nnU-Net's loader of one sample at a time, around the foreground, where all the lesions are."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    patch = patch_of(configuration)
    labels = PlansManager(configuration.plans).get_label_manager(configuration.dataset)
    return nnUNetDataLoader(
        dataset, 1, initial_patch(patch), patch, labels, oversample_foreground_percent=1.0, transforms=transforms
    )


def augmentation(configuration: Configuration) -> Any:
    """nnU-Net's transforms for training."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    patch = patch_of(configuration)
    masks = PlansManager(configuration.plans).get_configuration(configuration.name).use_mask_for_norm
    axes = tuple(range(len(patch)))
    return nnUNetTrainer.get_training_transforms(patch, rotation(patch), None, axes, False, use_mask_for_norm=masks)


def patch_of(configuration: Configuration) -> tuple[int, ...]:
    """What the network sees."""
    return tuple(configuration.plans["configurations"][configuration.name]["patch_size"])


def rotation(patch: tuple[int, ...]) -> tuple[float, float]:
    """As nnU-Net turns patches that are about as long as wide."""
    degrees = 30 if len(patch) == 3 else 180
    return -np.deg2rad(degrees), np.deg2rad(degrees)


def initial_patch(patch: tuple[int, ...]) -> Any:
    """What nnU-Net cuts, so that a patch that is turned has no empty corners."""
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

    return get_patch_size(patch, *(rotation(patch),) * 3, (0.85, 1.25))


def table(stages: dict[str, Timing]) -> Table:
    """A row for each stage."""
    shown = Table(caption="one thread; processor: median time that the process itself had")
    for name in ("ms", "median", "90 %", "processor", ""):
        shown.add_column(name, justify="left" if name in ("ms", "") else "right")
    for stage, what in STAGES.items():
        timing = stages[stage]
        times = (timing.median_s, timing.p90_s, timing.cpu_s)
        shown.add_row(stage, *(f"{1000 * seconds:,.1f}" for seconds in times), what)
    return shown


def line(stages: dict[str, Timing]) -> str:
    """The price of a variant, and its share of a sample."""
    added_s = stages["crop, with"].cpu_s - stages["crop, without"].cpu_s
    sample_s = stages["sample, without"].cpu_s
    return (
        f"a variant adds {1000 * added_s:.1f} ms of the processor to a sample of {1000 * sample_s:,.0f} ms: "
        f"{100 * added_s / sample_s:.1f} %"
    )


if __name__ == "__main__":
    tyro.cli(BenchNnunetOverlays).run()
