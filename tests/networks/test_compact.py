"""The compact network computes the same, whichever routine its convolutions are handed to."""

import pytest
import torch
from torch import nn

from lesionaug.networks.compact import Convolution


@pytest.mark.parametrize("size", [8, 16, 24])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_convolution_is_torchs_whatever_computes_it(size, batch):
    torch.manual_seed(0)
    own, torchs = Convolution(5, 24, 3, padding=1), nn.Conv3d(5, 24, 3, padding=1)
    torchs.load_state_dict(own.state_dict())
    x = torch.randn(batch, 5, size, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(own(x), torchs(x), rtol=1e-4, atol=1e-5)


def test_a_patch_gives_the_same_bits_alone_and_in_company():
    own = Convolution(5, 24, 3, padding=1)
    x = torch.randn(3, 5, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(own(x)[1:2], own(x[1:2]))


def test_a_convolution_learns():
    own = Convolution(2, 3, 3, padding=1)
    own(torch.randn(1, 2, 8, 8, 8)).square().mean().backward()
    assert float(own.weight.grad.abs().sum()) > 0
