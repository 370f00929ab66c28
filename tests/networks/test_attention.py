import pytest
import torch

from lesionaug.networks.attention import (
    AlongFrames,
    Attention,
    ChannelNorm,
    LinearAttention,
    RelativeBias,
    Rotary,
    WithinFrame,
    bucket,
)


def test_rotary_keeps_lengths():
    x = torch.randn(2, 3, 7, 32)
    torch.testing.assert_close(Rotary()(x).norm(dim=-1), x.norm(dim=-1))


def test_rotary_products_depend_on_distance_alone():
    q, k = torch.randn(2, 32)
    turned_q, turned_k = (Rotary()(x.expand(1, 1, 9, 32))[0, 0] for x in (q, k))
    products = turned_q @ turned_k.T
    for offset in range(-8, 9):
        diagonal = products.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)


def test_buckets_are_exact_near_and_grow_far_and_tell_the_sign():
    offsets = torch.arange(0, 200)
    later, earlier = bucket(offsets), bucket(-offsets)
    assert earlier[:8].tolist() == list(range(8))
    assert later[0] == 0
    assert (later[1:] - earlier[1:] == 16).all()
    assert (earlier.diff() >= 0).all()
    assert earlier.max() == 15


def test_bias_is_one_number_per_offset():
    bias = RelativeBias()(12)
    for offset in range(-11, 12):
        diagonal = bias.diagonal(offset, dim1=1, dim2=2)
        assert (diagonal == diagonal[:, :1]).all()


def test_channel_norm_standardises_each_voxel():
    normed = ChannelNorm(16)(5 + 3 * torch.randn(2, 16, 2, 3, 3))
    torch.testing.assert_close(normed.mean(dim=1), torch.zeros(2, 2, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(normed.var(dim=1, unbiased=False), torch.ones(2, 2, 3, 3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("attention", [WithinFrame(Attention(8, rotary=False)), LinearAttention(8)])
def test_spatial_attention_keeps_frames_apart(attention):
    x = torch.randn(1, 8, 4, 3, 3)
    changed = x.clone()
    changed[:, :, 2] += 1
    touched = (attention(x) - attention(changed)).abs().amax(dim=(0, 1, 3, 4)) > 1e-5
    assert touched.tolist() == [False, False, True, False]


def test_temporal_attention_keeps_positions_apart():
    attention, bias = AlongFrames(Attention(8, rotary=True)), RelativeBias()(4)
    x = torch.randn(1, 8, 4, 3, 3)
    changed = x.clone()
    changed[..., 1, 2] += 1
    touched = (attention(x, bias) - attention(changed, bias)).abs().amax(dim=(0, 1, 2)) > 1e-5
    assert touched.nonzero().tolist() == [[1, 2]]
