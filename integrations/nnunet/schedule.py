"""How many of the patches get lesions, epoch by epoch; workers that were forked long before are told, too."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.sharedctypes import RawValue


class Share:
    """A factor on the probability, in memory that workers share. It changes once an epoch, so it needs no lock.

    Args:
        schedule: Pairs of a share of all epochs and the factor from there on.
    """

    def __init__(self, schedule: Sequence[tuple[float, float]]) -> None:
        self.schedule = tuple(schedule)
        self._value = RawValue("d", factor_at(schedule, 0.0))

    def now(self) -> float:
        """The factor of this epoch."""
        return float(self._value.value)

    def begin(self, epoch: int, epochs: int) -> None:
        """Tell all workers that an epoch begins; batches that they have made already stay as they are.

        Args:
            epoch: Counted from 0.
            epochs: Of the whole training.
        """
        self._value.value = factor_at(self.schedule, epoch / max(epochs, 1))


def factor_at(schedule: Sequence[tuple[float, float]], share: float) -> float:
    """The factor after a share of the training; 1 before the first pair.

    Example:
        >>> [factor_at(((0.0, 1.0), (0.9, 0.0)), share) for share in (0.0, 0.89, 0.9, 1.0)]
        [1.0, 1.0, 0.0, 0.0]
    """
    return next((factor for start, factor in reversed(schedule) if start <= share), 1.0)


class Chance:
    """The probability that a sample gets lesions, now.

    Args:
        probability: Of the whole training.
        share: The factor of this epoch.
    """

    def __init__(self, probability: float, share: Share) -> None:
        self.probability, self.share = probability, share

    def __call__(self) -> float:
        """Of the moment, in whichever process."""
        return self.probability * self.share.now()
