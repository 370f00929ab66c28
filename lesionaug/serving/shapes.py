"""Patch shapes that a server need not be asked for again: a larger lesion never gets a smaller patch."""

from __future__ import annotations

from bisect import bisect_left

Shape = tuple[int, int, int]


class KnownShapes:
    """Shapes by the diameter of the control sphere; between two equal shapes there is no other.

    Example:
        >>> known = KnownShapes()
        >>> known.add(5.0, (16, 16, 16))
        >>> known.add(9.0, (16, 16, 16))
        >>> known.find(7.0), known.find(10.0)
        ((16, 16, 16), None)
    """

    def __init__(self) -> None:
        self._extents_mm: list[float] = []
        self._shapes: list[Shape] = []

    def add(self, extent_mm: float, shape: Shape) -> None:
        """Remember one."""
        index = bisect_left(self._extents_mm, extent_mm)
        self._extents_mm.insert(index, extent_mm)
        self._shapes.insert(index, shape)

    def find(self, extent_mm: float) -> Shape | None:
        """The shape for a diameter, if it is known."""
        index = bisect_left(self._extents_mm, extent_mm)
        above = self._shapes[index : index + 1]
        if above and self._extents_mm[index] == extent_mm:
            return above[0]
        return above[0] if index > 0 and above == self._shapes[index - 1 : index] else None
