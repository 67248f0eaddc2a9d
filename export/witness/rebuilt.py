"""A step graph as TensorFlow operators, one for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from export.step_graph import (
    Activation,
    Concat,
    Constant,
    Conv2d,
    Elementwise,
    Mean,
    Operand,
    Operator,
    Pad,
    Prelu,
    Requantize,
    Reshape,
    Slice,
    StepGraph,
    Transpose,
    TransposeConv2d,
    Weights,
)

Values = dict[str, Any]  # symbolic or eager tensors by name


def step_function(graph: StepGraph) -> Callable[[Mapping[str, Any]], Values]:
    """A function of the graph's inputs by name that returns all its tensors by name."""

    def step(inputs: Mapping[str, Any]) -> Values:
        values = dict(inputs)
        for operator in graph.operators:
            values[operator.output.name] = _computed(operator, values)
        return values

    return step


def _computed(operator: Operator, values: Values) -> Any:
    import tensorflow as tf

    match operator:
        case Conv2d():
            return _conv(operator, values[operator.input.name])
        case TransposeConv2d():
            raised = tf.nn.conv2d_transpose(
                values[operator.input.name],
                operator.weight.transpose(1, 2, 0, 3),
                operator.output.shape,
                operator.stride,
                operator.padding.upper(),
            )
            return tf.nn.bias_add(raised, operator.bias)
        case Concat():
            return tf.concat([values[one.name] for one in operator.inputs], operator.axis)
        case Elementwise():
            function = {"add": tf.add, "sub": tf.subtract, "mul": tf.multiply}[operator.kind]
            return function(_operand(operator.left, values), _operand(operator.right, values))
        case Activation():
            return _activation(operator, values[operator.input.name])
        case Prelu():
            source = values[operator.input.name]
            # The form that the converter knows as one operator.
            return tf.nn.relu(source) + -operator.slopes * tf.nn.relu(-source)
        case Mean():
            return tf.reduce_mean(values[operator.input.name], operator.axes, keepdims=True)
        case _:
            return _moved(operator, values[operator.input.name])


def _operand(operand: Operand, values: Values) -> Any:
    return operand.values if isinstance(operand, Constant) else values[operand.name]


def _conv(operator: Conv2d, source: Any) -> Any:
    import tensorflow as tf

    padding = operator.padding.upper()
    if operator.depthwise:
        result = tf.nn.depthwise_conv2d(
            source, _depthwise(operator), (1, *operator.stride, 1), padding, None, operator.dilation
        )
    else:
        weight = operator.weight.transpose(1, 2, 3, 0)
        result = tf.nn.conv2d(source, weight, operator.stride, padding, "NHWC", operator.dilation)
    result = tf.nn.bias_add(result, operator.bias)
    return tf.nn.relu(result) if operator.activation == "relu" else result


def _depthwise(operator: Conv2d) -> Weights:
    """``[time, frequency, in, multiplier]``: the outputs of one channel lie side by side."""
    channels = operator.input.shape[3]
    _, time, bins, _ = operator.weight.shape
    weight: Weights = operator.weight.reshape(channels, -1, time, bins).transpose(2, 3, 0, 1)
    return weight


def _activation(operator: Activation, source: Any) -> Any:
    import tensorflow as tf

    match operator.kind:
        case "logistic":
            return tf.sigmoid(source)
        case "tanh":
            return tf.tanh(source)
        case "relu":
            return tf.nn.relu(source)
        case "leaky_relu":
            return tf.nn.leaky_relu(source, np.float32(operator.slope))


def _moved(operator: Reshape | Transpose | Slice | Pad | Requantize, source: Any) -> Any:
    import tensorflow as tf

    match operator:
        case Reshape():
            return tf.reshape(source, operator.output.shape)
        case Transpose():
            return tf.transpose(source, operator.order)
        case Slice():
            return tf.strided_slice(source, operator.begin, operator.end, operator.strides)
        case Pad():
            return tf.pad(source, list(zip(operator.before, operator.after, strict=True)))
        case Requantize():
            return source
