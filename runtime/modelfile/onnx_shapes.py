"""Shapes of what ONNX operators compute, of the kinds that exports of denoisers are made of.

The rules are those of the operators' pages at onnx.ai, for static shapes alone. A kind that is not
listed has no known shape, which is said and not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Shape = tuple[int, ...]
Shapes = tuple[Shape | None, ...]


class UnknownShape(Exception):
    """The shape does not follow from what is known."""


@dataclass(frozen=True)
class Arguments:
    """What a node is called with: shapes of its inputs (None: unknown or absent), the values of
    those that are small constant integers, its attributes and the number of its outputs."""

    kind: str
    inputs: Shapes
    integers: tuple[tuple[int, ...] | None, ...]
    attributes: Mapping[str, int | tuple[int, ...] | str]
    outputs: int

    def shape(self, place: int = 0) -> Shape:
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise UnknownShape
        return found

    def values(self, place: int, attribute: str = "") -> tuple[int, ...] | None:
        """An operand of integers, which older operator sets have as an attribute."""
        if place < len(self.integers) and self.integers[place] is not None:
            return self.integers[place]
        if place < len(self.inputs) and self.inputs[place] is not None:
            raise UnknownShape  # it is computed
        found = self.attributes.get(attribute)
        return found if isinstance(found, tuple) else None

    def demanded(self, place: int, attribute: str = "") -> tuple[int, ...]:
        found = self.values(place, attribute)
        if found is None:
            raise UnknownShape
        return found

    def number(self, name: str, default: int) -> int:
        found = self.attributes.get(name, default)
        return found if isinstance(found, int) else default

    def numbers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        found = self.attributes.get(name)
        return found if isinstance(found, tuple) and found else default


def output_shapes(arguments: Arguments) -> Shapes:
    """One shape for each output. Raises UnknownShape, or what arithmetic raises on numbers that
    make no sense."""
    if arguments.kind in SAME:
        return (arguments.shape(),)
    rule = RULES.get(arguments.kind)
    if rule is None:
        raise UnknownShape
    shapes = rule(arguments)
    if len(shapes) != arguments.outputs:
        raise UnknownShape
    return shapes


def _spread(arguments: Arguments) -> Shapes:
    """The common shape of all inputs, one spread over the other."""
    shapes = [arguments.shape(place) for place in range(len(arguments.inputs))]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return (tuple(max(sides) for sides in zip(*padded, strict=True)),)


def _windows(arguments: Arguments, size: Shape, kernel: Shape) -> Shape:
    """Sides of what a window gives that moves over ``size``."""
    rank = len(size)
    strides = arguments.numbers("strides", (1,) * rank)
    dilations = arguments.numbers("dilations", (1,) * rank)
    if str(arguments.attributes.get("auto_pad", "NOTSET")).startswith("SAME"):
        return tuple(-(-side // stride) for side, stride in zip(size, strides, strict=True))
    pads = arguments.numbers("pads", (0,) * 2 * rank)
    reaches = [(length - 1) * d + 1 for length, d in zip(kernel, dilations, strict=True)]
    return tuple(
        (side + pads[axis] + pads[axis + rank] - reaches[axis]) // strides[axis] + 1
        for axis, side in enumerate(size)
    )


def _convolution(arguments: Arguments) -> Shapes:
    """Weight ``[out, in / groups, …]``."""
    batch, _, *size = arguments.shape()
    out, _, *kernel = arguments.shape(1)
    return ((batch, out, *_windows(arguments, tuple(size), tuple(kernel))),)


def _transposed_convolution(arguments: Arguments) -> Shapes:
    """Weight ``[in, out / groups, …]``."""
    batch, _, *size = arguments.shape()
    _, out, *kernel = arguments.shape(1)
    rank, channels = len(size), out * arguments.number("group", 1)
    if stated := arguments.numbers("output_shape", ()):
        return ((batch, channels, *stated),)
    if str(arguments.attributes.get("auto_pad", "NOTSET")).startswith("SAME"):
        raise UnknownShape
    strides = arguments.numbers("strides", (1,) * rank)
    dilations = arguments.numbers("dilations", (1,) * rank)
    pads = arguments.numbers("pads", (0,) * 2 * rank)
    more = arguments.numbers("output_padding", (0,) * rank)
    sides = (
        strides[a] * (size[a] - 1) + more[a] + (kernel[a] - 1) * dilations[a] + 1
        - pads[a] - pads[a + rank]
        for a in range(rank)
    )  # fmt: skip
    return ((batch, channels, *sides),)


def _pooling(arguments: Arguments) -> Shapes:
    batch, channels, *size = arguments.shape()
    if arguments.number("ceil_mode", 0):
        raise UnknownShape
    kernel = arguments.numbers("kernel_shape", ())
    return ((batch, channels, *_windows(arguments, tuple(size), kernel)),)


def _global_pooling(arguments: Arguments) -> Shapes:
    batch, channels, *size = arguments.shape()
    return ((batch, channels, *(1 for _ in size)),)


def _gemm(arguments: Arguments) -> Shapes:
    left, right = arguments.shape(), arguments.shape(1)
    rows = left[1] if arguments.number("transA", 0) else left[0]
    columns = right[0] if arguments.number("transB", 0) else right[1]
    return ((rows, columns),)


def _product(arguments: Arguments) -> Shapes:
    """``[…, rows, depth] · […, depth, columns]``; a vector stands for one row or column."""
    left, right = arguments.shape(), arguments.shape(1)
    if len(left) < 2 or len(right) < 2:
        raise UnknownShape
    (batch,) = _spread(Arguments("", (left[:-2], right[:-2]), (), {}, 1))
    return ((*(batch or ()), left[-2], right[-1]),)


def _recurrent(arguments: Arguments) -> Shapes:
    """Outputs: all states ``[time, directions, batch, hidden]``, then the last ones."""
    time, batch, _ = arguments.shape()
    directions, _, hidden = arguments.shape(2)
    last = (directions, batch, hidden)
    return ((time, directions, batch, hidden), last, last)[: arguments.outputs]


def _transpose(arguments: Arguments) -> Shapes:
    shape = arguments.shape()
    order = arguments.numbers("perm", tuple(reversed(range(len(shape)))))
    return (tuple(shape[axis] for axis in order),)


def _reshape(arguments: Arguments) -> Shapes:
    """0 keeps a side, −1 takes what is left."""
    shape, wanted = arguments.shape(), list(arguments.demanded(1, "shape"))
    if not arguments.number("allowzero", 0):
        wanted = [shape[axis] if side == 0 else side for axis, side in enumerate(wanted)]
    if -1 in wanted:
        rest = math.prod(side for side in wanted if side != -1)
        wanted[wanted.index(-1)] = math.prod(shape) // rest
    return (tuple(wanted),)


def _flatten(arguments: Arguments) -> Shapes:
    shape, axis = arguments.shape(), arguments.number("axis", 1)
    return ((math.prod(shape[:axis]), math.prod(shape[axis:])),)


def _squeeze(arguments: Arguments) -> Shapes:
    shape, axes = arguments.shape(), arguments.values(1, "axes")
    ones = {axis for axis, side in enumerate(shape) if side == 1}
    dropped = ones if axes is None else {axis % len(shape) for axis in axes}
    return (tuple(side for axis, side in enumerate(shape) if axis not in dropped),)


def _unsqueeze(arguments: Arguments) -> Shapes:
    shape, axes = arguments.shape(), arguments.demanded(1, "axes")
    rank = len(shape) + len(axes)
    added, rest = {axis % rank for axis in axes}, iter(shape)
    return (tuple(1 if axis in added else next(rest) for axis in range(rank)),)


def _concat(arguments: Arguments) -> Shapes:
    shapes = [arguments.shape(place) for place in range(len(arguments.inputs))]
    axis = arguments.number("axis", 0) % len(shapes[0])
    first = shapes[0]
    return ((*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :]),)


def _split(arguments: Arguments) -> Shapes:
    shape = arguments.shape()
    axis = arguments.number("axis", 0) % len(shape)
    parts = arguments.values(1, "split")
    if parts is None:
        each = -(-shape[axis] // arguments.outputs)
        last = shape[axis] - each * (arguments.outputs - 1)
        parts = (*(each for _ in range(arguments.outputs - 1)), last)
    return tuple((*shape[:axis], part, *shape[axis + 1 :]) for part in parts)


def _slice(arguments: Arguments) -> Shapes:
    shape = arguments.shape()
    starts, ends = arguments.demanded(1, "starts"), arguments.demanded(2, "ends")
    axes = arguments.values(3, "axes") or tuple(range(len(starts)))
    steps = arguments.values(4) or (1,) * len(starts)
    sides = list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        sides[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return (tuple(sides),)


def _gather(arguments: Arguments) -> Shapes:
    shape, indices = arguments.shape(), arguments.shape(1)
    axis = arguments.number("axis", 0) % len(shape)
    return ((*shape[:axis], *indices, *shape[axis + 1 :]),)


def _pad(arguments: Arguments) -> Shapes:
    shape, pads = arguments.shape(), arguments.demanded(1, "pads")
    axes = arguments.values(3) or tuple(range(len(shape)))
    sides = list(shape)
    for place, axis in enumerate(axes):
        sides[axis] += pads[place] + pads[place + len(axes)]
    return (tuple(sides),)


def _reduce(arguments: Arguments) -> Shapes:
    shape = arguments.shape()
    given = arguments.values(1, "axes") or tuple(range(len(shape)))
    axes = {axis % len(shape) for axis in given}
    if arguments.number("keepdims", 1):
        return (tuple(1 if axis in axes else side for axis, side in enumerate(shape)),)
    return (tuple(side for axis, side in enumerate(shape) if axis not in axes),)


def _expand(arguments: Arguments) -> Shapes:
    wanted = arguments.demanded(1)
    return _spread(Arguments("", (arguments.shape(), wanted), (), {}, 1))


_SAME: Final = """
    Identity Cast Relu LeakyRelu PRelu Elu Selu Celu Sigmoid Tanh HardSigmoid HardSwish Gelu Mish
    Swish Softplus Softsign Softmax LogSoftmax Clip ThresholdedRelu Abs Neg Exp Log Sqrt Reciprocal
    Erf Floor Ceil Round Sign Sin Cos Atan Not CumSum Trilu QuantizeLinear DequantizeLinear
    BatchNormalization InstanceNormalization GroupNormalization LpNormalization
"""
SAME: Final = frozenset(_SAME.split())
_SPREAD: Final = """
    Add Sub Mul Div Pow Max Min Mean Sum Mod Equal Greater GreaterOrEqual Less LessOrEqual And Or
    Where
"""
_REDUCE: Final = "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare"
RULES: Final[dict[str, Callable[[Arguments], Shapes]]] = {
    **dict.fromkeys(_SPREAD.split(), _spread),
    **dict.fromkeys(_REDUCE.split(), _reduce),
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed_convolution,
    "AveragePool": _pooling,
    "MaxPool": _pooling,
    "GlobalAveragePool": _global_pooling,
    "GlobalMaxPool": _global_pooling,
    "Gemm": _gemm,
    "MatMul": _product,
    "MatMulInteger": _product,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Expand": _expand,
}
