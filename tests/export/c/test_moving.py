"""Operators that only move values, through the whole generator and compiled."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.c.call import Copies, Refused
from export.c.generator import generate
from export.c.model import read
from export.c.operators.table import lower
from tests.export.c.exactness import moving_cases
from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import Case, Value, file_of
from tests.export.c.exactness.oracles import tflm
from tests.export.c.support import HOST_COMPILERS, Array, native

GENERATORS = (
    moving_cases.concatenation,
    moving_cases.expand_dims,
    moving_cases.pack,
    moving_cases.pad,
    moving_cases.reshape,
    moving_cases.slice_,
    moving_cases.split,
    moving_cases.split_v,
    moving_cases.squeeze,
    moving_cases.strided_slice,
    moving_cases.transpose,
    moving_cases.unpack,
)
EACH = 25

needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)
needs_compiler = pytest.mark.skipif(not HOST_COMPILERS, reason="no C compiler")


def case(operator: str, inputs: list[Value], outputs: list[Value], options: object = None) -> Case:
    return Case(operator, options, tuple(inputs), tuple(outputs), ())


def value(*shape: int, scale: float = 0.5, dtype: str = "int8") -> Value:
    return Value(shape, dtype, (scale,), (0,))


def indices(*values: int) -> Value:
    return Value.constant(np.array(values, np.int32))


@needs_tflm
@needs_compiler
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_every_operator_moves_as_in_tflm(dtype: str) -> None:
    cases = [
        generator(Drawer((7, place, number)), dtype)
        for place, generator in enumerate(GENERATORS)
        for number in range(EACH)
    ]
    engine = native(generate(file_of(cases)))
    found = iter(engine.run([feed for one in cases for feed in one.feeds]))
    for one, wanted in zip(cases, tflm(cases), strict=True):
        for array in wanted:
            np.testing.assert_array_equal(next(found), array, err_msg=one.operator)


def sliced(shape: tuple[int, ...], *slices: slice) -> tuple[Array, Array]:
    """What the C makes of a STRIDED_SLICE, and what numpy does."""
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    expected = values[slices]
    options = schema.StridedSliceOptionsT()
    bounds = []
    for axis, (size, cut) in enumerate(zip(shape, slices, strict=True)):
        options.beginMask |= (cut.start is None) << axis
        options.endMask |= (cut.stop is None) << axis
        bounds.append((cut.start or 0, size if cut.stop is None else cut.stop, cut.step or 1))
    columns = [indices(*column) for column in zip(*bounds, strict=True)]
    source = value(*shape, dtype="int16")
    one = case(
        "STRIDED_SLICE", [source, *columns], [value(*expected.shape, dtype="int16")], options
    )
    (found,) = native(generate(file_of([one]))).run([values])
    return found, expected


@needs_compiler
@pytest.mark.parametrize(
    "slices",
    [
        (slice(None), slice(None, None, -1), slice(None)),
        (slice(None), slice(3, 0, -2), slice(-1, -4, -1)),
        (slice(1, None), slice(-3, 100), slice(0, -1, 2)),
        (slice(1, 2), slice(1, 4), slice(None)),
    ],
)
def test_slices_mean_what_they_mean_in_numpy(slices: tuple[slice, ...]) -> None:
    found, expected = sliced((2, 4, 5), *slices)
    np.testing.assert_array_equal(found, expected)


def lowered(one: Case) -> object:
    model = read(file_of([one]))
    return lower(model, model.operators[0])


def joined(*shapes: tuple[int, ...], axis: int) -> Case:
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    target = list(shapes[0])
    target[axis] = sum(shape[axis] for shape in shapes)
    return case("CONCATENATION", [value(*shape) for shape in shapes], [value(*target)], options)


def test_whole_blocks_are_left_to_the_planner() -> None:
    assert isinstance(lowered(joined((1, 1, 4, 3), (1, 2, 4, 3), axis=1)), Copies)
    assert isinstance(lowered(joined((1, 1, 4, 3), (1, 1, 4, 3), axis=-1)), tuple)
    first = case("SLICE", [value(4, 6), indices(1, 0), indices(2, 6)], [value(2, 6)])
    inner = case("SLICE", [value(4, 6), indices(1, 0), indices(2, 5)], [value(2, 5)])
    assert isinstance(lowered(first), Copies)
    assert isinstance(lowered(inner), tuple)
    turned = case("TRANSPOSE", [value(1, 7, 1, 3), indices(2, 1, 0, 3)], [value(1, 7, 1, 3)])
    assert isinstance(lowered(turned), Copies)


def _split(parts: int, size: int, axis: int = 1) -> Case:
    options = schema.SplitOptionsT()
    options.numSplits = parts
    axes = Value.constant(np.array(axis, np.int32))
    return case("SPLIT", [axes, value(2, 6)], [value(2, size)] * parts, options)


def _concatenated(activation: int) -> Case:
    options = schema.ConcatenationOptionsT()
    options.axis, options.fusedActivationFunction = 1, activation
    return case("CONCATENATION", [value(2, 3), value(2, 3)], [value(2, 6)], options)


def _strided(**masks: int) -> Case:
    options = schema.StridedSliceOptionsT()
    for name, mask in masks.items():
        setattr(options, name, mask)
    bounds = [indices(0, 0), indices(2, 6), indices(1, 1)]
    return case("STRIDED_SLICE", [value(2, 6), *bounds], [value(2, 6)], options)


REFUSED = {
    "other scale": (case("RESHAPE", [value(6)], [value(2, 3, scale=0.25)]), "different scales"),
    "other type": (case("RESHAPE", [value(6)], [value(6, dtype="int16")]), "int8 into int16"),
    "no kernel": (
        case("RESHAPE", [Value((4,), "int64")], [Value((4,), "int64")]),
        "no kernel moves int64",
    ),
    "reshape": (case("RESHAPE", [value(6)], [value(2, 4)]), r"\[2, 4\] of \[6\]"),
    "fused": (_concatenated(schema.ActivationFunctionType.RELU), "RELU has no kernel"),
    "parts": (_split(2, 2), "4 of 6"),
    "split axis": (_split(2, 3, axis=2), "axis 2 of a tensor with 2 axes"),
    "slice": (
        case("SLICE", [value(4), indices(3), indices(2)], [value(2)]),
        "2 from 3 of an axis of 4",
    ),
    "slice size": (
        case("SLICE", [value(4), indices(0), indices(2)], [value(3)]),
        r"takes \[2\], and its output is \[3\]",
    ),
    "ellipsis": (_strided(ellipsisMask=1), "ellipsis"),
    "new axis": (_strided(newAxisMask=1), "new axes"),
    "offset": (_strided(offset=True), "ends relative"),
    "permutation": (
        case("TRANSPOSE", [value(2, 3), indices(0, 0)], [value(2, 2)]),
        "no permutation",
    ),
    "pads": (
        case("PAD", [value(4), Value.constant(np.array([[-1, 0]], np.int32))], [value(3)]),
        "pads no tensor",
    ),
    "not constant": (case("SLICE", [value(4)] * 3, [value(2)]), "not constant"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused(name: str) -> None:
    one, reason = REFUSED[name]
    with pytest.raises(Refused, match=reason) as refused:
        lowered(one)
    assert refused.value.message.startswith(f"{one.operator} (operator 0, writes 't")
    assert refused.value.hint


def test_too_many_axes_at_once_are_refused() -> None:
    shape = (2, 3, 2, 3, 2, 3)
    order = (5, 4, 3, 2, 1, 0)
    turned = case("TRANSPOSE", [value(*shape), indices(*order)], [value(*shape[::-1])])
    with pytest.raises(Refused, match="6 axes at once"):
        lowered(turned)
