"""Where a lesion may appear: tissue from images or labels, location map, McDonald regions."""

from lesionaug.anatomy.core import Anatomy
from lesionaug.anatomy.images import anatomy_from_images

__all__ = ["Anatomy", "anatomy_from_images"]
