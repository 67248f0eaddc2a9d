"""From a trained network to the operator graph of one streaming step.

Batch norm is folded into the convolutions, weights are permuted to channels last, and the GRU is
written out as matrix products. A convolution over several frames sees its state and the new frame
in one window and leaves one frame. Every matrix product is a 1×1 convolution: the fully connected
kernels of LiteRT and TFLM round differently, their convolutions do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import torch

from distill.bottlenecks import Bottleneck, GruBottleneck, TcnBlock, TcnBottleneck
from distill.layers import CausalConv, SubPixelConv
from distill.unet import UNet
from export.step_graph import (
    Activation,
    Concat,
    Constant,
    Conv2d,
    Elementwise,
    Operand,
    Operator,
    Reshape,
    Shape,
    Slice,
    State,
    StepGraph,
    Tensor,
    Transpose,
    Weights,
)
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError


def lower(network: UNet) -> StepGraph:
    """The step graph of a network in evaluation mode.

    States are named as in :meth:`UNet.initial_states`: ``encoder1``, …, then the bottleneck's.
    Raises InputError when a weight is not finite or a layer needs what comes later.
    """
    _check_weights(network)
    _check_streams(network)
    builder = _Builder()
    features = Tensor("features", (1, 1, network.config.bins, FEATURE_CHANNELS))
    value = features
    if network.bands is not None:
        value = _mixed(builder, "bands/entry", features, _array(network.bands.to_bands))
    skips = []
    layers = [cast(CausalConv, layer) for layer in network.encoder]
    for index, layer in enumerate(layers):
        # The output of a layer may be the history of the next one: then it carries its name.
        following = layers[index + 1] if index + 1 < len(layers) else None
        remembered = following is not None and following.kernel[0] == 2
        name = f"encoder{index + 1}_out" if remembered else f"encoder{index}"
        value = _lower_encoder(builder, layer, value, index, name)
        skips.append(value)
    value = _lower_bottleneck(builder, network.bottleneck, value)
    for index, module in enumerate(network.decoder):
        joined = builder.elementwise("add", f"decoder{index}/sum", value, skips.pop())
        value = _lower_decoder(builder, cast(SubPixelConv, module), joined, f"decoder{index}")
    bounded: Literal["tanh", "logistic"] = (
        "tanh" if network.config.mask == "complex" else "logistic"
    )
    if network.bands is None:
        mask = builder.activation(bounded, "mask", value)
    else:
        mask = builder.activation(bounded, "bands/mask", value)
        mask = _mixed(builder, "mask", mask, _array(network.bands.to_bins))
    return StepGraph(
        features,
        mask,
        tuple(builder.states),
        tuple(builder.operators),
        bounded=frozenset(builder.bounded),
    )


@dataclass
class _Builder:
    """Collects operators in execution order; each method returns the tensor it computes."""

    operators: list[Operator] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    bounded: set[str] = field(default_factory=set)

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

    def dilated(self, name: str, window: Tensor, layer: TcnBlock) -> Tensor:
        """The convolution of a block: one frame out of a window as long as its reach."""
        weight, bias = _folded(layer.conv, layer.norm)
        output = Tensor(name, (1, 1, 1, len(weight)))
        self.operators.append(
            Conv2d(output, window, weight, bias, (1, 1), "relu", "valid", (layer.dilation, 1))
        )
        return output

    def concat(self, name: str, *sources: Tensor) -> Tensor:
        _, _, bins, channels = sources[0].shape
        output = Tensor(name, (1, sum(source.shape[1] for source in sources), bins, channels))
        self.operators.append(Concat(output, sources))
        return output

    def elementwise(
        self, kind: Literal["add", "sub", "mul"], name: str, left: Operand, right: Operand
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

    def transpose(self, name: str, source: Tensor) -> Tensor:
        _, time, bins, channels = source.shape
        output = Tensor(name, (1, time, channels, bins))
        self.operators.append(Transpose(output, source))
        return output

    def window(self, name: str, source: Tensor, history: int) -> Tensor:
        """A state's ``history`` frames, then the new one; the state then holds the last ones."""
        _, _, bins, channels = source.shape
        past = Tensor(f"{name}_in", (1, history, bins, channels))
        joined = self.concat(f"{name}/window", past, source)
        following = source
        if history > 1:
            following = Tensor(f"{name}_out", past.shape)
            self.operators.append(Slice(following, joined, (0, 1, 0, 0)))
        self.states.append(State(name, past, following))
        return joined


def _mixed(builder: _Builder, name: str, source: Tensor, matrix: Weights) -> Tensor:
    """``[1, 1, in, channels]`` times ``[out, in]`` along frequency: a 1×1 convolution that takes
    frequencies for channels."""
    turned = builder.transpose(f"{name}/turned", source)
    bias = np.zeros(len(matrix), np.float32)
    mixed = builder.conv(f"{name}/mixed", turned, _pointwise(matrix), bias)
    return builder.transpose(name, mixed)


def _lower_encoder(
    builder: _Builder, layer: CausalConv, source: Tensor, index: int, name: str
) -> Tensor:
    history = layer.kernel[0] - 1
    weight, bias = _folded(layer.conv, layer.norm)
    if not history:
        return builder.conv(name, source, weight, bias, (1, layer.stride), "relu")
    window = builder.window(f"encoder{index}", source, history)
    # A stride as long as the window leaves one frame and needs no padding along time.
    return builder.conv(name, window, weight, bias, (layer.kernel[0], layer.stride), "relu")


def _lower_bottleneck(builder: _Builder, bottleneck: Bottleneck, source: Tensor) -> Tensor:
    width = source.shape[2] * source.shape[3]
    match bottleneck:
        case GruBottleneck():
            name = "gru"
            entry = builder.reshape("gru/entry", source, (1, 1, 1, width))
            latent = _lower_gru(builder, bottleneck, entry)
        case TcnBottleneck():
            name = "tcn"
            entry = builder.reshape("tcn/entry", source, (1, 1, 1, width))
            latent = _lower_tcn(builder, bottleneck, entry)
        case _:
            raise InputError(
                "The layer bottleneck (bigru) hears the whole recording and cannot stream.",
                hint="Export a student with `bottleneck: gru` or `tcn`.",
            )
    wide = _linear(builder, f"{name}/expand", latent, bottleneck.expand)
    return builder.reshape(f"{name}/exit", wide, (1, 1, bottleneck.bins, bottleneck.channels))


def _lower_tcn(builder: _Builder, bottleneck: TcnBottleneck, entry: Tensor) -> Tensor:
    value = _linear(builder, "tcn/enter", entry, bottleneck.enter)
    for index, module in enumerate(bottleneck.blocks):
        block = cast(TcnBlock, module)
        window = builder.window(f"tcn{index}", value, block.history)
        change = builder.dilated(f"tcn{index}/change", window, block)
        value = builder.elementwise("add", f"tcn{index}/sum", value, change)
    return value


def _linear(builder: _Builder, name: str, source: Tensor, layer: torch.nn.Linear) -> Tensor:
    return builder.conv(name, source, _pointwise(_array(layer.weight)), _array(layer.bias))


def _lower_gru(builder: _Builder, bottleneck: GruBottleneck, entry: Tensor) -> Tensor:
    """The equations of :class:`GruBottleneck`, one 1×1 convolution per matrix."""
    hidden, gru = bottleneck.hidden, bottleneck.gru
    past = Tensor("gru_in", (1, 1, 1, hidden))
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
    # z ⊙ h + (1 − z) ⊙ n rather than n + z ⊙ (h − n): the difference h − n needs twice the range,
    # and so twice the step, of the values within ±1 that it is made of.
    ones = Constant("gru/one", np.ones(past.shape, np.float32))
    rest = builder.elementwise("sub", "gru/rest", ones, update)
    carried = builder.elementwise("mul", "gru/carried", update, past)
    taken = builder.elementwise("mul", "gru/taken", rest, candidate)
    latent = builder.elementwise("add", "gru_out", carried, taken)
    builder.states.append(State("gru", past, latent))
    # A mean of values within ±1, from zero on.
    builder.bounded |= {past.name, carried.name, taken.name, latent.name}
    return latent


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
    if network.config.look_ahead:
        raise InputError(
            f"The layer bottleneck looks {network.config.look_ahead} frames ahead; "
            "only causal networks can be exported.",
            hint="Keep look-ahead for teachers: train the student with `look_ahead: 0`.",
        )
