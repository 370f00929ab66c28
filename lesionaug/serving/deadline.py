"""Every wait has an end."""

from __future__ import annotations

import time


class Deadline:
    """A number of seconds from now, or from the last sign of life.

    Args:
        seconds: How long.
        extends: Whether a sign of life starts the seconds again.
    """

    def __init__(self, seconds: float, *, extends: bool = False) -> None:
        self.seconds, self.extends = seconds, extends
        self._end_s = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds that remain; 0 at the end."""
        return max(0.0, self._end_s - time.monotonic())

    def passed(self) -> bool:
        """Whether none remain."""
        return self.left_s() == 0.0

    def sign_of_life(self) -> None:
        """The other side works."""
        if self.extends:
            self._end_s = time.monotonic() + self.seconds
