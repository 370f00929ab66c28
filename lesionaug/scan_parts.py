"""What a host hands over of a scan: images on one grid, the label, and a map of where lesions may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from lesionaug.assemble import Image, as_stored, assemble_scan
from lesionaug.cache import digest_of
from lesionaug.checks import binary_mask
from lesionaug.fingerprint import fingerprint
from lesionaug.scan import Scan
from lesionaug.variants import VoxelChange, changed_voxels, put_voxels


@dataclass(frozen=True)
class ScanParts:
    """Tensors of a host that play a part; what is derived from them is derived once, and only when asked for.

    Args:
        images: By channel, those that lesions are to be painted into, in the host's own types and on the CPU.
        affine: Voxel to world (RAS) in mm, 4 by 4.
        label: Existing lesions, 0 and one other value.
        eligible: Map of where lesions may be centred, if there is one.
        name: Of the label, for messages.
    """

    images: Mapping[str, Image]
    affine: np.ndarray
    label: Image
    eligible: Image | None = None
    name: str = "label"

    @cached_property
    def scan(self) -> Scan:
        """What the synthesiser sees; finding the anatomy takes a second.

        Raises:
            LesionAugError: Images that cannot be worked with.
        """
        lesions = binary_mask(self.label.numpy(), f"label {self.name!r}")[0]
        return assemble_scan(self.images, self.affine, torch.from_numpy(lesions), eligible=self.eligible)

    @cached_property
    def lesions(self) -> tuple[np.ndarray, float]:
        """Voxels of existing lesions in the flattened label, and the value that they have there.

        Raises:
            LesionAugError: The label has several.
        """
        label = self.label.numpy().reshape(-1)
        indices = np.flatnonzero(label != 0)
        return indices, binary_mask(label[indices], f"label {self.name!r}")[1]

    @cached_property
    def content(self) -> str:
        """Hexadecimal digits that stand for all of it: bits of the images, lesions of the label, place of the voxels.

        See `lesionaug.fingerprint` for how sure that is.
        """
        parts = {channel: fingerprint(image) for channel, image in self.images.items()}
        if self.eligible is not None:
            parts["eligible"] = fingerprint(self.eligible)
        return digest_of({**parts, "affine": self.affine.tolist()}, torch.from_numpy(self.lesions[0]))

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
        images = {
            channel: put_voxels(self.images[channel], change.indices, torch.from_numpy(values), in_place=False)
            for channel, values in change.values.items()
        }
        value = torch.tensor(self.lesions[1])
        return images, put_voxels(self.label, change.lesions, value, in_place=False)
