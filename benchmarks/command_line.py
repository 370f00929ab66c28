"""How benchmarks that go on when called again end: one line that says why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lesionaug.errors import LesionAugError


@contextmanager
def resumable() -> Iterator[None]:
    """Errors that a user can act on are a line without a traceback, and Ctrl-C says how to go on.

    Raises:
        SystemExit: With that line, or with 130.
    """
    try:
        yield
    except (LesionAugError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None
