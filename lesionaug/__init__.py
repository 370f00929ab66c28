"""Realistic synthetic multiple-sclerosis lesions in brain MRI, while a network trains.

Importing this package imports nothing heavy; names are resolved when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "AddAnatomy": "lesionaug.anatomy_transform",
    "LesionPlan": "lesionaug.scan",
    "LesionSpec": "lesionaug.scan",
    "Scan": "lesionaug.scan",
    "ScanParts": "lesionaug.scan_parts",
    "LesionPrior": "lesionaug.prior",
    "PlanOptions": "lesionaug.plan_options",
    "LesionAugmenter": "lesionaug.augmenter",
    "lesion_augmenter": "lesionaug.augmenter",
    "LesionSynthesizer": "lesionaug.synthesis",
    "load_synthesizer": "lesionaug.synthesis",
    "RenderMSLesions": "lesionaug.transform",
    "SyntheticMSLesion": "lesionaug.transform",
    "RenderServer": "lesionaug.serving.starting",
    "ServedRenderer": "lesionaug.serving.client",
}

__all__ = [
    "AddAnatomy",
    "LesionAugmenter",
    "LesionPlan",
    "LesionPrior",
    "LesionSpec",
    "LesionSynthesizer",
    "PlanOptions",
    "RenderMSLesions",
    "RenderServer",
    "Scan",
    "ScanParts",
    "ServedRenderer",
    "SyntheticMSLesion",
    "__version__",
    "lesion_augmenter",
    "load_synthesizer",
]

if TYPE_CHECKING:
    from lesionaug.anatomy_transform import AddAnatomy
    from lesionaug.augmenter import LesionAugmenter, lesion_augmenter
    from lesionaug.plan_options import PlanOptions
    from lesionaug.prior import LesionPrior
    from lesionaug.scan import LesionPlan, LesionSpec, Scan
    from lesionaug.scan_parts import ScanParts
    from lesionaug.serving.client import ServedRenderer
    from lesionaug.serving.starting import RenderServer
    from lesionaug.synthesis import LesionSynthesizer, load_synthesizer
    from lesionaug.transform import RenderMSLesions, SyntheticMSLesion


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
