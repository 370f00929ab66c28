"""Scans to measure on: a seeded phantom that needs no data, or the user's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from lesionaug.types import Mask, Volume


@dataclass(frozen=True)
class Head:
    """Images on one grid, and what is known of them before any anatomy was looked for.

    Args:
        image: Intensities, one channel per contrast.
        channels: Their names.
        lesion_mask: Existing lesions.
        affine: Voxel to world in mm, 4 by 4.
    """

    image: Volume
    channels: tuple[str, ...]
    lesion_mask: Mask
    affine: np.ndarray

    def save(self, path: Path) -> None:
        """Write without compression, so that reading takes no more memory than the images."""
        arrays = {"image": self.image.numpy(), "lesion_mask": self.lesion_mask.numpy(), "affine": self.affine}
        np.savez(path, channels=np.array(self.channels), **arrays)

    @classmethod
    def read(cls, path: Path) -> Head:
        """Inverse of `save`."""
        import torch

        with np.load(path) as file:
            image, lesion_mask = (torch.from_numpy(file[name]) for name in ("image", "lesion_mask"))
            return cls(image, tuple(file["channels"].tolist()), lesion_mask, file["affine"])


class Case(Protocol):
    """Something that makes a head, the same each time."""

    def head(self) -> Head:
        """Make it."""
        ...


@dataclass(frozen=True)
class PhantomCase:
    """The ellipsoids that the tests use, as large as a scan.

    Args:
        shape: Voxels along each axis; the default is that of the 1 mm MNI grid.
        spacing_mm: Voxel size.
        channels: Contrasts.
        seed: Of the noise.
    """

    shape: tuple[int, int, int] = (182, 218, 182)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: tuple[str, ...] = ("flair", "t1w")
    seed: int = 0

    def head(self) -> Head:
        """See `Case`."""
        import torch

        from tests.phantoms import brain_phantom

        phantom = brain_phantom(self.shape, self.spacing_mm, channels=self.channels, skull=True, seed=self.seed)
        image = torch.stack([phantom.images[channel] for channel in self.channels])
        return Head(image, self.channels, phantom.lesion_mask, phantom.affine)


QUICK_PHANTOM = PhantomCase(shape=(80, 96, 80), spacing_mm=(1.8, 1.8, 1.8))


@dataclass(frozen=True)
class FileCase:
    """NIfTI files on one grid; old lesions in them are not known.

    Args:
        paths: Channel and file.
    """

    paths: tuple[tuple[str, Path], ...]

    def head(self) -> Head:
        """See `Case`.

        Raises:
            LesionAugError: A file that cannot be worked with, or files on different grids.
        """
        import torch

        from lesionaug.io import read_intensities

        files = [read_intensities(path) for _, path in self.paths]
        for file in files[1:]:
            file.check_same_grid(files[0])
        image = torch.from_numpy(np.stack([file.data for file in files]))
        no_lesions = torch.zeros(1, *image.shape[1:], dtype=torch.bool)
        return Head(image, tuple(channel for channel, _ in self.paths), no_lesions, files[0].affine)


def save_head(case: Case, path: Path) -> None:
    """Make a head and write it."""
    case.head().save(path)
