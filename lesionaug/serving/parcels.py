"""Requests and rendered lesions as messages, and back, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from lesionaug import __version__
from lesionaug.cache import RENDER_VERSION
from lesionaug.rendering import LesionRequest, RenderedLesion, RenderRequest
from lesionaug.scan import LesionSpec
from lesionaug.serving.errors import WireError
from lesionaug.serving.wire import Message, encode
from lesionaug.types import triple

RENDER, RENDERED = "render", "rendered"

VERSION = f"{__version__}, rendering {RENDER_VERSION}"
"""Of both ends: a server that outlived an update would render what it rendered before."""


def request_to_bytes(request: RenderRequest) -> bytes:
    """A request on its way to the server."""
    fields = {
        "channels": request.channels,
        "specs": [asdict(lesion.spec) for lesion in request.lesions],
        "coarse": [lesion.coarse for lesion in request.lesions],
    }
    tensors = [
        values
        for lesion in request.lesions
        for values in (lesion.background.float(), lesion.brain, lesion.allowed, lesion.near)
    ]
    return encode(RENDER, fields, _to_numpy(tensors))


def request_from(message: Message) -> RenderRequest:
    """Inverse of `request_to_bytes`.

    Raises:
        WireError: The message is no request.
    """
    try:
        specs = [LesionSpec.from_dict(fields) for fields in message.fields["specs"]]
        channels = tuple(str(channel) for channel in message.fields["channels"])
        coarse = [triple(bool(axis) for axis in axes) for axes in message.fields["coarse"]]
        parts = _in_groups(message.arrays, 4)
        lesions = tuple(
            LesionRequest(_volume(background, len(channels)), _mask(brain), _mask(allowed), _mask(near), spec, axes)
            for (background, brain, allowed, near), spec, axes in zip(parts, specs, coarse, strict=True)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"Expected a request for lesions, got one that cannot be read: {error}") from error
    return RenderRequest(channels, lesions)


def rendered_to_bytes(lesions: Sequence[RenderedLesion]) -> bytes:
    """Rendered lesions on their way back."""
    tensors = [values for lesion in lesions for values in (lesion.mask, lesion.full_grown, lesion.image)]
    return encode(RENDERED, {}, _to_numpy(tensors))


def rendered_from(message: Message) -> tuple[RenderedLesion, ...]:
    """Inverse of `rendered_to_bytes`."""
    return tuple(RenderedLesion(*map(torch.from_numpy, parts)) for parts in _in_groups(message.arrays, 3))


def _to_numpy(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


def _in_groups(arrays: Sequence[np.ndarray], size: int) -> list[tuple[np.ndarray, ...]]:
    return list(zip(*[iter(arrays)] * size, strict=True))


def _volume(array: np.ndarray, channels: int) -> Tensor:
    if array.dtype != np.float32 or array.ndim != 4 or len(array) != channels:
        raise ValueError(f"{array.dtype} of shape {array.shape} for {channels} channels")
    return torch.from_numpy(array)


def _mask(array: np.ndarray) -> Tensor:
    if array.dtype != np.bool_ or array.ndim != 4:
        raise ValueError(f"{array.dtype} of shape {array.shape} for a mask")
    return torch.from_numpy(array)
