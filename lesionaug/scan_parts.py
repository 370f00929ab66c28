"""What a host hands over of a scan: images on one grid, the label, and a map of where lesions may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lesionaug.anatomy import Anatomy, carried, uncarried
from lesionaug.assemble import Image, as_affine, as_stored, assemble_scan
from lesionaug.cache import digest_of
from lesionaug.checks import binary_mask
from lesionaug.errors import BadScanError, LesionAugError
from lesionaug.fingerprint import fingerprint
from lesionaug.room import in_regions
from lesionaug.scan import Scan
from lesionaug.variants import VoxelChange, changed_voxels, put_voxels

LEAST_BRAIN_ML = 20.0
"""In a crop; intensities are measured against the brain that it shows."""


@dataclass(frozen=True)
class ScanParts:
    """Tensors of a host that play a part; what is derived from them is derived once, and only when asked for.

    Args:
        images: By channel, those that lesions are to be painted into, in the host's own types and on the CPU.
        affine: Voxel to world (RAS) in mm, 4 by 4.
        label: Existing lesions, 0 and one other whole number, or several with `lesion_value` among them.
        eligible: Map of where lesions may be centred, if there is one.
        name: Of the label, for messages.
        brain_mask: Brain tissue and ventricles, not 0, if there is one.
        anatomy: What `lesionaug.anatomy.carried` made of the anatomy of the whole head, if this is a crop of it.
        lesion_value: Value that stands for lesions in a label of several classes.
    """

    images: Mapping[str, Image]
    affine: np.ndarray | Tensor
    label: Image
    eligible: Image | None = None
    name: str = "label"
    brain_mask: Image | None = None
    anatomy: Tensor | None = None
    lesion_value: float | None = None

    @cached_property
    def scan(self) -> Scan:
        """What the synthesiser sees; finding the anatomy takes a second.

        Raises:
            BadScanError: Images that cannot be worked with.
        """
        with _bad_scan():
            return assemble_scan(
                self.images,
                self.affine,
                torch.from_numpy(self._mask(self.label.numpy())[0]),
                eligible=self.eligible,
                anatomy=self._carried,
                brain_mask=self.brain_mask,
            )

    @property
    def found_anatomy(self) -> Tensor:
        """Its anatomy as one volume, to be cropped along with the images; see `lesionaug.anatomy.carried`.

        Raises:
            BadScanError: Images that cannot be worked with.
        """
        return carried(Anatomy(self.scan.brain, self.scan.eligible, self.scan.regions))

    def has_room(self, regions: tuple[str, ...] | None = None) -> bool:
        """Whether there is a place for a lesion, which only a crop may lack.

        Args:
            regions: To which lesions are confined, if they are.
        """
        if self._carried is None:
            return True
        anatomy, voxel_mm3 = self._carried, abs(np.linalg.det(as_affine(self.affine)[:3, :3]))
        places = (anatomy.eligible if self.eligible is None else self.eligible) > 0
        places = places & anatomy.brain & torch.from_numpy(~self._mask(self.label.numpy())[0])
        if regions:
            places &= in_regions(anatomy.regions, regions)
        return bool(places.any()) and int(anatomy.brain.sum()) * voxel_mm3 >= 1000 * LEAST_BRAIN_ML

    @cached_property
    def _carried(self) -> Anatomy | None:
        with _bad_scan():
            return None if self.anatomy is None else uncarried(self.anatomy)

    def _mask(self, label: np.ndarray) -> tuple[np.ndarray, float]:
        with _bad_scan():
            return binary_mask(label, f"label {self.name!r}", self.lesion_value)

    @cached_property
    def lesions(self) -> tuple[np.ndarray, float]:
        """Voxels of existing lesions in the flattened label, and the value that they have there.

        Raises:
            BadScanError: The label has several.
        """
        label = self.label.numpy().reshape(-1)
        indices = np.flatnonzero(label != 0)
        mask, value = self._mask(label[indices])
        return indices[mask], value

    @cached_property
    def content(self) -> str:
        """Hexadecimal digits that stand for all of it: bits of the images, lesions of the label, place of the voxels.

        See `lesionaug.fingerprint` for how sure that is.
        """
        parts = {channel: fingerprint(image) for channel, image in self.images.items()}
        maps = {"eligible": self.eligible, "brain": self.brain_mask, "anatomy": self.anatomy}
        parts |= {role: fingerprint(volume) for role, volume in maps.items() if volume is not None}
        return digest_of({**parts, "affine": as_affine(self.affine).tolist()}, torch.from_numpy(self.lesions[0]))

    def change_to(self, after: Scan) -> VoxelChange:
        """What rendering has changed, in the images' own types."""
        indices, labelled = changed_voxels(self.scan, after)
        rendered = zip(after.channels, after.image, strict=True)
        values = {
            channel: as_stored(image.reshape(-1)[indices], self.images[channel].dtype).numpy()
            for channel, image in rendered
        }
        return VoxelChange(indices.numpy(), values, labelled.numpy())

    def written(self, change: VoxelChange) -> tuple[dict[str, Image], Image]:
        """Copies of the images that are changed, by channel, and of the label; every other voxel keeps its bits."""
        if not len(change.indices):
            return {channel: image.clone() for channel, image in self.images.items()}, self.label.clone()
        images = {
            channel: put_voxels(self.images[channel], change.indices, torch.from_numpy(values), in_place=False)
            for channel, values in change.values.items()
        }
        value = torch.tensor(self.lesions[1])
        return images, put_voxels(self.label, change.lesions, value, in_place=False)


@contextmanager
def _bad_scan() -> Iterator[None]:
    """Errors of a scan's content are told apart from those of a program that uses it wrongly."""
    try:
        yield
    except LesionAugError as error:
        raise BadScanError(str(error)) from error
