"""Bugs that were made on the way from a network to a device, planted in small networks.

Each is a network, or a way of running one, that differs from the healthy network in the one thing
that its name says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from distill import layers
from distill.batch_norm import SharedBatchNorm
from distill.layers import CausalConv, SubPixelConv
from distill.unet import UNet, UNetConfig
from export.gates.recurrence import Array, Runner, trace
from export.lowering import lower
from export.step_graph import StepGraph
from export.students import Student, own_student
from runtime.verification.likely import Symptom, symptom
from tests.export.conftest import randomised

CONFIGS = {
    "narrow": UNetConfig(bins=64, widths=(6, 8, 10), hidden=12),
    "wide": UNetConfig(bins=64, widths=(12, 16, 16), hidden=32, kernel_time=3),
}
FRAMES = 20
LIMIT = 1e-4  # of parity

Plant = Callable[[UNet, StepGraph], Runner]


def features(seed: int = 3) -> Array:
    """Frames ``[FRAMES, 64, 3]``: compressed magnitudes lie between 0 and 2, parts around 0."""
    return np.random.default_rng(seed).normal(0.3, 0.6, (FRAMES, 64, 3)).astype(np.float32)


def planted(plant: Plant, config: UNetConfig, seed: int = 0) -> Symptom | None:
    """What a bug does to the outputs of a network, from a fresh start."""
    graph, one = _healthy(config, seed)
    with torch.no_grad():
        other = trace(plant(randomised(config, seed), graph), features(), _zeros(graph))
    return symptom(one, other, [tensor.name for tensor in graph.outputs], LIMIT)


@lru_cache
def _healthy(config: UNetConfig, seed: int) -> tuple[StepGraph, list[Array]]:
    network = randomised(config, seed)
    graph = lower(network)
    return graph, trace(own_student(network), features(), _zeros(graph))


def _zeros(graph: StepGraph) -> list[Array]:
    return [np.zeros(state.input.shape, np.float32) for state in graph.states]


# --- in the weights -------------------------------------------------------------------------------


def _norms(network: UNet) -> list[SharedBatchNorm]:
    return [one for one in network.modules() if isinstance(one, SharedBatchNorm)]


def epsilon(network: UNet, graph: StepGraph) -> Runner:
    for norm in _norms(network):
        norm.eps = 1e-3
    return own_student(network)


def half_precision(network: UNet, graph: StepGraph) -> Runner:
    return own_student(network.half().float())


def norm_left_out(place: int) -> Plant:
    def plant(network: UNet, graph: StepGraph) -> Runner:
        norm = _norms(network)[place]
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
        cast(Tensor, norm.running_mean).zero_()
        cast(Tensor, norm.running_var).fill_(1.0)
        return own_student(network)

    return plant


def norm_without_variance(network: UNet, graph: StepGraph) -> Runner:
    """Folded with the variance where its root belongs."""
    for norm in _norms(network)[:1]:
        variance = cast(Tensor, norm.running_var)
        variance.square_()
    return own_student(network)


def _gru(network: UNet) -> nn.GRU:
    return cast(nn.GRU, network.bottleneck.gru)


def reset_before_product(network: UNet, graph: StepGraph) -> Runner:
    """The recurrent bias of the candidate outside the reset gate."""
    gru = _gru(network)
    hidden = gru.hidden_size
    outside, inside = (gru.get_parameter(f"bias_{way}_l0") for way in ("ih", "hh"))
    outside[2 * hidden :] += inside[2 * hidden :]
    inside[2 * hidden :] = 0.0
    return own_student(network)


def gate_order(network: UNet, graph: StepGraph) -> Runner:
    for weight in _gru(network).parameters():
        reset, update, candidate = weight.chunk(3)
        weight.copy_(torch.cat((update, reset, candidate)))
    return own_student(network)


def gate_sense(network: UNet, graph: StepGraph) -> Runner:
    """h' = z · n + (1 − z) · h instead of the other way round."""
    hidden = _gru(network).hidden_size
    for weight in _gru(network).parameters():
        weight[hidden : 2 * hidden] *= -1.0
    return own_student(network)


def recurrent_bias_lost(network: UNet, graph: StepGraph) -> Runner:
    _gru(network).get_parameter("bias_hh_l0").zero_()
    return own_student(network)


def flattened_channels_first(network: UNet, graph: StepGraph) -> Runner:
    """The deepest frame read as [channels, bins] by weights made for [bins, channels]."""
    gru = _gru(network)
    channels = network.bottleneck.channels
    weight = gru.get_parameter("weight_ih_l0")
    turned = weight.view(len(weight), -1, channels).transpose(1, 2).reshape(weight.shape)
    weight.copy_(turned.clone())
    return own_student(network)


def kernel_turned(network: UNet, graph: StepGraph) -> Runner:
    """A kernel [out, in, time, frequency] stored as [out, time, frequency, in], not permuted."""
    weight = cast(CausalConv, network.encoder[1]).conv.weight
    weight.copy_(weight.permute(0, 2, 3, 1).reshape(weight.shape).clone())
    return own_student(network)


def sub_pixel_order(network: UNet, graph: StepGraph) -> Runner:
    """Channel c · factor + j becomes channel c of bin j, as PixelShuffle has it."""
    layer = cast(SubPixelConv, network.decoder[-1])
    weight, bias = layer.conv.weight, cast(Tensor, layer.conv.bias)
    order = torch.arange(len(weight)).view(layer.factor, layer.outputs).T.reshape(-1)
    weight.copy_(weight[order].clone())
    bias.copy_(bias[order].clone())
    return own_student(network)


def features_in_another_order(network: UNet, graph: StepGraph) -> Runner:
    """Real and imaginary part exchanged."""
    weight = cast(CausalConv, network.encoder[0]).conv.weight
    weight.copy_(weight[:, [0, 2, 1]].clone())
    return own_student(network)


# --- in the operators -----------------------------------------------------------------------------


class _Patched:
    """Runs a network while a function of a module is another one."""

    def __init__(self, step: Student, module: Any, name: str, function: Any) -> None:
        self._step, self._module, self._name, self._function = step, module, name, function

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        original = getattr(self._module, self._name)
        setattr(self._module, self._name, self._function)
        try:
            return self._step.run(inputs)
        finally:
            setattr(self._module, self._name, original)


def padding_side(network: UNet, graph: StepGraph) -> Runner:
    right = layers.same_padding
    return _Patched(
        own_student(network),
        layers,
        "same_padding",
        lambda kernel, stride: right(kernel, stride)[::-1],
    )


def sigmoid_for_tanh(network: UNet, graph: StepGraph) -> Runner:
    return _Patched(own_student(network), torch, "tanh", torch.sigmoid)


def rectifier_lost(network: UNet, graph: StepGraph) -> Runner:
    return _Patched(own_student(network), torch.nn.functional, "relu", lambda value: value)


# --- in the states --------------------------------------------------------------------------------


class _Carried:
    """Runs a network with its states changed on the way from one step to the next."""

    def __init__(
        self, step: Student, change: Callable[[list[Array], list[Array]], list[Array]]
    ) -> None:
        self._step, self._change = step, change
        self._before: list[Array] = []

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        outputs = self._step.run(inputs)
        before = self._before or [np.zeros_like(one) for one in outputs[1:]]
        self._before = outputs[1:]
        return [outputs[0], *self._change(outputs[1:], before)]


def state_lost(place: int) -> Plant:
    def change(now: list[Array], before: list[Array]) -> list[Array]:
        return [0 * one if n == place % len(now) else one for n, one in enumerate(now)]

    return lambda network, graph: _Carried(own_student(network), change)


def state_late(network: UNet, graph: StepGraph) -> Runner:
    """Each step gets the states of the step before the last."""
    return _Carried(own_student(network), lambda now, before: before)


def state_half(network: UNet, graph: StepGraph) -> Runner:
    """States kept in half precision."""
    return _Carried(
        own_student(network),
        lambda now, before: [one.astype(np.float16).astype(np.float32) for one in now],
    )


def state_reversed(network: UNet, graph: StepGraph) -> Runner:
    """A state read backwards: what swapping two of the same size comes to."""
    return _Carried(
        own_student(network), lambda now, before: [one[..., ::-1].copy() for one in now]
    )


BUGS: dict[str, Plant] = {
    "epsilon": epsilon,
    "half precision": half_precision,
    "first norm left out": norm_left_out(0),
    "second norm left out": norm_left_out(1),
    "last norm left out": norm_left_out(-1),
    "norm by variance": norm_without_variance,
    "reset before product": reset_before_product,
    "gate order": gate_order,
    "gate sense": gate_sense,
    "recurrent bias lost": recurrent_bias_lost,
    "flattened channels first": flattened_channels_first,
    "kernel turned": kernel_turned,
    "sub-pixel order": sub_pixel_order,
    "features in another order": features_in_another_order,
    "padding side": padding_side,
    "sigmoid for tanh": sigmoid_for_tanh,
    "rectifier lost": rectifier_lost,
    "first state lost": state_lost(0),
    "gru lost": state_lost(-1),
    "state late": state_late,
    "state in half precision": state_half,
    "state reversed": state_reversed,
}
