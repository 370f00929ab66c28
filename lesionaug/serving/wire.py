"""Messages as bytes: a JSON header and the raw values of arrays. Nothing that arrives is ever executed.

    length of header | header: kind, fields, dtype and shape of each array | values of array 1 | values of array 2 ...

Not `pickle`, which runs what it is sent, nor torch's own, which leaves a file in shared memory for every tensor.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionaug.serving.errors import WireError

LENGTH = struct.Struct(">I")
DTYPES = ("bool", "float32")
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Message:
    """What one side tells the other.

    Args:
        kind: What it is about.
        fields: Numbers, strings, lists.
        arrays: Of one of `DTYPES`.
    """

    kind: str
    fields: Mapping[str, Any]
    arrays: Sequence[np.ndarray] = ()


def encode(kind: str, fields: Mapping[str, Any] | None = None, arrays: Sequence[np.ndarray] = ()) -> bytes:
    """A message as bytes.

    Example:
        >>> decode(encode("render", {"n": 1}, [np.zeros((2, 3), dtype=bool)])).arrays[0].shape
        (2, 3)
    """
    described = [(array.dtype.name, array.shape) for array in arrays]
    header = json.dumps({"kind": kind, "fields": dict(fields or {}), "arrays": described}).encode()
    return b"".join((LENGTH.pack(len(header)), header, *(array.tobytes() for array in arrays)))


def decode(message: bytes) -> Message:
    """Inverse of `encode`; the arrays may be written to.

    Raises:
        WireError: These bytes are no message.
    """
    try:
        (length,) = LENGTH.unpack_from(message)
        start = LENGTH.size + length
        header = json.loads(message[LENGTH.size : start])
        described = [(str(dtype), tuple(int(n) for n in shape)) for dtype, shape in header["arrays"]]
        return Message(str(header["kind"]), dict(header["fields"]), _arrays(message, start, described))
    except (struct.error, KeyError, TypeError, ValueError) as error:
        raise WireError(f"Expected a message of lesionaug, got {len(message)} bytes of something else") from error


def _arrays(message: bytes, start: int, described: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[np.ndarray, ...]:
    arrays = []
    for dtype, shape in described:
        if dtype not in DTYPES or min(shape, default=0) < 0:
            raise ValueError(dtype)
        array = np.frombuffer(message, dtype, math.prod(shape), start).reshape(shape).copy()
        arrays.append(array)
        start += array.nbytes
    if start != len(message):
        raise ValueError(start)
    return tuple(arrays)
