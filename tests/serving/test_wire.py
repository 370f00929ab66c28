"""What one side sends the other reads, bit by bit; everything else is refused and nothing of it is run."""

import json
import pickle

import numpy as np
import pytest
import torch
from renderers import assert_same_lesions

from lesionaug.serving.errors import WireError
from lesionaug.serving.parcels import rendered_from, rendered_to_bytes, request_from, request_to_bytes
from lesionaug.serving.wire import LENGTH, Message, decode, encode


def test_fields_and_arrays_come_back_as_they_were():
    values = np.array([[0.1, -0.0, np.nan], [np.inf, 1e-45, 3.0]], dtype=np.float32)
    message = decode(encode("kind", {"x": 0.1, "names": ["a"]}, [values, np.zeros((2, 0), bool), values.T]))
    assert (message.kind, message.fields) == ("kind", {"x": 0.1, "names": ["a"]})
    assert message.arrays[0].tobytes() == values.tobytes()
    assert message.arrays[1].shape == (2, 0)
    assert np.array_equal(message.arrays[2], values.T, equal_nan=True)
    assert all(array.flags.writeable for array in message.arrays)


def test_a_request_comes_back_as_it_was(request_of_four):
    found = request_from(decode(request_to_bytes(request_of_four)))
    assert found.channels == request_of_four.channels
    for one, other in zip(found.lesions, request_of_four.lesions, strict=True):
        assert one.spec == other.spec
        for name in ("background", "brain", "allowed"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_rendered_lesions_come_back_as_they_were(here, request_of_four):
    lesions = here(request_of_four)
    assert_same_lesions(rendered_from(decode(rendered_to_bytes(lesions))), lesions)


def header(**fields):
    content = json.dumps({"kind": "render", "fields": {}, "arrays": [], **fields}).encode()
    return LENGTH.pack(len(content)) + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        pickle.dumps(print),
        encode("kind", {}, [np.ones(3, np.float32)])[:-1],
        encode("kind", {}, [np.ones(3, np.float32)]) + b"x",
        LENGTH.pack(2**32 - 1) + b"{}",
        header(arrays=[["object", [1]]]) + b"12345678",
        header(arrays=[["float32", [-1]]]),
        header(arrays=[["float32", [2**62]]]),
        header(arrays="bool"),
        header(fields=3),
        b"\x00\x00\x00\x02[]",
    ],
)
def test_what_is_no_message_is_refused(content):
    with pytest.raises(WireError, match="Expected a message"):
        decode(content)


@pytest.mark.parametrize(
    "message",
    [
        Message("render", {}),
        Message("render", {"specs": [{}], "channels": ["flair"]}),
        Message("render", {"specs": [], "channels": ["flair"]}, [np.zeros((1, 4, 4, 4), np.float32)] * 3),
        Message("render", {"specs": [], "channels": []}, [np.zeros((1, 4, 4, 4), bool)]),
    ],
)
def test_a_message_that_is_no_request_is_refused(message):
    with pytest.raises(WireError, match="Expected a request"):
        request_from(message)
