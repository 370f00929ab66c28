"""Shapes as annotations; `tests/conftest.py` turns the checks on, nothing else does."""

from collections.abc import Iterable
from typing import TypeVar

from jaxtyping import Bool, Float, Int32, UInt8
from torch import Tensor

Volume = Float[Tensor, "channels i j k"]
Mask = Bool[Tensor, "1 i j k"]
Weight = Float[Tensor, "1 i j k"]
RegionMap = UInt8[Tensor, "1 i j k"]
Instances = Int32[Tensor, "1 i j k"]

Patches = Float[Tensor, "batch channels i j k"]
PatchMasks = Bool[Tensor, "batch 1 i j k"]

Value = TypeVar("Value")


def triple(values: Iterable[Value]) -> tuple[Value, Value, Value]:
    """One value for each axis of a volume.

    Raises:
        ValueError: There are more or fewer than three.

    Example:
        >>> triple(2 * n for n in (1, 2, 3))
        (2, 4, 6)
    """
    i, j, k = values
    return i, j, k
