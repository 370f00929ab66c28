"""Where in a brain tissue and lesions usually are: maps in MNI space, and how a brain is laid over them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

MAPS = ("brain", "white", "cortex", "deep_grey", "ventricles", "fluid", "infratentorial", "lesions")
"""Probability of each tissue, given brain; `lesions` is the density of lesion centres relative to its maximum."""

ITERATIONS = 12
SAMPLING_MM = 7.0
LOWEST_MM = -55.0  # below it brains end in more or less spinal cord, which says nothing on their place
RIDGE = 0.02  # pull towards the moments' solution, per squared voxel of the samples


@dataclass(frozen=True)
class Atlas:
    """Maps on one grid.

    Args:
        maps: Shape `(len(MAPS), i, j, k)`, from 0 to 1.
        affine: Voxel to atlas position in mm, near MNI; 4 by 4.
    """

    maps: np.ndarray
    affine: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        """One of `MAPS`."""
        return self.maps[MAPS.index(name)]

    @cached_property
    def _brain(self) -> tuple[np.ndarray, ...]:
        smooth = ndimage.gaussian_filter(self["brain"], 1.0)
        return smooth, *np.gradient(smooth)

    def save(self, path: str | Path) -> None:
        """Write maps as bytes; the same maps make the same file."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in (("maps", np.round(self.maps * 255).astype(np.uint8)), ("affine", self.affine)):
                buffer = io.BytesIO()
                np.save(buffer, array)
                # A fixed date keeps the file's digest a function of its content.
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)

    @classmethod
    def read(cls, path: str | Path) -> Atlas:
        """Inverse of `save`, to 1/255."""
        with np.load(path) as stored:
            return cls(stored["maps"].astype(np.float32) / 255, stored["affine"])

    def place(self, brain: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """World position of a scan to atlas position, 4 by 4, from the brain's outline alone.

        Moments give the start, a few Gauss-Newton steps on a coarse grid the rest: milliseconds.

        Args:
            brain: Brain mask in right-anterior-superior voxels.
            affine: Of the mask, voxel to world in mm.
        """
        points, values = _samples(brain, affine)
        start = self._moments(points[values > 0.5])
        world_to_atlas = start
        for _ in range(ITERATIONS):
            world_to_atlas = self._step(world_to_atlas, start, points, values)
        return world_to_atlas

    def resample(
        self,
        affine: np.ndarray,
        shape: tuple[int, ...],
        world_to_atlas: np.ndarray,
        names: Sequence[str] = MAPS,
    ) -> np.ndarray:
        """The named maps at the voxels of a grid, shape `(len(names), i, j, k)`."""
        matrix = torch.from_numpy(np.linalg.inv(self.affine) @ world_to_atlas @ affine).float()
        axes = [matrix[:3, axis] * torch.arange(n)[:, None] for axis, n in enumerate(shape)]
        voxels = axes[0][:, None, None] + axes[1][:, None] + axes[2] + matrix[:3, 3]
        grid = (2 * voxels / (torch.tensor(self.maps.shape[1:]) - 1) - 1).flip(-1)
        maps = torch.from_numpy(np.ascontiguousarray(self.maps[[MAPS.index(name) for name in names]]))
        sampled = F.grid_sample(maps[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True)
        return sampled[0].numpy()

    def _moments(self, inside: np.ndarray) -> np.ndarray:
        reference = np.argwhere(self["brain"] > 0.5) @ self.affine[:3, :3].T + self.affine[:3, 3]
        reference = reference[reference[:, 2] > LOWEST_MM]
        center, top, spread = _landmarks(inside)
        center_mni, top_mni, spread_mni = _landmarks(reference)
        scale = np.append(spread_mni / spread, np.sqrt(np.prod(spread_mni / spread)))
        result = np.diag((*scale, 1.0))
        result[:2, 3] = center_mni - scale[:2] * center
        result[2, 3] = top_mni - scale[2] * top
        return result

    def _step(self, current: np.ndarray, start: np.ndarray, points: np.ndarray, values: np.ndarray) -> np.ndarray:
        to_voxel = np.linalg.inv(self.affine)
        mni = points @ current[:3, :3].T + current[:3, 3]
        voxels = (mni @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T
        level, *gradient = [ndimage.map_coordinates(m, voxels, order=1) for m in self._brain]
        weight = (mni[:, 2] > LOWEST_MM).astype(float)
        gradient = np.stack(gradient, axis=1) @ to_voxel[:3, :3] * weight[:, None]
        center = points.mean(axis=0)
        arm = np.concatenate([(points - center) / 50, np.ones((len(points), 1))], axis=1)
        design = (gradient[:, :, None] * arm[:, None, :]).reshape(len(points), 12)
        normal = design.T @ design
        ridge = RIDGE * np.trace(normal) / 12
        origin = _centred(start, center) - _centred(current, center)
        step = np.linalg.solve(
            normal + ridge * np.eye(12), design.T @ ((values - level) * weight) + ridge * origin.reshape(-1)
        )
        return _uncentred(_centred(current, center) + step.reshape(3, 4), center)


def _centred(affine: np.ndarray, center: np.ndarray) -> np.ndarray:
    """3 x 4: linear part per 50 mm, and where the centre goes, so that all numbers are millimetres."""
    return np.concatenate([affine[:3, :3] * 50, (affine[:3, :3] @ center + affine[:3, 3])[:, None]], axis=1)


def _uncentred(centred: np.ndarray, center: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = centred[:, :3] / 50
    affine[:3, 3] = centred[:, 3] - affine[:3, :3] @ center
    return affine


def _samples(brain: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World positions on a coarse grid that reaches beyond the brain, and the blurred mask there."""
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    smooth = ndimage.gaussian_filter(brain.astype(np.float32), 4.0 / spacing)
    axes = [np.arange(-2, n * s / SAMPLING_MM + 2) * SAMPLING_MM / s for n, s in zip(brain.shape, spacing, strict=True)]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    values = ndimage.map_coordinates(smooth, voxels, order=1)
    points = voxels.T @ affine[:3, :3].T + affine[:3, 3]
    return points, values


def _landmarks(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Centre and spread across and along, over the upper part of the brain, and its top."""
    top = np.quantile(points[:, 2], 0.998)
    upper = points[points[:, 2] > top - 80]
    return upper[:, :2].mean(axis=0), float(top), upper[:, :2].std(axis=0)


@lru_cache(maxsize=1)
def packaged_atlas() -> Atlas:
    """The atlas that comes with the package; see `assets/prior/CARD.md`."""
    return Atlas.read(Path(str(files("lesionaug") / "assets" / "prior" / "atlas.npz")))
