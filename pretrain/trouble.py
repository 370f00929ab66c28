"""What may go wrong in the middle of a training, told with a remedy. The last checkpoint is never touched by it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lesionaug.errors import LesionAugError

KEPT = "the last good checkpoint is kept, run the same command again to go on from it"
CPU_IS_FULL = ("not enough memory", "can't allocate memory")


def check_finite(value: float, what: str, step: int) -> None:
    """A loss or a gradient is a number.

    Raises:
        LesionAugError: It is not.
    """
    if not math.isfinite(value):
        raise LesionAugError(
            f"Expected a finite {what} at step {step}, got {value}; lower --fit.learning-rate, lengthen --fit.warmup, "
            f"or leave out --fit.bf16: {KEPT}"
        )


@contextmanager
def advice_on_memory(accumulate: int) -> Iterator[None]:
    """Turn a full memory into an error with a remedy.

    Args:
        accumulate: Batches per step, as it is now.

    Raises:
        LesionAugError: Memory is full.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise LesionAugError(
            f"Expected a batch that fits into memory, got none left ({_first_line(error)}); lower --batch and raise "
            f"--fit.accumulate (now {accumulate}) by the same factor, or use --fit.bf16: {KEPT}"
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """Of the GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in CPU_IS_FULL)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120].rstrip(".")
