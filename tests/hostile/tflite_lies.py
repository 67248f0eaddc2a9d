"""Sound flatbuffers that describe what cannot be: written by the schema's own writer."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.export.edited import tensor_named
from tests.hostile.bases import Base
from tests.hostile.specimen import Specimen, specimen

Edit = Callable[[Any], None]
Lie = tuple[str, str, Edit]  # family, name, what is changed

HUGE = 2**31 - 1
INPUT, ACTIVATION, WEIGHT, BIAS, OUTPUT = (
    *("features", "gru/reset/sum", "encoder1/weight", "encoder1/bias", "mask"),
)


def tflite_lies(base: Base, *, brief: bool = False) -> Iterator[Specimen]:
    """All lies of this module as told by ``base``, or the first of every family."""
    parsed = pickle.dumps(schema.ModelT.InitFromPackedBuf(base.content))
    families: set[str] = set()
    groups = [_shapes(), _orders(), _buffers(), _types(), _scales(), _indices()]
    groups += [_operators(), _options(), _structure()]
    for family, name, edit in chain(*groups):
        if brief and family in families:
            continue
        families.add(family)
        model = pickle.loads(parsed)
        edit(model)
        builder = flatbuffers.Builder(1 << 14)
        builder.Finish(model.Pack(builder), b"TFL3")
        yield specimen(base, family, name, bytes(builder.Output()))


def _set(part: Callable[[Any], Any], **values: Any) -> Edit:
    """Give attributes of a part of the model other values."""

    def edit(model: Any) -> None:
        for name, value in values.items():
            setattr(part(model), name, value)

    return edit


def _tensor(name: str) -> Callable[[Any], Any]:
    return lambda model: tensor_named(model, name)


def _writer_of(name: str) -> Callable[[Any], Any]:
    """The operator that computes a tensor."""

    def find(model: Any) -> Any:
        graph = model.subgraphs[0]
        index = graph.tensors.index(tensor_named(model, name))
        return next(o for o in graph.operators if index in list(o.outputs))

    return find


def _graph(model: Any) -> Any:
    return model.subgraphs[0]


def _shapes() -> Iterator[Lie]:
    shapes = {
        "zero": [1, 0, 1, 8],
        "negative": [1, -1, 1, 8],
        "largest": [HUGE] * 4,
        "overflowing product": [1 << 16] * 4,
        "product of nought": [1 << 24, 1 << 24, 1 << 16, 1 << 16],
        "huge": [1, 1, 1 << 15, 1 << 15],
        "of rank 9": [1] * 9,
        "of rank 1000": [1] * 1000,
        "one more": [1, 1, 1, 9],
        "turned": [8, 1, 1, 1],
        "scalar": [],
    }
    for tensor in (INPUT, ACTIVATION, WEIGHT, OUTPUT):
        for name, shape in shapes.items():
            edit = _set(_tensor(tensor), shape=shape)
            yield "wrong shape", f"{tensor}: {name}", edit
        yield (
            *("wrong shape", f"{tensor}: dynamic"),
            _set(_tensor(tensor), shapeSignature=[1, -1, -1, 3]),
        )


def _buffers() -> Iterator[Lie]:
    for tensor in (WEIGHT, BIAS):
        yield "wrong buffer", f"{tensor}: none", _set(_tensor(tensor), buffer=0)
        for index in (9999, 0xFFFF_FFFF):
            yield "wrong buffer", f"{tensor}: {index}", _set(_tensor(tensor), buffer=index)

        def resize(model: Any, change: int, tensor: str = tensor) -> None:
            buffer = model.buffers[tensor_named(model, tensor).buffer]
            buffer.data = np.resize(buffer.data, max(0, len(buffer.data) + change))

        for change in (-1, 1, -16, 4096, -100_000):
            yield "wrong buffer", f"{tensor}: {change:+d} bytes", partial(resize, change=change)

        def elsewhere(model: Any, tensor: str = tensor) -> None:
            buffer = model.buffers[tensor_named(model, tensor).buffer]
            buffer.offset, buffer.size = 1 << 40, 1 << 20

        yield "wrong buffer", f"{tensor}: outside the file", elsewhere
        yield "wrong buffer", f"{tensor}: in a file", _set(_tensor(tensor), externalBuffer=7)
        yield "wrong buffer", f"{tensor}: variable", _set(_tensor(tensor), isVariable=True)
    yield "wrong buffer", "no buffers", _set(lambda model: model, buffers=[])
    constant = _set(_tensor(INPUT), buffer=3)
    yield "wrong buffer", "the input is a constant", constant
    yield "wrong buffer", "an activation is a constant", _set(_tensor(ACTIVATION), buffer=2)


def _types() -> Iterator[Lie]:
    kinds = {n: v for n, v in vars(schema.TensorType).items() if not n.startswith("_")}
    for tensor in (ACTIVATION, WEIGHT):
        for name, number in kinds.items():
            if name not in ("FLOAT32", "INT8"):
                yield "wrong type", f"{tensor}: {name}", _set(_tensor(tensor), type=number)
    for number in (77, -1):
        yield "wrong type", f"{BIAS}: {number}", _set(_tensor(BIAS), type=number)


def _scales() -> Iterator[Lie]:
    bad = {"NaN": np.nan, "infinite": np.inf, "zero": 0.0, "negative": -0.5, "denormal": 1e-40}
    for tensor in (INPUT, ACTIVATION, WEIGHT, OUTPUT):
        for name, value in bad.items():

            def rescale(model: Any, value: float, tensor: str = tensor) -> None:
                quantization = tensor_named(model, tensor).quantization
                quantization.scale = [value, *list(quantization.scale)[1:]]

            yield "wrong scale", f"{tensor}: {name}", partial(rescale, value=value)
        part = _quantization(tensor)
        yield "wrong scale", f"{tensor}: two", _set(part, scale=[0.1, 0.1], zeroPoint=[0, 0])
        yield "wrong scale", f"{tensor}: 1000", _set(part, scale=[0.1] * 1000, zeroPoint=[0] * 1000)
        yield "wrong scale", f"{tensor}: zeros lack", _set(part, zeroPoint=[0, 0, 0])
        yield "wrong scale", f"{tensor}: far zero", _set(part, zeroPoint=[1 << 40])
        custom = schema.CustomQuantizationT()
        yield (
            *("wrong scale", f"{tensor}: custom"),
            _set(part, detailsType=1, details=custom),
        )
    for name in (INPUT, ACTIVATION, OUTPUT):
        yield "wrong scale", f"{name}: none", _set(_tensor(name), quantization=None)
    for axis in (-1, 4, HUGE):
        yield "wrong scale", f"axis {axis}", _set(_quantization(WEIGHT), quantizedDimension=axis)
    yield "wrong scale", "a sum far below", _set(_quantization("gru/reset/sum"), scale=[1e-30])
    yield "wrong scale", "a product far below", _set(_quantization("gru/carried"), scale=[1e-37])


def _quantization(tensor: str) -> Callable[[Any], Any]:
    return lambda model: tensor_named(model, tensor).quantization


def _indices() -> Iterator[Lie]:
    bad = (-2, 9999, HUGE, -(2**31))
    for output in (ACTIVATION, "encoder1", "encoder1/window"):
        for index in bad:
            for end in ("inputs", "outputs"):

                def redirect(model: Any, end: str, index: int, output: str = output) -> None:
                    operator = _writer_of(output)(model)
                    setattr(operator, end, [index, *list(getattr(operator, end))[1:]])

                yield (
                    *("wrong index", f"{end} of {output}: {index}"),
                    partial(redirect, end=end, index=index),
                )
        for code in (99, 0xFFFF_FFFF):
            edit = _set(_writer_of(output), opcodeIndex=code)
            yield "wrong index", f"code of {output}: {code}", edit
    for end in ("inputs", "outputs"):
        for values in ([], [-1], [9999], [HUGE], [0, 0, 0]):
            yield "wrong index", f"{end} of the graph: {values}", _set(_graph, **{end: values})


def _orders() -> Iterator[Lie]:
    def reverse(model: Any) -> None:
        _graph(model).operators.reverse()

    def exchange(model: Any, first: int) -> None:
        operators = _graph(model).operators
        operators[first], operators[first + 1] = operators[first + 1], operators[first]

    def feed_back(model: Any, reader: str, written: str) -> None:
        """The operator that computes ``reader`` reads ``written``, computed after it."""
        source = _writer_of(written)(model).outputs[0]
        operator = _writer_of(reader)(model)
        operator.inputs = [source, *list(operator.inputs)[1:]]

    yield "cycle", "all reversed", reverse
    for first in (0, 1, 2, 6):
        yield (
            "cycle",
            f"operators {first} and {first + 1} exchanged",
            partial(exchange, first=first),
        )
    for reader, written in (
        *((ACTIVATION, ACTIVATION), ("gru/reset/input", ACTIVATION), ("encoder1_out", OUTPUT)),
        *(("encoder1/window", "encoder1"), ("gru/entry", "decoder0"), ("mask", "mask")),
    ):
        edit = partial(feed_back, reader=reader, written=written)
        yield "cycle", f"{reader} is computed from {written}", edit

    def write(model: Any, operator: str, tensor: str) -> None:
        index = _graph(model).tensors.index(tensor_named(model, tensor))
        _writer_of(operator)(model).outputs = [index]

    for tensor in (INPUT, "gru_in", WEIGHT, BIAS, "gru/reset/input", "encoder1_out"):
        edit = partial(write, operator=ACTIVATION, tensor=tensor)
        yield "written twice", f"{ACTIVATION} goes to {tensor}", edit

    def drop(model: Any, output: str) -> None:
        _graph(model).operators.remove(_writer_of(output)(model))

    for output in ("encoder1_out", ACTIVATION, "mask"):
        yield "cycle", f"nothing computes {output}", partial(drop, output=output)


def _operators() -> Iterator[Lie]:
    names = [
        *("IF", "WHILE", "CALL", "CALL_ONCE", "CUSTOM", "DELEGATE", "VAR_HANDLE", "READ_VARIABLE"),
        *("ASSIGN_VARIABLE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF", "HASHTABLE", "WHERE"),
        *("PLACEHOLDER_FOR_GREATER_OP_CODES", "STABLEHLO_WHILE", "NON_MAX_SUPPRESSION_V4"),
    ]
    numbers = {name: getattr(schema.BuiltinOperator, name) for name in names}

    def recode(model: Any, number: int) -> None:
        code = model.operatorCodes[_writer_of(ACTIVATION)(model).opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
        code.customCode = "FlexEvil"

    for name, number in (numbers | {"of number 9999": 9999, "of number -5": -5}).items():
        yield "unknown operator", name, partial(recode, number=number)
    for other in ("CONV_2D", "LOGISTIC", "CONCATENATION", "RESHAPE", "PAD", "SPLIT", "GATHER"):
        number = getattr(schema.BuiltinOperator, other)
        yield "wrong operator", f"ADD becomes {other}", partial(recode, number=number)

    def operands(model: Any, end: str, count: int, output: str) -> None:
        operator = _writer_of(output)(model)
        setattr(operator, end, (list(getattr(operator, end)) * 600)[:count])

    for output, kept in ((ACTIVATION, (2,)), ("encoder1", (2, 3)), ("mask", (1,))):
        for count in (0, 1, 2, 4, 600):
            if count not in kept:
                edit = partial(operands, end="inputs", count=count, output=output)
                yield "wrong arity", f"{output} of {count} inputs", edit
        for count in (0, 2):
            edit = partial(operands, end="outputs", count=count, output=output)
            yield "wrong arity", f"{output} with {count} outputs", edit


def _options() -> Iterator[Lie]:
    for output in (ACTIVATION, "encoder1", "encoder1/window"):
        bare = _set(_writer_of(output), builtinOptions=None, builtinOptionsType=0)
        yield "wrong options", f"{output}: none", bare
        other = _set(
            _writer_of(output),
            builtinOptions=schema.WhileOptionsT(),
            builtinOptionsType=schema.BuiltinOptions.WhileOptions,
        )
        yield "wrong options", f"{output}: of WHILE", other
        softmax = _set(
            _writer_of(output),
            builtinOptions=schema.SoftmaxOptionsT(),
            builtinOptionsType=schema.BuiltinOptions.SoftmaxOptions,
        )
        yield "wrong options", f"{output}: of SOFTMAX", softmax

    def of(output: str) -> Callable[[Any], Any]:
        return lambda model: _writer_of(output)(model).builtinOptions

    for attribute in ("strideH", "strideW", "dilationHFactor", "dilationWFactor"):
        for value in (0, -1, 4097, HUGE, -(2**31)):
            edit = _set(of("encoder1"), **{attribute: value})
            yield "absurd stride", f"{attribute} {value}", edit
    for value in (2, -1, 100):
        yield "wrong options", f"padding {value}", _set(of("encoder1"), padding=value)
    for value in (4, 5, -1, 99):
        edit = _set(of("encoder1"), fusedActivationFunction=value)
        yield "wrong options", f"fused activation {value}", edit
    for axis in (4, -5, HUGE):
        yield "wrong options", f"concatenated along {axis}", _set(of("encoder1/window"), axis=axis)
    for shape in ([1, 1, 1, 25], [-1, -1, 1, 24], [0, 24], [HUGE] * 4, [-7, 24], []):
        yield "wrong options", f"reshaped to {shape}", _set(of("gru/entry"), newShape=shape)


def _structure() -> Iterator[Lie]:
    for count in (0, 2, 50):

        def multiply(model: Any, count: int = count) -> None:
            model.subgraphs = (model.subgraphs * 50)[:count]

        yield "subgraphs", f"{count}", multiply
    whole = lambda model: model  # noqa: E731
    for version in (0, 1, 4, 0xFFFF_FFFF):
        yield "wrong version", f"{version}", _set(whole, version=version)
    yield "wrong version", "of an operator", _set(lambda m: m.operatorCodes[0], version=-3)
    yield "empty part", "operator codes", _set(whole, operatorCodes=[])
    yield "empty part", "operators", _set(_graph, operators=[])
    yield "empty part", "tensors", _set(_graph, tensors=[])
    many = lambda model: setattr(_graph(model), "tensors", _graph(model).tensors * 300)  # noqa: E731
    yield "too many", "tensors", many
    long = _set(_tensor(INPUT), name="x" * 100_000)
    yield "too many", "letters of a name", long
    metadata = _set(lambda m: m.metadata[0], buffer=0xFFFF_FFFF)
    yield "wrong index", "metadata", metadata

    def signature(model: Any, subgraph: int, tensor: int) -> None:
        record, entry = schema.SignatureDefT(), schema.TensorMapT()
        entry.name, entry.tensorIndex = "x", tensor
        record.inputs, record.outputs, record.signatureKey = [entry], [entry], "serve"
        record.subgraphIndex = subgraph
        model.signatureDefs = [record]

    for subgraph, tensor in ((7, 0), (0, 9999), (0xFFFF_FFFF, 0xFFFF_FFFF)):
        edit = partial(signature, subgraph=subgraph, tensor=tensor)
        yield "wrong index", f"signature of {subgraph}, {tensor}", edit
