"""From a trained network to the operator graph of one streaming step.

Batch norm is folded into the convolutions, weights are permuted to channels last, and the GRU is
written out as matrix products. Every matrix product is a 1×1 convolution: the fully connected
kernels of LiteRT and TFLM round differently, their convolutions do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import torch

from distill.bottlenecks import GruBottleneck
from distill.layers import CausalConv, SubPixelConv
from distill.unet import UNet
from export.step_graph import (
    Activation,
    Concat,
    Conv2d,
    Elementwise,
    Operator,
    Reshape,
    Shape,
    State,
    StepGraph,
    Tensor,
    Weights,
)
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError


def lower(network: UNet) -> StepGraph:
    """The step graph of a network in evaluation mode.

    States are named as in :meth:`UNet.initial_states`: ``encoder1``, …, then ``gru``.
    Raises InputError when a weight is not finite or a layer looks back more than one frame.
    """
    _check_weights(network)
    _check_streams(network)
    builder = _Builder()
    features = Tensor("features", (1, 1, network.config.bins, FEATURE_CHANNELS))
    value, skips = features, []
    layers = [cast(CausalConv, layer) for layer in network.encoder]
    for index, layer in enumerate(layers):
        # The output of a layer is the history of the next one: it carries the name of that state.
        following = layers[index + 1] if index + 1 < len(layers) else None
        remembered = following is not None and following.kernel[0] > 1
        name = f"encoder{index + 1}_out" if remembered else f"encoder{index}"
        value = _lower_encoder(builder, layer, value, index, name)
        skips.append(value)
    value = _lower_gru(builder, cast(GruBottleneck, network.bottleneck), value)
    for index, module in enumerate(network.decoder):
        joined = builder.elementwise("add", f"decoder{index}/sum", value, skips.pop())
        value = _lower_decoder(builder, cast(SubPixelConv, module), joined, f"decoder{index}")
    mask = builder.activation("tanh", "mask", value)
    return StepGraph(features, mask, tuple(builder.states), tuple(builder.operators))


@dataclass
class _Builder:
    """Collects operators in execution order; each method returns the tensor it computes."""

    operators: list[Operator] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    def conv(
        self,
        name: str,
        source: Tensor,
        weight: Weights,
        bias: Weights,
        stride: tuple[int, int] = (1, 1),
        activation: Literal["none", "relu"] = "none",
    ) -> Tensor:
        _, time, bins, _ = source.shape
        shape = (1, -(-time // stride[0]), -(-bins // stride[1]), len(weight))
        output = Tensor(name, shape)
        self.operators.append(Conv2d(output, source, weight, bias, stride, activation))
        return output

    def concat(self, name: str, *sources: Tensor) -> Tensor:
        _, _, bins, channels = sources[0].shape
        output = Tensor(name, (1, sum(source.shape[1] for source in sources), bins, channels))
        self.operators.append(Concat(output, sources))
        return output

    def elementwise(
        self, kind: Literal["add", "sub", "mul"], name: str, left: Tensor, right: Tensor
    ) -> Tensor:
        output = Tensor(name, left.shape)
        self.operators.append(Elementwise(kind, output, left, right))
        return output

    def activation(self, kind: Literal["logistic", "tanh"], name: str, source: Tensor) -> Tensor:
        output = Tensor(name, source.shape)
        self.operators.append(Activation(kind, output, source))
        return output

    def reshape(self, name: str, source: Tensor, shape: Shape) -> Tensor:
        output = Tensor(name, shape)
        self.operators.append(Reshape(output, source))
        return output


def _lower_encoder(
    builder: _Builder, layer: CausalConv, source: Tensor, index: int, name: str
) -> Tensor:
    history = layer.kernel[0] - 1
    weight, bias = _folded(layer.conv, layer.norm)
    if history > 1:
        raise InputError(
            f"Layer encoder{index} looks back {history} frames; only 0 and 1 can be exported.",
            hint="Train with kernel_time 1 or 2.",
        )
    if not history:
        return builder.conv(name, source, weight, bias, (1, layer.stride), "relu")
    past = Tensor(f"encoder{index}_in", source.shape)
    builder.states.append(State(f"encoder{index}", past, source))
    window = builder.concat(f"encoder{index}/window", past, source)
    # Stride 2 over two frames leaves one frame and needs no padding along time.
    return builder.conv(name, window, weight, bias, (layer.kernel[0], layer.stride), "relu")


def _lower_gru(builder: _Builder, bottleneck: GruBottleneck, source: Tensor) -> Tensor:
    """The equations of :class:`GruBottleneck`, one 1×1 convolution per matrix."""
    hidden, gru = bottleneck.hidden, bottleneck.gru
    past = Tensor("gru_in", (1, 1, 1, hidden))
    entry = builder.reshape("gru/entry", source, (1, 1, 1, source.shape[2] * source.shape[3]))
    weights = {name: np.split(_array(value), 3) for name, value in gru.named_parameters()}
    from_input, from_state = weights["weight_ih_l0"], weights["weight_hh_l0"]
    input_bias, state_bias = weights["bias_ih_l0"], weights["bias_hh_l0"]

    def gate(name: str, row: int) -> Tensor:
        bias = input_bias[row] + state_bias[row]
        driven = builder.conv(f"gru/{name}/input", entry, _pointwise(from_input[row]), bias)
        recalled = builder.conv(
            f"gru/{name}/state", past, _pointwise(from_state[row]), np.zeros_like(bias)
        )
        total = builder.elementwise("add", f"gru/{name}/sum", driven, recalled)
        return builder.activation("logistic", f"gru/{name}", total)

    reset, update = gate("reset", 0), gate("update", 1)
    # Here the biases stay apart: the reset gate scales the recurrent one with its product.
    driven = builder.conv("gru/new/input", entry, _pointwise(from_input[2]), input_bias[2])
    recalled = builder.conv("gru/new/state", past, _pointwise(from_state[2]), state_bias[2])
    kept = builder.elementwise("mul", "gru/new/kept", reset, recalled)
    total = builder.elementwise("add", "gru/new/sum", driven, kept)
    candidate = builder.activation("tanh", "gru/new", total)
    change = builder.elementwise("sub", "gru/change", past, candidate)
    carried = builder.elementwise("mul", "gru/carried", update, change)
    latent = builder.elementwise("add", "gru_out", candidate, carried)
    builder.states.append(State("gru", past, latent))

    expand = bottleneck.expand
    wide = builder.conv(
        "gru/expand", latent, _pointwise(_array(expand.weight)), _array(expand.bias)
    )
    return builder.reshape("gru/exit", wide, (1, 1, bottleneck.bins, bottleneck.channels))


def _lower_decoder(builder: _Builder, layer: SubPixelConv, source: Tensor, name: str) -> Tensor:
    weight, bias = _folded(layer.conv, layer.norm)
    activation: Literal["none", "relu"] = "none" if layer.last else "relu"
    wide = builder.conv(f"{name}/conv", source, weight, bias, (1, 1), activation)
    shape = (1, 1, source.shape[2] * layer.factor, layer.outputs)
    return builder.reshape(name, wide, shape)


def _folded(conv: torch.nn.Conv2d, norm: torch.nn.Module) -> tuple[Weights, Weights]:
    """Weight ``[out, time, frequency, in]`` and bias ``[out]`` of a convolution and its norm."""
    weight = _array(conv.weight).astype(np.float64)
    bias = np.zeros(len(weight)) if conv.bias is None else _array(conv.bias).astype(np.float64)
    if isinstance(norm, torch.nn.BatchNorm2d):
        mean, variance = cast(torch.Tensor, norm.running_mean), cast(torch.Tensor, norm.running_var)
        gain = _array(norm.weight) / np.sqrt(_array(variance).astype(np.float64) + norm.eps)
        weight = weight * gain[:, None, None, None]
        bias = (bias - _array(mean)) * gain + _array(norm.bias)
    channels_last = np.ascontiguousarray(weight.transpose(0, 2, 3, 1), dtype=np.float32)
    return channels_last, bias.astype(np.float32)


def _pointwise(matrix: Weights) -> Weights:
    """A matrix ``[out, in]`` as the weight of a 1×1 convolution."""
    return np.ascontiguousarray(matrix[:, None, None, :])


def _array(tensor: torch.Tensor) -> Weights:
    array: Weights = tensor.detach().cpu().numpy().astype(np.float32)
    return array


def _check_weights(network: UNet) -> None:
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(
                f"The network's {name} holds NaN or infinity.",
                hint="Training diverged: go back to an earlier checkpoint or lower the rate.",
            )


def _check_streams(network: UNet) -> None:
    config = network.config
    if config.bottleneck == "bigru":
        raise InputError(
            "The layer bottleneck (bigru) hears the whole recording and cannot stream.",
            hint="Export a student with `bottleneck: gru` or `tcn`.",
        )
    if config.look_ahead:
        raise InputError(
            f"The layer bottleneck looks {config.look_ahead} frames ahead; "
            "only causal networks can be exported.",
            hint="Keep look-ahead for teachers: train the student with `look_ahead: 0`.",
        )
