"""Presets of both trainings, and their command line: a preset is an instance, options replace its fields."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import tyro
from lesionaug.pretrain.diffmask import DiffMaskTraining
from lesionaug.pretrain.dry_run import DryRun
from lesionaug.pretrain.fit import FitConfig
from lesionaug.pretrain.lefusion import LeFusionTraining
from lesionaug.pretrain.published_diffmask import PUBLISHED_FIT, PublishedDiffMaskTraining
from lesionaug.pretrain.published_lefusion import PublishedLeFusionTraining

from lesionaug.errors import LesionAugError
from lesionaug.models import diffmask as compact_diffmask
from lesionaug.models import lefusion as compact_lefusion


class Program(Protocol):
    """Something that a command line asks for."""

    def run(self) -> None:
        """Do it."""
        ...


TINY_FIT = FitConfig(steps=150, warmup=20, keep_every=50, picture_every=150, ema=0.98, threads=2)
TINY = {"widths": (8, 16), "blocks": 1}

Training = DiffMaskTraining | LeFusionTraining | PublishedDiffMaskTraining | PublishedLeFusionTraining

PRESETS: dict[str, dict[str, Training]] = {
    "diffmask": {
        "compact": DiffMaskTraining(tyro.MISSING, tyro.MISSING, model=compact_diffmask.DiffMaskConfig(told_form=True)),
        "tiny": DiffMaskTraining(
            tyro.MISSING, tyro.MISSING, model=compact_diffmask.DiffMaskConfig(**TINY), fit=TINY_FIT
        ),
        "published": PublishedDiffMaskTraining(
            tyro.MISSING, tyro.MISSING, fit=replace(PUBLISHED_FIT, steps=7_000, learning_rate=3e-4, accumulate=2)
        ),
    },
    "lefusion": {
        "compact": LeFusionTraining(tyro.MISSING, tyro.MISSING),
        "tiny": LeFusionTraining(
            tyro.MISSING, tyro.MISSING, model=compact_lefusion.LeFusionConfig(**TINY), fit=TINY_FIT
        ),
        "published": PublishedLeFusionTraining(
            tyro.MISSING,
            tyro.MISSING,
            fit=replace(PUBLISHED_FIT, steps=50_000, learning_rate=1e-4, accumulate=8, bf16=True),
        ),
    },
}

ABOUT = """{what}

Presets (--preset, compact if not given):
  compact    the networks that lesionaug ships: small, few steps
  published  the network and the settings of the paper and of its MS fork; needs a GPU
  tiny       a minute on two cores: to see every stage work

Every option below replaces a value of the preset. --dry-run prints the configuration and its sizes, and ends.
To go on with an interrupted run, run the same command again. On several GPUs:
  torchrun --nproc-per-node 4 -m lesionaug.cli pretrain {job} ...

Examples:
  lesionaug pretrain {job} --data patches --output runs/{job}
  lesionaug pretrain {job} --preset published --data patches --split split.json --output runs/{job} --dry-run
"""


def parse(job: str, arguments: Sequence[str] | None = None) -> Program:
    """A training from its arguments; exits with a message where they are wrong.

    Args:
        job: `diffmask` or `lefusion`.
        arguments: Instead of those of this process.

    Raises:
        LesionAugError: There is no such preset.
    """
    name, dry, rest = _preset(list(sys.argv[1:] if arguments is None else arguments))
    presets = PRESETS[job]
    if name not in presets:
        raise LesionAugError(f"Expected a preset among {', '.join(presets)}, got {name!r}; choose one of them")
    training = tyro.cli(
        type(presets[name]),
        prog=f"lesionaug pretrain {job}" + (f" --preset {name}" if name != "compact" else ""),
        description=ABOUT.format(job=job, what=_first_line(type(presets[name]))),
        default=presets[name],
        args=rest,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )
    return DryRun(training) if dry else training


def _preset(arguments: list[str]) -> tuple[str, bool, list[str]]:
    """Name of the preset, whether to run dry, and the arguments that are left for the preset's options."""
    name, rest, words = "compact", [], iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--preset":
            name = value if equals else next(words, "")
        else:
            rest.append(word)
    return name, "--dry-run" in rest, [word for word in rest if word != "--dry-run"]


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]
