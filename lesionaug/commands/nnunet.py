"""`lesionaug nnunet`: nnU-Net's own training and prediction with trainers that add lesions, and lesions made before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from lesionaug.commands.groups import chosen, listing
from lesionaug.errors import LesionAugError

if TYPE_CHECKING:
    from lesionaug.cli import Command

ABOUT = "Train nnU-Net with synthetic lesions. Needs lesionaug[nnunet]."

PROGRAMS = {
    "path": "Print the folder that nnUNet_extTrainer has to name.",
    "prepare": "Render lesions for preprocessed cases, so that training needs neither models nor a GPU for them.",
    "train": "nnUNetv2_train with nnUNetTrainerSyntheticMSLesion; takes its options.",
    "predict": "nnUNetv2_predict with what that has trained; takes its options.",
}

USAGE = """usage: lesionaug nnunet PROGRAM [OPTIONS]

{about}

{programs}

With nnU-Net's own commands:
  export nnUNet_extTrainer="$(lesionaug nnunet path)"
  nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerSyntheticMSLesion

The same, without exporting anything:
  lesionaug nnunet train 501 3d_fullres 0

Every program explains itself: lesionaug nnunet PROGRAM --help
"""


def usage() -> str:
    """What `lesionaug nnunet --help` prints."""
    return USAGE.format(about=ABOUT, programs=listing(PROGRAMS))


@dataclass(frozen=True)
class Nnunet:
    """One of the programs.

    Args:
        arguments: Its name, and its own.
    """

    arguments: tuple[str, ...]

    INTERRUPTED: ClassVar = "run the same command again, a training with --c; what is done is kept"

    def run(self) -> None:
        """Parse and run it."""
        program(self.arguments).run()


@dataclass(frozen=True)
class ExtensionPath:
    """Prints the folder."""

    def run(self) -> None:
        """Print it."""
        from lesionaug.integrations.nnunet.programs import extension_folder

        print(extension_folder())


@dataclass(frozen=True)
class Host:
    """A program of nnU-Net, which parses its own arguments.

    Args:
        name: `train` or `predict`.
        arguments: As nnU-Net takes them.
    """

    name: str
    arguments: tuple[str, ...]

    def run(self) -> None:
        """Hand over to it."""
        from lesionaug.integrations.nnunet import programs

        getattr(programs, self.name)(self.arguments)


def program(arguments: Sequence[str]) -> Command:
    """A program from its name and arguments; exits with a message where these are wrong.

    Raises:
        LesionAugError: There is no such program, or nnU-Net is not installed.
    """
    name, rest = chosen("nnunet", PROGRAMS, arguments)
    if name == "path":
        return ExtensionPath()
    if find_spec("nnunetv2") is None:
        raise LesionAugError("Expected nnU-Net, got no package nnunetv2; pip install lesionaug[nnunet]")
    if name in ("train", "predict"):
        return Host(name, tuple(rest))
    from lesionaug.cli import parse_class
    from lesionaug.integrations.nnunet.prepare import Prepare

    return parse_class(Prepare, "lesionaug nnunet prepare", rest)
