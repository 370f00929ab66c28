"""The command line: which commands there are, and what happens when one fails."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol

from lesionaug import __version__
from lesionaug.errors import LesionAugError, LesionAugWarning
from lesionaug.stopping import ended_cleanly, exit_code

COMMANDS = ("demo", "synthesize", "generate", "fill", "report", "replay", "prepare", "prior", "convert", "serve")
"""`name` is the class `Name` of `lesionaug.commands.name`; only the one that runs is imported."""

GROUPS = ("cache", "nnunet", "pretrain")
"""`name` is the module `lesionaug.commands.name`, which has programs of its own."""

HELP = ("-h", "--help")

USER_ERROR = 2

USAGE = """usage: lesionaug COMMAND [OPTIONS]

Realistic synthetic multiple-sclerosis lesions in brain MRI.

{commands}

With programs of their own:
{groups}

Start with:
  lesionaug demo
  lesionaug synthesize --flair YOURS.nii.gz --output out

Every command explains itself: lesionaug COMMAND --help
The version: lesionaug --version
"""


class Command(Protocol):
    """A frozen dataclass whose fields are the options."""

    def run(self) -> None:
        """Do it."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Instead of those of this process.

    Returns:
        0 when it worked, 2 when the user can do something about what did not.
    """
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name == "--version":
        print(f"lesionaug {__version__}")
        return 0
    if name in HELP:
        print(usage(), end="")
        return 0
    if name in GROUPS:
        return run_group(name, rest)
    if name not in COMMANDS:
        known = ", ".join((*COMMANDS, *GROUPS))
        print(
            f"lesionaug: error: Expected a command among {known}, got {name!r}; see lesionaug --help",
            file=sys.stderr,
        )
        return USER_ERROR
    return run(parse(name, rest))


def run_group(name: str, arguments: Sequence[str]) -> int:
    """Run one of the programs of a group; arguments and result as for `main`."""
    group = group_module(name)
    if not arguments or arguments[0] in HELP:
        print(group.usage(), end="")
        return 0
    return run(getattr(group, name.capitalize())(tuple(arguments)))


def usage() -> str:
    """What `lesionaug --help` prints."""
    lines = [f"  {name:<12}{documentation(command_class(name)).splitlines()[0]}" for name in COMMANDS]
    groups = [f"  {name:<12}{group_module(name).ABOUT}" for name in GROUPS]
    return USAGE.format(commands="\n".join(lines), groups="\n".join(groups))


def command_class(name: str) -> type:
    """The dataclass of a command."""
    return getattr(importlib.import_module(f"lesionaug.commands.{name}"), name.capitalize())


def group_module(name: str) -> ModuleType:
    """The module of a group."""
    return importlib.import_module(f"lesionaug.commands.{name}")


def documentation(kind: type) -> str:
    """Docstring of a command, which is also its help."""
    return inspect.getdoc(kind) or kind.__name__


def parse(name: str, arguments: Sequence[str]) -> Command:
    """A command from its arguments; exits with a message where they are wrong."""
    return parse_class(command_class(name), f"lesionaug {name}", arguments)


def parse_class(kind: type, program: str, arguments: Sequence[str]) -> Command:
    """The same for any dataclass.

    Args:
        kind: The dataclass.
        program: What the user typed before the arguments.
        arguments: After it.
    """
    import tyro

    return tyro.cli(
        kind,
        prog=program,
        description=documentation(kind).partition("\nArgs:")[0],
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )


def run(command: Command) -> int:
    """Run a command; what the user can act on becomes one line, everything else is our bug and keeps its traceback."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", LesionAugWarning)
        try:
            with ended_cleanly():
                command.run()
        except LesionAugError as error:
            print(f"lesionaug: error: {error}", file=sys.stderr)
            return USER_ERROR
        except OSError as error:
            print(f"lesionaug: error: {error}; check the path, its permissions and the space left", file=sys.stderr)
            return USER_ERROR
        except KeyboardInterrupt as error:
            print(f"lesionaug: interrupted, {getattr(command, 'INTERRUPTED', 'nothing written')}", file=sys.stderr)
            return exit_code(error)
    return 0


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if issubclass(category, LesionAugWarning):
        print(f"lesionaug: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
