"""Where a lesion may appear: tissue from images or labels, location map, McDonald regions."""

from lesionaug.anatomy.core import Anatomy
from lesionaug.anatomy.images import anatomy_from_images
from lesionaug.anatomy.labels import anatomy_from_labels, anatomy_from_white_matter

__all__ = ["Anatomy", "anatomy_from_images", "anatomy_from_labels", "anatomy_from_white_matter"]
