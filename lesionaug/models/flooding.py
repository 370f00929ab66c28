"""One piece of a wanted volume out of a field: water rises from the summit downwards.

Of one field, less water always covers a part of what more water covers.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lesionaug.types import Mask

BREADTHS = (0.4, 0.25)
"""Half width that a room must have, over the radius of a ball of the lesion's volume; the first that holds it."""


def cut_in_breadth(field: Float[Tensor, "1 i j k"], room: Mask, voxels: int) -> Mask:
    """`cut_at_volume` where the room is as broad as the lesion, as far as that part of it holds the volume.

    A large lesion that flooded thin blades of white matter would have arms.
    """
    radius = (3 * voxels / (4 * math.pi)) ** (1 / 3)
    for breadth in BREADTHS:
        piece = cut_at_volume(field, _broad(room, breadth * radius), voxels)
        if int(piece.sum()) == voxels:
            return piece
    return cut_at_volume(field, room, voxels)


def _broad(room: Mask, radius: float) -> Mask:
    """What balls of a radius in voxels can reach without leaving the room."""
    if radius < 1 or not room.any():
        return room
    # The patch's border is no wall.
    depth = distance_transform_edt(np.pad(room[0].numpy(), math.ceil(radius), mode="edge"))
    inner = depth[tuple(slice(math.ceil(radius), n - math.ceil(radius)) for n in depth.shape)] > radius
    return room & torch.from_numpy(distance_transform_edt(~inner) <= radius if inner.any() else inner)[None]


def cut_at_volume(field: Float[Tensor, "1 i j k"], room: Mask, voxels: int) -> Mask:
    """The connected piece of so many voxels that flooding from the field's summit takes first.

    On a field with one summit this is the level set of the wanted volume; on any field it is one piece (of voxels that
    share a face) of exactly that volume, or all that connects where the room is too small.
    """
    values = torch.where(room, field, -torch.inf)[0]
    piece = torch.zeros_like(room)
    if room.any():
        taken = _flood(np.pad(values.numpy(), 1, constant_values=-np.inf), voxels)
        piece[0].flatten()[_without_padding(taken, values.shape)] = True
    return piece


def _flood(values: np.ndarray, voxels: int) -> list[int]:
    """Flat indices in the order of flooding; the border of `values` is never reached."""
    flat, steps = values.ravel(), _neighbour_steps(values.shape)
    summit = int(flat.argmax())
    shore, seen, taken = [(-flat[summit], summit)], {summit}, []
    while shore and len(taken) < voxels:
        _, here = heappop(shore)
        taken.append(here)
        for there in (here + step for step in steps):
            if there not in seen and flat[there] > -np.inf:
                seen.add(there)
                heappush(shore, (-flat[there], there))
    return taken


def _neighbour_steps(shape: tuple[int, ...]) -> list[int]:
    strides = (shape[1] * shape[2], shape[2], 1)
    return [sign * stride for stride in strides for sign in (-1, 1)]


def _without_padding(taken: list[int], shape: torch.Size) -> Tensor:
    padded = np.unravel_index(taken, [n + 2 for n in shape])
    return torch.from_numpy(np.ravel_multi_index([axis - 1 for axis in padded], shape))
