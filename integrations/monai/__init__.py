"""New lesions in MONAI's dictionaries: a random transform, and the deterministic one that repeats what it did."""

from lesionaug.errors import LesionAugError

try:
    import monai  # noqa: F401
except ModuleNotFoundError as error:
    raise LesionAugError("Expected MONAI, got no such package; install it: pip install lesionaug[monai]") from error

from lesionaug.integrations.monai.anatomy import AddAnatomyd
from lesionaug.integrations.monai.transforms import RandSyntheticMSLesiond, RenderMSLesionsd

__all__ = ["AddAnatomyd", "RandSyntheticMSLesiond", "RenderMSLesionsd"]
