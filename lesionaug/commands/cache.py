"""`lesionaug cache`: what a cache of rendered lesions holds, whether it is whole, less of it, more of it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lesionaug.commands.groups import chosen, listing

if TYPE_CHECKING:
    from lesionaug.cli import Command

ABOUT = "Keep rendered lesions for training: info, verify, prune, fill."

PROGRAMS = {
    "info": "Say what a cache holds.",
    "verify": "Read every entry, and remove those that are damaged.",
    "prune": "Remove what was not used for long, and what killed programs left.",
    "fill": "Render ahead of training, so that it needs neither models nor a GPU.",
}
"""`name` is the class `CacheName` of `lesionaug.commands.cache_programs` or, for `fill`, of `cache_fill`."""

USAGE = """usage: lesionaug cache PROGRAM [OPTIONS]

Rendered lesions in a folder, for SyntheticMSLesion(cache=FOLDER, variants=N).

{programs}

Every program explains itself: lesionaug cache PROGRAM --help
"""


def usage() -> str:
    """What `lesionaug cache --help` prints."""
    return USAGE.format(programs=listing(PROGRAMS))


@dataclass(frozen=True)
class Cache:
    """One of the programs.

    Args:
        arguments: Its name, and its own.
    """

    arguments: tuple[str, ...]

    INTERRUPTED: ClassVar = "run the same command again; what was rendered is kept"

    def run(self) -> None:
        """Parse and run it."""
        program(self.arguments).run()


def program(arguments: Sequence[str]) -> Command:
    """A program from its name and arguments; exits with a message where these are wrong.

    Raises:
        LesionAugError: There is no such program.
    """
    from lesionaug.cli import parse_class

    name, rest = chosen("cache", PROGRAMS, arguments)
    module = importlib.import_module(f"lesionaug.commands.cache_{'fill' if name == 'fill' else 'programs'}")
    return parse_class(getattr(module, f"Cache{name.capitalize()}"), f"lesionaug cache {name}", rest)
