"""Scans that differ have different fingerprints, however they lie in memory."""

import pytest
import torch

from lesionaug.fingerprint import WIDTHS, fingerprint

WORDS = 4  # int16 values in a word


def volume(dtype=torch.float32, shape=(1, 23, 19, 31)):
    values = 100 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return values.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int16, torch.uint8])
@pytest.mark.parametrize("index", [0, 1, 6_000, 23 * 19 * 31 - 1])
def test_one_bit_of_one_voxel_is_enough(dtype, index):
    one = volume(dtype)
    other = one.clone()
    other.view(-1).view(torch.uint8)[index * one.element_size()] ^= 1
    assert fingerprint(one) != fingerprint(other)


CHANGES = {
    "flip": lambda x: x.flip(1),
    "flip of another axis": lambda x: x.flip(3),
    "axes swapped": lambda x: x.transpose(1, 3).reshape(x.shape),
    "roll": lambda x: x.roll(1, 2),
    "rescaled": lambda x: 2 * x,
    "shifted": lambda x: x + 1e-3,
    "shape": lambda x: x.reshape(1, 19, 23, 31),
    "type": lambda x: x.double(),
    "noise": lambda x: x + 1e-4 * torch.rand(x.shape),
    "two voxels swapped": lambda x: swapped(x, 0, 5),
    "two voxels of one column swapped": lambda x: swapped(x, 1, 1 + 2 * WIDTHS[0]),
    "two voxels of the other column swapped": lambda x: swapped(x, 1, 1 + 2 * WIDTHS[1]),
}


def swapped(values, one, other):
    result = values.clone()
    flat = result.view(-1)
    flat[[one, other]] = flat[[other, one]]
    return result


@pytest.mark.parametrize("change", CHANGES)
def test_other_scans_have_other_fingerprints(change):
    assert fingerprint(CHANGES[change](volume())) != fingerprint(volume())


def test_the_place_in_memory_does_not_matter():
    values = volume()
    turned = values.transpose(1, 3).contiguous().transpose(1, 3)
    padded = torch.zeros(1, 23, 19, 40)
    padded[..., 3:34] = values
    assert {fingerprint(x) for x in (values, values.clone(), turned, padded[..., 3:34])} == {fingerprint(values)}


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (1, 1, 1, 7)])
def test_small_volumes_have_one_too(shape):
    values = torch.arange(torch.Size(shape).numel(), dtype=torch.uint8).reshape(shape)
    assert fingerprint(values) != fingerprint(torch.cat([values.view(-1), values.new_tensor([1])]))
