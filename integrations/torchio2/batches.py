"""From a batch of TorchIO 2 to one `ScanParts` per subject, and back: which of its images play which part."""

# pyright: reportAttributeAccessIssue=false
# because what is installed where types are checked is TorchIO 1.x.
from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import torch
import torchio as tio

from lesionaug.checks import check_same_grid
from lesionaug.errors import LesionAugError
from lesionaug.scan_parts import ScanParts
from lesionaug.subjects import ImageNames
from lesionaug.variants import VoxelChange


@dataclass(frozen=True)
class BatchKeys(ImageNames):
    """Finds the images in a batch, and writes into them; see `ImageNames`."""

    def parts(self, batch: tio.SubjectsBatch, chosen: Container[str], index: int) -> ScanParts:
        """What plays a part in one of the subjects.

        Args:
            batch: Not changed.
            chosen: Names of the images that lesions are to be painted into.
            index: Of the subject.

        Raises:
            LesionAugError: An image or the label is missing, or they do not match.
        """
        names = self._chosen(batch, chosen)
        like = names[next(iter(names))]
        return ScanParts(
            images={channel: _volume(batch, name, index, like) for channel, name in names.items()},
            affine=_affine(batch, like, index),
            label=_volume(batch, self.label, index, like),
            eligible=None if self.eligible is None else _volume(batch, self.eligible, index, like),
            name=self.label,
            brain_mask=None if self.brain_mask is None else _volume(batch, self.brain_mask, index, like),
            anatomy=None if self.anatomy is None else _volume(batch, self.anatomy, index, like, several=True),
            lesion_value=self.lesion_value,
        )

    def write(self, batch: tio.SubjectsBatch, index: int, parts: ScanParts, change: VoxelChange) -> None:
        """Write new lesions into one subject of a batch, whose images keep type and device."""
        images, label = parts.written(change)
        for name, volume in {**{self.images[key]: image for key, image in images.items()}, self.label: label}.items():
            batch.images[name].data[index] = volume.to(batch.images[name].device)

    def with_label(self, batch: tio.SubjectsBatch) -> tio.SubjectsBatch:
        """The batch, or where it needs labels a shallow copy that has empty ones."""
        like = next((batch.images[name] for name in self.images.values() if name in batch.images), None)
        if not self.create_label or self.label in batch.images or like is None:
            return batch
        empty = torch.zeros((like.batch_size, 1, *like.data.shape[2:]), dtype=torch.uint8, device=like.device)
        label = tio.ImagesBatch(empty, [affine.clone() for affine in like.affines], image_class=tio.LabelMap)
        labelled = tio.SubjectsBatch({**batch.images, self.label: label}, metadata=batch.metadata)
        labelled.adopt_history(batch, batch.unbatch())
        return labelled

    def names(self, batch: tio.SubjectsBatch, chosen: Container[str]) -> list[str]:
        """Of all images that change."""
        return [*self._chosen(batch, chosen).values(), self.label]

    def _chosen(self, batch: tio.SubjectsBatch, chosen: Container[str]) -> dict[str, str]:
        names = {channel: name for channel, name in self.images.items() if name in chosen}
        absent = [name for name in self.images.values() if name not in batch.images]
        if absent or not names:
            raise LesionAugError(
                f"Expected scalar images {', '.join(self.images.values())}, got {_names(batch)}; say what they are "
                "called: images={'flair': ...}, and check include and exclude"
            )
        return names


def _volume(batch: tio.SubjectsBatch, name: str, index: int, like: str, *, several: bool = False) -> torch.Tensor:
    """One subject's image on the CPU, whose voxels are those of another image."""
    if name not in batch.images:
        raise LesionAugError(f"Expected an image {name!r}, got {_names(batch)}; check the name")
    volume = batch.images[name].data[index]
    if volume.shape[0] != 1 and not several:
        raise LesionAugError(f"Expected a 3-D image, got {volume.shape[0]} channels in {name!r}; choose one of them")
    shape, grid = tuple(volume.shape[1:]), tuple(batch.images[like].data.shape[2:])
    check_same_grid(shape, _affine(batch, name, index), repr(name), grid, _affine(batch, like, index), repr(like))
    return volume.detach().cpu()


def _affine(batch: tio.SubjectsBatch, name: str, index: int) -> np.ndarray:
    return batch.images[name].affines[index].data.double().cpu().numpy()


def _names(batch: tio.SubjectsBatch) -> str:
    return ", ".join(batch.images) or "no image"
