"""Every operator of the step graph alone: numpy, LiteRT in float32, TFLM and LiteRT in integers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.calibration import Calibration
from export.executor import StepExecutor
from export.precision import wide_everywhere
from export.quantization import quantize_graph
from export.step_graph import (
    Activation,
    Concat,
    Constant,
    Conv2d,
    Elementwise,
    Mean,
    Operator,
    Pad,
    Prelu,
    Reshape,
    Shape,
    Slice,
    StepGraph,
    Tensor,
    Transpose,
    TransposeConv2d,
)
from export.tflite import write_float, write_quantized
from runtime.engines import engine_from_bytes

needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for x86-64 Linux only"
)

Array = npt.NDArray[np.float32]
Draw = st.DrawFn
Make = Callable[[Draw, Tensor, np.random.Generator], Operator]
STREAMS = 24
LIMITS = {"int8": (-128, 127), "int16": (-32767, 32767)}


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


def _sizes(draw: Draw) -> tuple[int, int, int]:
    """Time, frequency and channels."""
    return (
        draw(st.integers(1, 5)),
        draw(st.integers(1, 9)),
        draw(st.sampled_from([1, 2, 3, 4, 6, 8])),
    )


def _output(time: int, bins: int, channels: int) -> Tensor:
    return Tensor("mask", (1, time, bins, channels))


def _conv(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    """Any groups, strides, dilations and either padding; depthwise as one of its cases."""
    _, time, bins, channels = source.shape
    divisors = [count for count in range(1, channels + 1) if channels % count == 0]
    groups = draw(st.sampled_from(divisors))
    outputs = groups * draw(st.integers(1, 3))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    padding: Literal["same", "valid"] = draw(st.sampled_from(["same", "valid"]))
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 4))]
    if padding == "valid":
        kernel = [
            min(size, (length - 1) // spread + 1)
            for size, length, spread in zip(kernel, (time, bins), dilation, strict=True)
        ]
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    reach = [spread * (size - 1) for spread, size in zip(dilation, kernel, strict=True)]
    lengths = [
        -(-(length - (reached if padding == "valid" else 0)) // step)
        for length, reached, step in zip((time, bins), reach, stride, strict=True)
    ]
    weight = _weights(rng, outputs, *kernel, channels // groups)
    fused: Literal["none", "relu"] = draw(st.sampled_from(["none", "relu"]))
    output = _output(lengths[0], lengths[1], outputs)
    bias = _weights(rng, outputs)
    return Conv2d(output, source, weight, bias, stride, fused, padding, dilation)


def _transpose_conv(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    """The whole of VALID, some zeros more, or SAME."""
    _, time, bins, channels = source.shape
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding: Literal["same", "valid"] = draw(st.sampled_from(["same", "valid"]))
    if padding == "same":
        length = bins * stride - draw(st.integers(0, min(stride - 1, bins * stride - 1)))
    else:
        length = (bins - 1) * stride + kernel + draw(st.integers(0, stride - 1))
    outputs = draw(st.integers(1, 5))
    weight = _weights(rng, outputs, 1, kernel, channels)
    bias = _weights(rng, outputs)
    return TransposeConv2d(
        _output(time, length, outputs), source, weight, bias, (1, stride), padding
    )


def _elementwise(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    """With itself, or with a constant broadcast along any axes, on either side."""
    kind: Literal["add", "sub", "mul"] = draw(st.sampled_from(["add", "sub", "mul"]))
    output = Tensor("mask", source.shape)
    if draw(st.booleans()):
        return Elementwise(kind, output, source, source)
    shape = tuple(size if draw(st.booleans()) else 1 for size in source.shape)
    constant = Constant("constant", _weights(rng, *shape))
    if draw(st.booleans()):
        return Elementwise(kind, output, constant, source)
    return Elementwise(kind, output, source, constant)


def _activation(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    kind: Literal["logistic", "tanh", "relu", "leaky_relu"] = draw(
        st.sampled_from(["logistic", "tanh", "relu", "leaky_relu"])
    )
    slope = draw(st.sampled_from([-1.0, -0.3, 0.01, 0.25, 1.5]))
    return Activation(kind, Tensor("mask", source.shape), source, slope)


def _prelu(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    slopes = rng.uniform(-0.5, 1.2, source.shape[3]).astype(np.float32)
    return Prelu(Tensor("mask", source.shape), source, slopes)


def _mean(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    axes = tuple(draw(st.sets(st.integers(1, 3), min_size=1)))
    sizes = [1 if axis in axes else size for axis, size in enumerate(source.shape)]
    return Mean(_output(*sizes[1:]), source, axes)


def _concat(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    axis, count = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    sizes = [size * (count if axis == k else 1) for k, size in enumerate(source.shape)]
    return Concat(_output(*sizes[1:]), (source,) * count, axis)


def _reshape(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    _, time, bins, channels = source.shape
    shapes = [(1, time * bins, channels), (bins, channels, time), (1, 1, time * bins * channels)]
    return Reshape(_output(*draw(st.sampled_from(shapes))), source)


def _transpose(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    one, two, three = draw(st.permutations([1, 2, 3]))
    output = _output(source.shape[one], source.shape[two], source.shape[three])
    return Transpose(output, source, (0, one, two, three))


def _slice(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    begins, sizes, strides = [0], [1], [1]
    for length in source.shape[1:]:
        begins.append(draw(st.integers(0, length - 1)))
        strides.append(draw(st.integers(1, 3)))
        most = (length - 1 - begins[-1]) // strides[-1] + 1
        sizes.append(draw(st.integers(1, most)))
    return Slice(_output(*sizes[1:]), source, _shape(begins), _shape(strides))


def _pad(draw: Draw, source: Tensor, rng: np.random.Generator) -> Operator:
    before, after = ([0, *(draw(st.integers(0, 2)) for _ in range(3))] for _ in range(2))
    sizes = [sum(three) for three in zip(before, source.shape, after, strict=True)]
    return Pad(_output(*sizes[1:]), source, _shape(before), _shape(after))


def _shape(sizes: list[int]) -> Shape:
    first, time, bins, channels = sizes
    return first, time, bins, channels


OPERATORS: dict[str, Make] = {
    "convolution": _conv,
    "transposed convolution": _transpose_conv,
    "elementwise": _elementwise,
    "activation": _activation,
    "prelu": _prelu,
    "mean": _mean,
    "concat": _concat,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
}


@st.composite
def graphs(draw: Draw, make: Make) -> tuple[StepGraph, int]:
    """A graph of one operator from ``features`` to ``mask``, and a seed for its values."""
    seed = draw(st.integers(0, 2**32 - 1))
    source = Tensor("features", (1, *_sizes(draw)))
    operator = make(draw, source, np.random.default_rng(seed))
    return StepGraph(source, operator.output, (), (operator,)), seed


def _values(graph: StepGraph, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    loudness = 10.0 ** rng.uniform(-1.5, 1.5)
    values = loudness * rng.normal(rng.uniform(-1, 1), 1.0, (STREAMS, *graph.features.shape[1:]))
    return values.astype(np.float32)


def _calibration(graph: StepGraph, values: Array) -> Calibration:
    found = StepExecutor(graph).tensors([values])
    ranges = {name: (float(one.min()), float(one.max())) for name, one in found.items()}
    return Calibration(ranges=ranges, frames=len(values), sha256="")


every_operator = pytest.mark.parametrize("name", list(OPERATORS))
few = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=80)


@every_operator
@few
@given(data=st.data())
def test_numpy_and_litert_compute_the_same(name: str, data: st.DataObject) -> None:
    graph, seed = data.draw(graphs(OPERATORS[name]))
    values = _values(graph, seed)
    expected = StepExecutor(graph).run([values])[0]
    for kind in ("litert", "litert-reference"):
        engine = engine_from_bytes(kind, write_float(graph))
        found = np.concatenate([engine.run([frame[None]])[0] for frame in values])
        assert found.shape == expected.shape
        limit = 1e-5 * max(float(np.abs(expected).max()), float(np.abs(values).max()), 1.0)
        np.testing.assert_allclose(found, expected, atol=limit)


def _compare(name: str, width: str, data: st.DataObject) -> None:
    graph, seed = data.draw(graphs(OPERATORS[name]))
    values = _values(graph, seed)
    wide = wide_everywhere(graph) if width == "int16" else ()
    content = write_quantized(quantize_graph(graph, _calibration(graph, values), wide))
    low, high = LIMITS[width]
    drawn = np.random.default_rng(seed).integers(low, high + 1, (STREAMS, *values.shape[1:]))
    reference, controller = (
        engine_from_bytes(kind, content) for kind in ("litert-reference", "tflm")
    )
    for frame in drawn.astype(width):
        left, right = (engine.run([frame[None]])[0] for engine in (reference, controller))
        np.testing.assert_array_equal(left, right)


both_widths = pytest.mark.parametrize("width", ["int8", "int16"])


@needs_tflm
@every_operator
@both_widths
@few
@given(data=st.data())
def test_tflm_and_litert_agree_on_every_value(name: str, width: str, data: st.DataObject) -> None:
    _compare(name, width, data)


@needs_tflm
@pytest.mark.slow
@every_operator
@both_widths
@many
@given(data=st.data())
def test_tflm_and_litert_agree_on_many_shapes(name: str, width: str, data: st.DataObject) -> None:
    _compare(name, width, data)


@every_operator
@both_widths
@few
@given(data=st.data())
def test_integers_come_close_to_what_is_computed_in_float(
    name: str, width: str, data: st.DataObject
) -> None:
    graph, seed = data.draw(graphs(OPERATORS[name]))
    values = _values(graph, seed)
    wide = wide_everywhere(graph) if width == "int16" else ()
    quantized = quantize_graph(graph, _calibration(graph, values), wide)
    engine = engine_from_bytes("litert-reference", write_quantized(quantized))
    entry, leave = (quantized.activations[name] for name in ("features", "mask"))
    low, high = LIMITS[width]
    stored = np.clip(np.rint(values / entry.scale) + entry.zero_point, low, high).astype(width)
    found = np.concatenate([engine.run([frame[None]])[0] for frame in stored])
    real = (found.astype(np.float64) - leave.zero_point) * leave.scale
    heard = ((stored.astype(np.float64) - entry.zero_point) * entry.scale).astype(np.float32)
    expected = StepExecutor(graph).run([heard])[0]
    # Half a step of weights, slopes and constants (1/127 of their range) and two of the result.
    limit = 2.0 * leave.scale + 0.012 * max(float(np.abs(expected).max()), 1e-3)
    if width == "int8" or name in ("convolution", "transposed convolution"):
        limit += 0.02 * float(np.abs(heard).max()) * _gain(graph)
    np.testing.assert_allclose(real, expected, atol=limit)


def _gain(graph: StepGraph) -> float:
    """How many values of the input reach one of the output, weighted."""
    operator = graph.operators[0]
    if isinstance(operator, Conv2d | TransposeConv2d):
        return float(np.abs(operator.weight).reshape(len(operator.weight), -1).sum(axis=1).max())
    return 1.0


def test_a_sum_of_almost_nothing_has_a_scale_that_kernels_take() -> None:
    source = Tensor("features", (1, 1, 4, 3))
    graph = StepGraph(
        source,
        Tensor("mask", source.shape),
        (),
        (Elementwise("sub", Tensor("mask", source.shape), source, source),),
    )
    ranges = {"features": (-30.0, 30.0), "mask": (0.0, 0.0)}
    for wide in ((), wide_everywhere(graph)):
        quantized = quantize_graph(graph, Calibration(ranges, 1, ""), wide)
        engine = engine_from_bytes("litert-reference", write_quantized(quantized))
        width = quantized.activations["features"].precision
        assert not np.any(
            engine.run([np.full(source.shape, 100, width)])[0]
            != quantized.activations["mask"].zero_point
        )
