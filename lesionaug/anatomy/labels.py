"""Anatomy from a label map of FreeSurfer or SynthSeg."""

from __future__ import annotations

_VENTRICLES = (4, 5, 14, 15, 43, 44, 72)
_CEREBELLUM = (7, 8, 46, 47)
_WHITE = (2, 7, 16, 28, 41, 46, 60, 77, 78, 79, 85, 251, 252, 253, 254, 255)
_DEEP_GREY = (10, 11, 12, 13, 17, 18, 26, 49, 50, 51, 52, 53, 54, 58)
_CORTEX = (3, 8, 42, 47)
_FLUID = (24, *_VENTRICLES)

TISSUES: dict[str, tuple[int, ...]] = {
    "brain": tuple(sorted({*_WHITE, *_DEEP_GREY, *_CORTEX, *_FLUID, 25, 30, 57, 62})),
    "white": _WHITE,
    "cortex": _CORTEX,
    "deep_grey": _DEEP_GREY,
    "ventricles": _VENTRICLES,
    "fluid": _FLUID,
    "infratentorial": (15, 16, *_CEREBELLUM),
}
"""FreeSurfer labels of each tissue; 77 to 79 are hypointensities of white matter, 1000 to 2999 parcels of cortex."""
