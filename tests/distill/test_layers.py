"""Streaming layers: padding, unfolding, states."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.layers import CausalConv, SubPixelConv, same_padding


@given(kernel=st.integers(1, 9), stride=st.integers(1, 4), steps=st.integers(1, 20))
def test_same_padding_yields_one_output_per_stride(kernel: int, stride: int, steps: int) -> None:
    before, after = same_padding(kernel, stride)
    padded = steps * stride + before + after
    if kernel >= stride:
        assert (padded - kernel) // stride + 1 == steps
    assert 0 <= after - before <= 1


def test_sub_pixel_unfolds_channels_last() -> None:
    layer = SubPixelConv(1, 2, 1, 2, last=True)
    assert layer.conv.bias is not None
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1))
        layer.conv.bias.zero_()
        out = layer(torch.tensor([[[[1.0, 10.0]]]]))
    assert out[0, 0, 0].tolist() == [1.0, 3.0, 10.0, 30.0]
    assert out[0, 1, 0].tolist() == [2.0, 4.0, 20.0, 40.0]


def test_memoryless_layers_have_no_state() -> None:
    assert CausalConv(3, 4, (1, 8), 4, 64).initial_state(2) is None
