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
from torch import Tensor

from lesionaug.anatomy.grids import spacing_of
from lesionaug.anatomy.morphology import box_of

MAPS = ("brain", "white", "cortex", "deep_grey", "ventricles", "fluid", "infratentorial", "lesions")
"""Probability of each tissue, given brain; `lesions` is the density of lesion centres relative to its maximum."""

ITERATIONS = 12
CONVERGED_MM = 0.05  # of any part of the brain, in one iteration
SAMPLING_MM = 7.0
BEYOND_MM = 14.0  # around the brain is looked at, too: the start may be that far off
BLUR_MM = 4.0
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
    def _brain(self) -> Tensor:
        """Blurred outline and its gradient, shape `(1, 4, i, j, k)`."""
        smooth = ndimage.gaussian_filter(self["brain"], 1.0)
        return torch.from_numpy(np.stack([smooth, *np.gradient(smooth)]))[None]

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
        start = self._moments(points[:, values > 0.5].T)
        world_to_atlas = start
        for _ in range(ITERATIONS):
            previous, world_to_atlas = world_to_atlas, self._step(world_to_atlas, start, points, values)
            if _largest_shift(world_to_atlas - previous, points) < CONVERGED_MM:
                break
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
        maps = torch.from_numpy(np.ascontiguousarray(self.maps[[MAPS.index(name) for name in names]]))
        return _looked_up(maps[None], voxels[None], "border")[0].numpy()

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
        """One Gauss-Newton step; `points` has shape `(3, n)`."""
        to_voxel = np.linalg.inv(self.affine)
        mni = current[:3, :3] @ points + current[:3, 3:]
        voxels = torch.from_numpy((to_voxel[:3, :3] @ mni + to_voxel[:3, 3:]).T).float()
        level, *gradient = _looked_up(self._brain, voxels[None, None, None], "zeros")[0, :, 0, 0].numpy()
        weight = (mni[2] > LOWEST_MM).astype(np.float32)
        gradient = to_voxel[:3, :3].T @ np.stack(gradient) * weight
        center = points.mean(axis=1)
        arm = np.concatenate([(points - center[:, None]) / 50, np.ones((1, points.shape[1]))])
        design = (gradient[:, None] * arm).reshape(12, -1)
        normal = design @ design.T
        ridge = RIDGE * np.trace(normal) / 12
        origin = _centred(start, center) - _centred(current, center)
        step = np.linalg.solve(
            normal + ridge * np.eye(12), design @ ((values - level) * weight) + ridge * origin.reshape(-1)
        )
        return _uncentred(_centred(current, center) + step.reshape(3, 4), center)


def _looked_up(maps: Tensor, voxels: Tensor, beyond: str) -> Tensor:
    """Maps `(1, n, i, j, k)` at voxel positions `(1, a, b, c, 3)`, as `(1, n, a, b, c)`."""
    grid = (2 * voxels / (torch.tensor(maps.shape[2:]) - 1) - 1).flip(-1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode=beyond, align_corners=True)


def _largest_shift(change: np.ndarray, points: np.ndarray) -> float:
    """How far a change of an affine moves the corners of a box around points `(3, n)`, at most."""
    corners = np.stack(np.meshgrid(*zip(points.min(axis=1), points.max(axis=1), strict=True))).reshape(3, -1)
    return float(np.linalg.norm(change[:3, :3] @ corners + change[:3, 3:], axis=0).max())


def _centred(affine: np.ndarray, center: np.ndarray) -> np.ndarray:
    """3 x 4: linear part per 50 mm, and where the centre goes, so that all numbers are millimetres."""
    return np.concatenate([affine[:3, :3] * 50, (affine[:3, :3] @ center + affine[:3, 3])[:, None]], axis=1)


def _uncentred(centred: np.ndarray, center: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = centred[:, :3] / 50
    affine[:3, 3] = centred[:, 3] - affine[:3, :3] @ center
    return affine


def _samples(brain: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World positions `(3, n)` on a coarse grid that reaches beyond the brain, and the blurred mask there."""
    spacing = spacing_of(affine)
    margin = np.ceil(BEYOND_MM / spacing).astype(int)
    box = box_of(brain)
    padded = np.pad(brain[box].astype(np.float32), [(m, m) for m in margin])
    smooth = ndimage.gaussian_filter(padded, BLUR_MM / spacing, mode="constant", truncate=3.0)
    axes = [np.arange(0, n - 1, SAMPLING_MM / s) for n, s in zip(padded.shape, spacing, strict=True)]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    values = ndimage.map_coordinates(smooth, voxels, order=1)
    start = np.array([side.start for side in box]) - margin
    return affine[:3, :3] @ (voxels + start[:, None]) + affine[:3, 3:], values


def _landmarks(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Centre and spread across and along, over the upper part of the brain, and its top."""
    top = np.quantile(points[:, 2], 0.998)
    upper = points[points[:, 2] > top - 80]
    return upper[:, :2].mean(axis=0), float(top), upper[:, :2].std(axis=0)


@lru_cache(maxsize=1)
def packaged_atlas() -> Atlas:
    """The atlas that comes with the package; see `assets/prior/CARD.md`."""
    return Atlas.read(Path(str(files("lesionaug") / "assets" / "prior" / "atlas.npz")))
