"""What do lesions cost a training of nnU-Net, and does it still learn: with and without, epoch by epoch in one run.

`python -m benchmarks.bench_nnunet 501` needs a dataset that nnU-Net has preprocessed and, for `cached`, that
`lesionaug nnunet prepare` has prepared. Batches are made in the training's own process, so that nothing is hidden
behind the network: on a machine with workers to spare lesions cost less.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.measure import provenance
from benchmarks.nnunet_epochs import Course, Way, begun
from benchmarks.result_files import write_result


@dataclass(frozen=True)
class BenchNnunet:
    """Seconds per iteration and losses per epoch of nnU-Net's trainings that take turns.

    Examples:
      python -m benchmarks.bench_nnunet 501 --device cuda --output benchmarks/results/nnunet-cuda.json
      python -m benchmarks.bench_nnunet 501 --configuration 3d_small --epochs 5 --iterations 10

    Args:
        dataset: Number or name, as nnU-Net's commands take it.
        configuration: Of nnU-Net.
        ways: Of getting lesions; the first is what the others are compared with.
        device: Of the network.
        epochs: Of each way.
        iterations: Of an epoch.
        quick: One epoch of two iterations: shows that all of it runs.
        output: JSON file for times, losses, hardware, versions and commit; the losses' curves lie beside it.
    """

    dataset: tyro.conf.Positional[str]
    configuration: str = "3d_fullres"
    ways: tuple[Way, ...] = ("without", "cached", "live")
    device: str = "cpu"
    epochs: int = 5
    iterations: int = 20
    quick: bool = False
    output: Path | None = None

    def run(self) -> None:
        """Measure, print, write, plot."""
        (replace(self, epochs=1, iterations=2) if self.quick else self)._run()

    def _run(self) -> None:
        import torch
        from lesionaug.integrations.nnunet.compat import make_torchvision_importable
        from lesionaug.integrations.nnunet.programs import extension_folder

        make_torchvision_importable()
        os.environ.update({"nnUNet_n_proc_DA": "0", "nnUNet_extTrainer": str(extension_folder())})
        torch.set_num_threads(1 if self.device == "cpu" else torch.get_num_threads())
        origin, courses = provenance(), self.courses()
        Console().print(table(courses))
        if self.output:
            write_result(self.output, "nnunet", asdict(self), origin, {"ways": rows(courses)})
            plot(rows(courses), self.output.with_suffix(".png"))

    def courses(self) -> list[Course]:
        """All trainings, each at its end."""
        how = (self.dataset, self.configuration, self.device, self.epochs, self.iterations)
        courses: list[Course] = []
        try:
            courses.extend(begun(way, *how) for way in self.ways)
            for _ in range(self.epochs):
                for course in courses:
                    course.epoch()
        finally:
            for course in courses:
                course.close()
        return courses


def rows(courses: Sequence[Course]) -> list[dict[str, Any]]:
    """Times, losses and counts of each way."""
    return [
        {
            "way": course.way,
            "batch_mean_s": float(np.mean(course.batch_s)),
            "batch_p90_s": float(np.percentile(course.batch_s, 90)),
            "step_mean_s": float(np.mean(course.step_s)),
            "overhead_percent": overhead_percent(course, courses),
            **course.losses(),
            "counts": course.counts(),
        }
        for course in courses
    ]


def overhead_percent(course: Course, courses: Sequence[Course]) -> float:
    """Of time per iteration, over the first way's; the same step for all, for the network is the same."""
    step_s = float(np.mean([second for each in courses for second in each.step_s]))
    plain_s = float(np.mean(courses[0].batch_s)) + step_s
    return 100 * (float(np.mean(course.batch_s)) + step_s - plain_s) / plain_s


def table(courses: Sequence[Course]) -> Table:
    """For people."""
    shown = Table("lesions", "batch [s]", "step [s]", "overhead", "loss, first and last epoch")
    for row in rows(courses):
        shown.add_row(
            row["way"],
            f"{row['batch_mean_s']:.2f}",
            f"{row['step_mean_s']:.2f}",
            f"{row['overhead_percent']:.1f} %",
            f"{row['train_losses'][0]:.3f} {row['train_losses'][-1]:.3f}",
        )
    return shown


def plot(ways: Sequence[dict[str, Any]], path: Path) -> None:
    """Losses of training and validation against epochs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    matplotlib.rcdefaults()  # nnU-Net has changed them for its own plots
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    for axis, name, title in zip(axes, ("train_losses", "val_losses"), ("training", "validation"), strict=True):
        for way in ways:
            axis.plot(way[name], label=way["way"])
        axis.set(xlabel="epoch", title=title)
    axes[0].set_ylabel("nnU-Net's loss")
    axes[1].legend(title="lesions", frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(BenchNnunet).run()
