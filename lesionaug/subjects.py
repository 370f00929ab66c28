"""From a TorchIO subject to `ScanParts` and back: which of its images play which part."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torchio as tio

from lesionaug.checks import check_known, check_same_grid
from lesionaug.errors import LesionAugError
from lesionaug.layouts.core import channel_of
from lesionaug.scan import CHANNELS
from lesionaug.scan_parts import ScanParts
from lesionaug.variants import VoxelChange, put_voxels

IMAGES = {"flair": "flair", "t1w": "t1"}


@dataclass(frozen=True)
class ImageNames:
    """What TorchIO's users call their images, in subjects (1.x) and in batches (2).

    Args:
        images: Channel to image, or images whose names tell their channels.
        label: Lesion label.
        eligible: Map of where lesions may be centred, if there is one.
        create_label: Whether to add an empty label where there is none.
        brain_mask: Brain mask, if there is one.
        anatomy: What `AddAnatomy` added, if it did.
        lesion_value: Value that stands for lesions in a label of several classes.

    Raises:
        LesionAugError: An unknown channel, or no image.
    """

    images: Mapping[str, str] = field(default_factory=lambda: dict(IMAGES))
    label: str = "lesion"
    eligible: str | None = None
    create_label: bool = False
    brain_mask: str | None = None
    anatomy: str | None = None
    lesion_value: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.images, Mapping):
            object.__setattr__(self, "images", images_by_channel(self.images))  # the class is frozen
        check_known("channel", self.images, CHANNELS)
        if not self.images:
            raise LesionAugError(f"Expected at least one image, got none; name one: images={IMAGES}")


def images_by_channel(images: Mapping[str, str] | Sequence[str] | str) -> dict[str, str]:
    """Channel to image.

    Args:
        images: This already, or names that tell the channel.

    Raises:
        LesionAugError: A name does not, or two tell the same.

    Example:
        >>> images_by_channel(["flair", "T1"])
        {'flair': 'flair', 't1w': 'T1'}
    """
    if isinstance(images, Mapping):
        return dict(images)
    names = [images] if isinstance(images, str) else list(images)
    channels = [channel_of(name) for name in names]
    if None in channels or len(set(channels)) < len(channels):
        raise LesionAugError(
            f"Expected names that tell the channel ({', '.join(CHANNELS)}), each once, got {', '.join(names)}; "
            "say which is which: images={'flair': ...}"
        )
    return {str(channel): name for channel, name in zip(channels, names, strict=True)}


@dataclass(frozen=True)
class SubjectKeys(ImageNames):
    """Finds the images in a subject, and writes into them; see `ImageNames`."""

    def parts(self, subject: tio.Subject, chosen: Container[str]) -> ScanParts:
        """What plays a part in a subject.

        Args:
            subject: Not changed.
            chosen: Names of the images that lesions are to be painted into.

        Raises:
            LesionAugError: An image or the label is missing, or they do not match.
        """
        images = self._scalar_images(subject, chosen)
        like = next(iter(images.values()))
        return ScanParts(
            images={channel: image.data for channel, image in images.items()},
            affine=np.asarray(like.affine, dtype=float),
            label=self._label(subject, like).data,
            eligible=_on_grid(subject, self.eligible, like).data if self.eligible else None,
            name=self.label,
            brain_mask=_on_grid(subject, self.brain_mask, like).data if self.brain_mask else None,
            anatomy=_on_grid(subject, self.anatomy, like, several=True).data if self.anatomy else None,
            lesion_value=self.lesion_value,
        )

    def write(self, subject: tio.Subject, parts: ScanParts, change: VoxelChange, *, in_place: bool) -> None:
        """Write new lesions into a subject, whose images keep their types.

        Args:
            subject: Changed.
            parts: Of this subject.
            change: New lesions.
            in_place: Whether the voxels in memory are this subject's alone.
        """
        if self.label not in subject:
            subject.add_image(tio.LabelMap(tensor=parts.label, affine=parts.affine), self.label)
        if not len(change.indices):
            return
        for channel, values in change.values.items():
            image = _image(subject, self.images[channel])
            _put(image, change.indices, torch.from_numpy(values), subject, in_place)
        _put(_image(subject, self.label), change.lesions, torch.tensor(parts.lesions[1]), subject, in_place)

    def with_label(self, subject: tio.Subject) -> tio.Subject:
        """The subject, or where it needs a label a shallow copy that has an empty one."""
        like = next((name for name in self.images.values() if isinstance(subject.get(name), tio.Image)), None)
        if not self.create_label or self.label in subject or like is None:
            return subject
        labelled = tio.Subject(dict(subject))
        labelled.applied_transforms = list(subject.applied_transforms)
        labelled.add_image(_empty_label(_image(subject, like)), self.label)
        return labelled

    def _scalar_images(self, subject: tio.Subject, chosen: Container[str]) -> dict[str, tio.Image]:
        for channel, name in self.images.items():
            if not isinstance(subject.get(name), tio.ScalarImage):
                raise LesionAugError(
                    f"Expected a scalar image {name!r} ({channel}) in the subject, got {_names(subject)}; "
                    "say what the images are called: images={'flair': ...}"
                )
        names = {channel: name for channel, name in self.images.items() if name in chosen}
        if not names:
            raise LesionAugError(
                f"Expected one of the images {', '.join(self.images.values())}, got none; check include and exclude"
            )
        like = _image(subject, next(iter(names.values())))
        return {channel: _on_grid(subject, name, like) for channel, name in names.items()}

    def _label(self, subject: tio.Subject, like: tio.Image) -> tio.Image:
        if self.label in subject:
            return _on_grid(subject, self.label, like)
        if self.create_label:
            return _empty_label(like)
        raise LesionAugError(
            f"Expected a label {self.label!r} in the subject, got {_names(subject)}; "
            "say what it is called: label='...'; or, for healthy scans, SyntheticMSLesion(create_label=True), which "
            f"adds an empty one, {self.label!r}, where there is none"
        )


def _image(subject: tio.Subject, name: str) -> tio.Image:
    image = subject.get(name)
    if not isinstance(image, tio.Image):
        raise LesionAugError(f"Expected an image {name!r} in the subject, got {_names(subject)}; check the name")
    return image


def _put(image: tio.Image, indices: np.ndarray, values: torch.Tensor, subject: tio.Subject, in_place: bool) -> None:
    others = [other.data for other in subject.get_images(intensity_only=False) if other is not image]
    # A copy of a subject keeps two images that share memory together.
    place = image.data.untyped_storage().data_ptr()
    alone = not any(data.untyped_storage().data_ptr() == place for data in others)
    in_place = in_place and alone and image.data.is_contiguous()
    written = put_voxels(image.data, indices, values, in_place=in_place)
    if not in_place:
        image.set_data(written)


def _on_grid(subject: tio.Subject, name: str, like: tio.Image, *, several: bool = False) -> tio.Image:
    """An image of the subject whose voxels are those of another."""
    image = _image(subject, name)
    if image.data.shape[0] != 1 and not several:
        raise LesionAugError(f"Expected a 3-D image, got {image.data.shape[0]} volumes in {name!r}; choose one of them")
    check_same_grid(image.spatial_shape, image.affine, repr(name), like.spatial_shape, like.affine, "the first image")
    return image


def _empty_label(like: tio.Image) -> tio.LabelMap:
    return tio.LabelMap(tensor=torch.zeros((1, *like.spatial_shape), dtype=torch.uint8), affine=like.affine)


def _names(subject: tio.Subject) -> str:
    return ", ".join(name for name, value in subject.items() if isinstance(value, tio.Image)) or "no image"
