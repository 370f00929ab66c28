"""`lesionaug pretrain`: the programs that make the models, from scans with lesion labels to a folder with a card."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from lesionaug.commands.groups import chosen, listing
from lesionaug.errors import LesionAugError

if TYPE_CHECKING:
    from lesionaug.cli import Command

ABOUT = "Make your own DiffMask and LeFusion from your own scans. Needs lesionaug[pretrain]."

PROGRAMS = {
    "download": "Get public scans with lesion labels.",
    "prepare": "Cut scans with lesion labels into training patches.",
    "stats": "Tell what lesions a patch store has.",
    "split": "Divide patients: to learn from, and to be judged by.",
    "diffmask": "Train the model that draws masks.",
    "lefusion": "Train the model that paints tissue.",
    "package": "Make a model folder with a card of a finished run.",
}
"""`name` is the class `Name` of `lesionaug.pretrain.name`; the trainings have presets besides."""

TRAININGS = ("diffmask", "lefusion")

USAGE = """usage: lesionaug pretrain PROGRAM [OPTIONS]

{about}

{programs}

In this order:
  lesionaug pretrain prepare scans --output patches
  lesionaug pretrain split patches --output split.json
  lesionaug pretrain diffmask --data patches --split split.json --output runs/diffmask
  lesionaug pretrain lefusion --data patches --split split.json --output runs/lefusion
  lesionaug pretrain package runs/diffmask --output models/diffmask
  lesionaug pretrain package runs/lefusion --output models/lefusion
  lesionaug synthesize --flair flair.nii.gz --diffmask models/diffmask --lefusion models/lefusion --output out

To see every stage work in minutes: --preset tiny for both trainings.
Every program explains itself: lesionaug pretrain PROGRAM --help
"""


def usage() -> str:
    """What `lesionaug pretrain --help` prints."""
    return USAGE.format(about=ABOUT, programs=listing(PROGRAMS))


@dataclass(frozen=True)
class Pretrain:
    """One of the programs.

    Args:
        arguments: Its name, and its own.
    """

    arguments: tuple[str, ...]

    INTERRUPTED: ClassVar = "run the same command again; a training goes on from its last checkpoint"

    def run(self) -> None:
        """Parse and run it."""
        program(self.arguments).run()


def program(arguments: Sequence[str]) -> Command:
    """A program from its name and arguments; exits with a message where these are wrong.

    Raises:
        LesionAugError: There is no such program.
    """
    name, rest = chosen("pretrain", PROGRAMS, arguments)
    if find_spec("accelerate") is None:
        raise LesionAugError("Expected the packages for training, got no accelerate; pip install lesionaug[pretrain]")
    if name in TRAININGS:
        from lesionaug.pretrain.presets import parse

        return parse(name, rest)
    from lesionaug.cli import parse_class

    kind = getattr(importlib.import_module(f"lesionaug.pretrain.{name}"), name.capitalize())
    return parse_class(kind, f"lesionaug pretrain {name}", rest)
