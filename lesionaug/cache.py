"""A renderer that remembers: what it has rendered once comes out of a store, with the same bits.

RenderRequest ──lesion by lesion──► key ──► store ──hit──► RenderedLesion
                                             └──miss──► the renderer behind ──► store
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lesionaug.errors import LesionAugWarning
from lesionaug.rendering import LesionRequest, Progress, RenderedLesion, Renderer, RenderRequest
from lesionaug.store import Store

RENDER_VERSION = 9
"""Part of every key. Raise it with each change after which the same scan, plan or request gives other bits: in anatomy,
intensity, patches, planning, prior, models, diffusion, rendering or synthesis, or in how entries are written. Weights
and priors have digests of their own. An old cache is then not read any more, and `lesionaug cache prune` empties it."""

COMPRESSION = 1  # of zlib; floating-point noise hardly shrinks, and more effort only takes longer


@dataclass(frozen=True)
class CachedRenderer:
    """Renders what its store does not have.

    Args:
        renderer: Behind it.
        store: Where lesions are kept.
        identity: What else a lesion depends on: digests of the models, network calls, kind of device. Two renderers
            that may give different bits for one request must have different identities.
    """

    renderer: Renderer
    store: Store
    identity: str

    @property
    def spacing_mm(self) -> float:
        """Of the patches."""
        return self.renderer.spacing_mm

    @property
    def channels(self) -> tuple[str, ...]:
        """Contrasts that can be painted."""
        return self.renderer.channels

    def patch_shape(self, extent_mm: float) -> tuple[int, int, int]:
        """Voxels of the patch for a control sphere of this diameter."""
        return self.renderer.patch_shape(extent_mm)

    def __call__(self, request: RenderRequest, progress: Progress | None = None) -> tuple[RenderedLesion, ...]:
        """See `Renderer`."""
        keys = [lesion_key(lesion, request.channels, self.identity) for lesion in request.lesions]
        found = [self._found(key, lesion) for key, lesion in zip(keys, request.lesions, strict=True)]
        missing = [index for index, lesion in enumerate(found) if lesion is None]
        if progress and len(missing) < len(found):
            progress(len(found) - len(missing))
        if missing:
            asked = replace(request, lesions=tuple(request.lesions[index] for index in missing))
            for index, lesion in zip(missing, self.renderer(asked, progress), strict=True):
                put_or_warn(self.store, keys[index], _packed(lesion, request.lesions[index]))
                found[index] = lesion
        return tuple(lesion for lesion in found if lesion is not None)

    def _found(self, key: str, asked: LesionRequest) -> RenderedLesion | None:
        payload = self.store.get(key)
        return None if payload is None else _unpacked(payload, asked)


def lesion_key(lesion: LesionRequest, channels: Sequence[str], identity: str) -> str:
    """Of everything that a rendered lesion depends on."""
    about = {"channels": list(channels), "identity": identity, "spec": asdict(lesion.spec), "coarse": lesion.coarse}
    return digest_of(about, lesion.background, lesion.brain, lesion.allowed, lesion.near)


def digest_of(about: Mapping[str, Any], *tensors: Tensor) -> str:
    """Hexadecimal digits that stand for plain data, tensors and the version of rendering."""
    digest = hashlib.sha256(json.dumps({"version": RENDER_VERSION, **about}, sort_keys=True).encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()


def put_or_warn(store: Store, key: str, payload: bytes) -> None:
    """Keep something that can be made again: a full disk costs time, and does not end a training.

    Warns:
        LesionAugWarning: The store cannot be written.
    """
    try:
        store.put(key, payload)
    except OSError as error:
        warnings.warn(
            f"Expected to write to the cache, got {error}; going on without, every lesion is rendered again. "
            "Free space or choose another folder",
            LesionAugWarning,
            stacklevel=2,
        )


def _packed(lesion: RenderedLesion, asked: LesionRequest) -> bytes:
    """Both masks, and the voxels that differ from the background in any bit."""
    image, background = lesion.image.numpy(), asked.background.numpy()
    changed = _bits(image) != _bits(background)
    masks = [np.packbits(mask.numpy()) for mask in (lesion.mask, lesion.full_grown)]
    parts = (*masks, np.packbits(changed), image[changed])
    return zlib.compress(b"".join(part.tobytes() for part in parts), COMPRESSION)


def _unpacked(payload: bytes, asked: LesionRequest) -> RenderedLesion:
    content = np.frombuffer(zlib.decompress(payload), np.uint8)
    mask, rest = _bools(content, asked.allowed.shape)
    full_grown, rest = _bools(rest, asked.allowed.shape)
    changed, rest = _bools(rest, asked.background.shape)
    image = asked.background.numpy().copy()
    image[changed] = rest.copy().view(image.dtype)
    return RenderedLesion(*map(torch.from_numpy, (mask, full_grown, image)))


def _bits(values: np.ndarray) -> np.ndarray:
    # As whole numbers, or two NaNs would differ and two zeros of opposite sign would not.
    return values.view(f"u{values.itemsize}")


def _bools(packed: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    size = int(np.prod(shape))
    end = -(-size // 8)
    return np.unpackbits(packed[:end], count=size).astype(bool).reshape(shape), packed[end:]
