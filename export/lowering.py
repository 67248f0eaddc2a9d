"""From a trained network to the operator graph of one streaming step.

Batch norm is folded into the convolutions, weights are permuted to channels last, and the GRU is
written out as matrix products. A convolution over several frames sees its state and the new frame
in one window and leaves one frame. Every matrix product is a 1×1 convolution: the fully connected
kernels of LiteRT and TFLM round differently, their convolutions do not.
"""

from __future__ import annotations

from typing import Literal, cast

import torch

from distill.layers import CausalConv, SubPixelConv
from distill.unet import UNet
from export.lowering_bottlenecks import lower_bottleneck
from export.lowering_builder import Builder, array_of, folded, mixed
from export.step_graph import StepGraph, Tensor
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError


def lower(network: UNet) -> StepGraph:
    """The step graph of a network in evaluation mode.

    States are named as in :meth:`UNet.initial_states`: ``encoder1``, …, then the bottleneck's.
    Raises InputError when a weight is not finite or a layer needs what comes later.
    """
    _check_weights(network)
    _check_streams(network)
    builder = Builder()
    features = Tensor("features", (1, 1, network.config.bins, FEATURE_CHANNELS))
    value = features
    if network.bands is not None:
        value = mixed(builder, "bands/entry", features, array_of(network.bands.to_bands))
    skips = []
    layers = [cast(CausalConv, layer) for layer in network.encoder]
    for index, layer in enumerate(layers):
        # The output of a layer may be the history of the next one: then it carries its name.
        following = layers[index + 1] if index + 1 < len(layers) else None
        remembered = following is not None and following.kernel[0] == 2
        name = f"encoder{index + 1}_out" if remembered else f"encoder{index}"
        value = _lower_encoder(builder, layer, value, index, name)
        skips.append(value)
    value = lower_bottleneck(builder, network.bottleneck, value)
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
        mask = mixed(builder, "mask", mask, array_of(network.bands.to_bins))
    return StepGraph(
        features,
        mask,
        tuple(builder.states),
        tuple(builder.operators),
        bounded=frozenset(builder.bounded),
    )


def _lower_encoder(
    builder: Builder, layer: CausalConv, source: Tensor, index: int, name: str
) -> Tensor:
    history = layer.kernel[0] - 1
    weight, bias = folded(layer.conv, layer.norm)
    if not history:
        return builder.conv(name, source, weight, bias, (1, layer.stride), "relu")
    window = builder.window(f"encoder{index}", source, history)
    # A stride as long as the window leaves one frame and needs no padding along time.
    return builder.conv(name, window, weight, bias, (layer.kernel[0], layer.stride), "relu")


def _lower_decoder(builder: Builder, layer: SubPixelConv, source: Tensor, name: str) -> Tensor:
    weight, bias = folded(layer.conv, layer.norm)
    activation: Literal["none", "relu"] = "none" if layer.last else "relu"
    wide = builder.conv(f"{name}/conv", source, weight, bias, (1, 1), activation)
    shape = (1, 1, source.shape[2] * layer.factor, layer.outputs)
    return builder.reshape(name, wide, shape)


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
