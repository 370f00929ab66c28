"""What the transforms build on in TorchIO 1.x; TorchIO 2 has none of it, and a module of its own here."""

from __future__ import annotations

from importlib.metadata import version

from lesionaug.errors import LesionAugError

try:
    from torchio.transforms.augmentation import RandomTransform
    from torchio.transforms.intensity_transform import IntensityTransform
    from torchio.transforms.transform import Transform
except ModuleNotFoundError as error:
    raise LesionAugError(
        f"Expected TorchIO 1.x, got {version('torchio')}; import the transform from lesionaug.integrations.torchio2, "
        "or install the older one: pip install 'torchio<2'"
    ) from error

__all__ = ["IntensityTransform", "RandomTransform", "Transform"]
