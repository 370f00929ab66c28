"""Shapes as annotations; `tests/conftest.py` turns the checks on, nothing else does."""

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

Volume = Float[Tensor, "channels i j k"]
Mask = Bool[Tensor, "1 i j k"]
Weight = Float[Tensor, "1 i j k"]
RegionMap = UInt8[Tensor, "1 i j k"]

Patches = Float[Tensor, "batch channels i j k"]
PatchMasks = Bool[Tensor, "batch 1 i j k"]
