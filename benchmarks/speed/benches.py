"""Which benchmarks there are, how each is called, and what it needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from benchmarks.measure import PROJECT

Name = Literal["baselines", "synthesis", "cache", "loading", "steps", "nnunet", "nnunet-overlays"]


@dataclass(frozen=True)
class NnunetData:
    """What nnU-Net is measured on.

    Args:
        dataset: Number or name of a dataset that nnU-Net has preprocessed and `lesionaug nnunet prepare` prepared.
        configuration: Of nnU-Net.
    """

    dataset: str | None = None
    configuration: str = "3d_fullres"


def nothing() -> str | None:
    """A benchmark that runs everywhere."""
    return None


@dataclass(frozen=True)
class Bench:
    """A benchmark that is run as a program of its own.

    Args:
        name: Of its result file.
        module: Python runs it.
        arguments: It is given, besides where to write.
        lacks: Says why it cannot run here; none where it can.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    lacks: Callable[[], str | None] = field(default=nothing)

    @property
    def command(self) -> list[str]:
        """As `result_files.command` has it in the result."""
        return [self.module, *self.arguments]


def benches(threads: int, nnunet: NnunetData, *, quick: bool) -> list[Bench]:
    """All of them, the quickest first.

    Args:
        threads: Of the processor, where a benchmark may be told.
        nnunet: What nnU-Net is measured on.
        quick: Whether they only show that they run.
    """
    told = ("--threads", str(threads))
    data = (nnunet.dataset or "", "--configuration", nnunet.configuration)
    arguments: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "cache": ((), ("--quick", "--lesions", "2", "--variants", "2", "--repeats", "3")),
        "baselines": (told, (*told, "--quick")),
        "synthesis": (told, (*told, "--quick")),
        "loading": (
            ("--workers", "1", "4", "8"),
            ("--quick", "--model", "parametric", "--workers", "1", "--samples", "2", "--step-ms", "1"),
        ),
        "steps": ((), ("--quick",)),
        "nnunet": (data, (*data, "--quick")),
        "nnunet-overlays": (data, (*data, "--quick")),
    }
    lacks = {
        "baselines": lacks_classifier,
        "steps": lacks_data,
        "nnunet": nnunet_lacking(nnunet),
        "nnunet-overlays": nnunet_lacking(nnunet),
    }
    return [
        Bench(name, f"benchmarks.bench_{name.replace('-', '_')}", calls[quick], lacks.get(name, nothing))
        for name, calls in arguments.items()
    ]


def lacks_classifier() -> str | None:
    """What copy-paste needs, which is part of the benchmark of realism."""
    return None if find_spec("sklearn") else "no scikit-learn; pip install scikit-learn"


def lacks_data() -> str | None:
    """What `bench_steps` needs."""
    folder = Path(os.environ.get("LESIONAUG_SHARED", PROJECT.parent / "shared"))
    if not (folder / "data").is_dir():
        return "no shared data; LESIONAUG_SHARED says where they are"
    return lacks_classifier()


def nnunet_lacking(nnunet: NnunetData) -> Callable[[], str | None]:
    """What the benchmarks of nnU-Net need."""

    def lacks() -> str | None:
        if not find_spec("nnunetv2"):
            return "no nnU-Net; pip install lesionaug[nnunet]"
        if nnunet.dataset is None:
            return "no dataset of nnU-Net named; give --nnunet.dataset"
        unset = [name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results") if name not in os.environ]
        return f"no {', '.join(unset)} in the environment; nnU-Net's manual says how to set it" if unset else None

    return lacks
