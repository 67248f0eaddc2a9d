"""Which function translates which operator of torch, by aten's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from export.importing import convolution, elementwise, moving, recurrent, upsampling

Translate = Callable[..., Any]

_ELEMENTWISE: dict[str, Translate] = {
    "add": elementwise.add,
    "sub": elementwise.sub,
    "rsub": elementwise.rsub,
    "mul": elementwise.mul,
    "div": elementwise.div,
    "neg": elementwise.neg,
    "negative": elementwise.neg,
    "multiply": elementwise.mul,
    "subtract": elementwise.sub,
    "divide": elementwise.div,
    "true_divide": elementwise.div,
    "absolute": elementwise.abs_,
    "square": elementwise.square,
    "pow": elementwise.pow_,
    "lerp": elementwise.lerp,
    "addcmul": elementwise.addcmul,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "abs": elementwise.abs_,
    "relu": elementwise.relu,
    "relu6": elementwise.relu6,
    "leaky_relu": elementwise.leaky_relu,
    "prelu": elementwise.prelu,
    "sigmoid": elementwise.sigmoid,
    "tanh": elementwise.tanh,
    "hardtanh": elementwise.hardtanh,
    "clamp": elementwise.clamp,
    "clip": elementwise.clamp,
    "clamp_min": elementwise.clamp_min,
    "clamp_max": elementwise.clamp_max,
    "hardsigmoid": elementwise.hardsigmoid,
    "hardswish": elementwise.hardswish,
    "silu": elementwise.silu,
    "gelu": elementwise.gelu,
    "glu": elementwise.glu,
    "mean": elementwise.mean,
    "adaptive_avg_pool1d": elementwise.adaptive_avg_pool,
    "adaptive_avg_pool2d": elementwise.adaptive_avg_pool,
    "sum": elementwise.sum_,
}

_WEIGHTED: dict[str, Translate] = {
    "conv1d": convolution.conv1d,
    "conv2d": convolution.conv2d,
    "conv_transpose1d": upsampling.conv_transpose1d,
    "conv_transpose2d": upsampling.conv_transpose2d,
    "linear": convolution.linear,
    "addmm": convolution.addmm,
    "mm": convolution.matmul,
    "matmul": convolution.matmul,
    "batch_norm": convolution.batch_norm,
    "avg_pool1d": convolution.avg_pool1d,
    "avg_pool2d": convolution.avg_pool2d,
    "im2col": convolution.im2col,
    "gru": recurrent.gru,
    "lstm": recurrent.lstm,
    "rnn_tanh": recurrent.rnn_tanh,
    "gru_cell": recurrent.gru_cell,
    "lstm_cell": recurrent.lstm_cell,
    "rnn_tanh_cell": recurrent.rnn_tanh_cell,
}

_MOVING: dict[str, Translate] = {
    "view": moving.reshape,
    "reshape": moving.reshape,
    "view_as": moving.view_as,
    "flatten": moving.flatten,
    "unflatten": moving.unflatten,
    "permute": moving.permute,
    "transpose": moving.transpose,
    "swapaxes": moving.transpose,
    "movedim": moving.movedim,
    "t": moving.t,
    "numpy_T": moving.t,
    "mT": moving.matrix_transpose,
    "swapdims": moving.transpose,
    "unsqueeze": moving.unsqueeze,
    "squeeze": moving.squeeze,
    "expand": moving.expand,
    "expand_as": moving.expand_as,
    "repeat": moving.repeat,
    "cat": moving.cat,
    "concat": moving.cat,
    "concatenate": moving.cat,
    "stack": moving.stack,
    "slice": moving.slice_,
    "narrow": moving.narrow,
    "select": moving.select,
    "split": moving.split,
    "split_with_sizes": moving.split_with_sizes,
    "chunk": moving.chunk,
    "unbind": moving.unbind,
    "unfold": moving.unfold,
    "dropout": moving.dropout,
    "feature_dropout": moving.dropout,
    "pad": moving.pad,
    "constant_pad_nd": moving.pad_constant,
    "pixel_shuffle": upsampling.pixel_shuffle,
    "upsample_nearest1d": upsampling.upsample_nearest,
    "upsample_nearest2d": upsampling.upsample_nearest,
    "repeat_interleave": upsampling.repeat_interleave,
}

_UNCHANGED = (
    "alias",
    "clone",
    "contiguous",
    "detach",
    "lift_fresh_copy",
    "to",
    "_to_copy",
)

TRANSLATIONS: dict[str, Translate] = {
    **_ELEMENTWISE,
    **_WEIGHTED,
    **_MOVING,
    **dict.fromkeys(_UNCHANGED, moving.same),
}
"""The operators that are covered."""
