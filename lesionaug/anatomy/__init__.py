"""Where a lesion may appear: tissue from images or labels, location map, McDonald regions."""

from lesionaug.anatomy.carried import carried, uncarried
from lesionaug.anatomy.core import Anatomy
from lesionaug.anatomy.images import anatomy_from_images, brain_from_images
from lesionaug.anatomy.labels import anatomy_from_labels, anatomy_from_white_matter
from lesionaug.anatomy.registration import prepare, prepare_anatomy, register_to_mni

__all__ = [
    "Anatomy",
    "anatomy_from_images",
    "anatomy_from_labels",
    "anatomy_from_white_matter",
    "brain_from_images",
    "carried",
    "prepare",
    "prepare_anatomy",
    "register_to_mni",
    "uncarried",
]
