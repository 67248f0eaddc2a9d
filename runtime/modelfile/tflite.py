"""A .tflite file from anyone, checked before an interpreter or a generator reads it.

First every byte that is read must lie in the file (``flatbuffer``); then the model must make sense:
one subgraph, tensors and buffers that exist, constants of exactly the bytes their shape and type
need, finite scales, operators in an order in which they can run, each with the inputs, options and
shapes its kernel takes for granted. Interpreters for microcontrollers check next to none of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.modelfile.flatbuffer import Record, Span, read_flatbuffer
from runtime.modelfile.refusal import (
    HINT,
    LARGEST_MODEL,
    LARGEST_SIDE,
    LARGEST_TENSORS,
    MOST_RANK,
    MOST_WORK,
    Damaged,
    ModelRefused,
    demand,
    shown,
)
from runtime.modelfile.tflite_operators import RULES, Rule
from runtime.modelfile.tflite_schema import (
    IDENTIFIER,
    OTHER_OPERATORS,
    OTHER_TYPES,
    SCHEMA,
    TYPES,
    UNIONS,
    VERSION,
)
from runtime.modelfile.tflite_tensors import Call, TfliteTensor

MOST_OPERANDS: Final = 512
ABSENT: Final = -1  # in place of an optional input
# Quantized values of each type, and the zero points they allow.
ZERO_POINTS: Final = {"int8": (-128, 127), "int16": (0, 0), "int32": (0, 0), "int64": (0, 0)}
LEAST_SCALE: Final = 2.0**-126  # the smallest float32 that is not denormal


@dataclass(frozen=True)
class TfliteOperator:
    """One operator: its builtin name, tensor indices (−1: absent), options, work in MACs."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Record = field(repr=False)
    work: int


@dataclass(frozen=True)
class TfliteModel:
    """A model that passed. ``work`` is its multiply-accumulates and element operations per step,
    ``tensor_bytes`` what all tensors take if none shares memory."""

    tensors: tuple[TfliteTensor, ...] = field(repr=False)
    operators: tuple[TfliteOperator, ...] = field(repr=False)
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    work: int
    tensor_bytes: int


def check_tflite(content: bytes, name: str = "The model") -> TfliteModel:
    """What a .tflite file holds. ``name`` begins the sentence when it is refused.

    Raises ModelRefused.
    """
    try:
        return _checked(content)
    except Damaged as error:
        raise ModelRefused(f"{name} is no sound .tflite file: {error}.", hint=HINT) from None


def _checked(content: bytes) -> TfliteModel:
    demand(
        len(content) <= LARGEST_MODEL,
        f"it has {len(content) >> 20} MiB, and at most {LARGEST_MODEL >> 20} are read",
    )
    file = read_flatbuffer(content, IDENTIFIER, SCHEMA, "Model", UNIONS)
    demand(file["version"] == VERSION, f"its schema version is {file['version']}, not {VERSION}")
    graphs = file["subgraphs"]
    demand(len(graphs) == 1, f"it has {len(graphs)} subgraphs instead of one")
    (graph,) = graphs
    for part in ("tensors", "operators"):
        demand(bool(graph[part]), f"it has no {part}")
    demand(bool(file["buffers"]), "it has no buffers")
    buffers = [_buffer(index, record) for index, record in enumerate(file["buffers"])]
    tensors = tuple(
        _tensor(content, index, record, buffers) for index, record in enumerate(graph["tensors"])
    )
    total = sum(tensor.size for tensor in tensors)
    demand(total <= LARGEST_TENSORS, f"its tensors need {_mebibytes(total)} MiB of memory")
    inputs = _interface(graph["inputs"], tensors, "input")
    outputs = _interface(graph["outputs"], tensors, "output")
    demand(
        not any(tensors[index].constant for index in (*inputs, *outputs)),
        "a constant is among its inputs or outputs",
    )
    _check_references(file, len(tensors), len(buffers))
    operators = _operators(file["operator_codes"], graph["operators"], tensors, inputs)
    written = {*inputs, *(index for operator in operators for index in operator.outputs)}
    for index in outputs:
        demand(index in written, f"nothing computes its output {shown(tensors[index].name)}")
    work = sum(operator.work for operator in operators)
    return TfliteModel(tensors, operators, inputs, outputs, work, total)


def _mebibytes(size: int) -> str:
    return f"{size >> 20:d}" if size < 1 << 50 else f"2^{size.bit_length() - 21}"


def _buffer(index: int, record: Record) -> Span:
    demand(record["offset"] <= 1 and record["size"] <= 1, f"buffer {index} lies outside the file")
    return record["data"] or Span(0, 0)


def _tensor(content: bytes, index: int, record: Record, buffers: list[Span]) -> TfliteTensor:
    what = f"tensor {index} ({shown(record['name'])})"
    kind = record["type"]
    demand(
        kind in TYPES,
        f"{what} is of type {OTHER_TYPES.get(kind, kind)}, which no denoiser of sordino has",
    )
    dtype, item = TYPES[kind]
    shape: tuple[int, ...] = record["shape"]
    demand(len(shape) <= MOST_RANK, f"{what} has {len(shape)} dimensions")
    demand(
        all(0 < side <= LARGEST_SIDE for side in shape),
        f"{what} has the shape {_sides(shape)}, which is not static and positive",
    )
    signature = record["shape_signature"]
    demand(not signature or signature == shape, f"{what} has a shape that is not static")
    demand(not record["is_variable"], f"{what} is a variable, whose state nobody could reset")
    demand(
        record["sparsity"] is None and not record["variant_tensors"],
        f"{what} is sparse or a variant",
    )
    demand(not record["external_buffer"], f"{what} takes its values from outside the file")
    demand(record["buffer"] < len(buffers), f"{what} names buffer {record['buffer']}")
    size = math.prod(shape) * item
    span = buffers[record["buffer"]]
    if span.size:
        demand(span.size == size, f"{what} needs {size} bytes and its buffer has {span.size}")
        demand(span.start % item == 0, f"the buffer of {what} is not aligned")
    scales, zero_points, axis = _quantization(what, dtype, shape, record["quantization"])
    if dtype in ("int8", "int16") and not span.size:
        demand(len(scales) == 1, f"{what} is {dtype} and has {len(scales)} scales instead of one")
    demand(dtype != "float16" or span.size > 0, f"{what} is float16 and no constant")
    return TfliteTensor(
        index=index,
        name=record["name"],
        dtype=dtype,
        shape=shape,
        size=size,
        scales=scales,
        zero_points=zero_points,
        axis=axis,
        span=span if span.size else None,
        content=content,
    )


def _sides(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _quantization(
    what: str, dtype: str, shape: tuple[int, ...], record: Record | None
) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    if record is None:
        return (), (), 0
    scales, zeros, axis = record["scale"], record["zero_point"], record["quantized_dimension"]
    demand(not record["details_type"], f"{what} is quantized in a way of its own")
    if not scales:
        demand(not zeros, f"{what} has zero points and no scales")
        return (), (), 0
    if len(scales) > 1:
        demand(
            0 <= axis < len(shape) and shape[axis] == len(scales),
            f"{what} has {len(scales)} scales, which fit no axis of {_sides(shape)}",
        )
    demand(len(zeros) in (0, len(scales)), f"{what} has {len(scales)} scales, {len(zeros)} zeros")
    demand(
        all(math.isfinite(scale) and scale >= LEAST_SCALE for scale in scales),
        f"{what} has a scale that is not finite and positive",
    )
    if dtype in ZERO_POINTS:
        low, high = ZERO_POINTS[dtype]
        demand(all(low <= zero <= high for zero in zeros), f"{what} has a zero point out of range")
    return scales, zeros or (0,) * len(scales), axis


def _interface(
    indices: tuple[int, ...], tensors: tuple[TfliteTensor, ...], kind: str
) -> tuple[int, ...]:
    demand(0 < len(indices) <= MOST_OPERANDS, f"it has {len(indices)} {kind}s")
    demand(len(set(indices)) == len(indices), f"one tensor is an {kind} twice")
    demand(all(0 <= i < len(tensors) for i in indices), f"an {kind} is no tensor of it")
    names = {tensors[index].name for index in indices}
    demand(len(names) == len(indices), f"two {kind}s have one name")
    return indices


def _check_references(file: Record, tensors: int, buffers: int) -> None:
    """Metadata and signatures: not computed with, but interpreters follow their indices."""
    for record in file["metadata"]:
        demand(record["buffer"] < buffers, f"metadata names buffer {record['buffer']}")
    demand(
        all(0 <= index < buffers for index in file["metadata_buffer"]),
        "metadata_buffer names a buffer that is not there",
    )
    for signature in file["signature_defs"]:
        demand(signature["subgraph_index"] == 0, "a signature names another subgraph")
        for entry in (*signature["inputs"], *signature["outputs"]):
            demand(
                entry["tensor_index"] < tensors,
                f"a signature names tensor {entry['tensor_index']}",
            )


def _operators(
    codes: tuple[Record, ...],
    records: tuple[Record, ...],
    tensors: tuple[TfliteTensor, ...],
    inputs: tuple[int, ...],
) -> tuple[TfliteOperator, ...]:
    """Every operator in turn: what it reads must be there before it, what it writes must not."""
    ready = {tensor.index for tensor in tensors if tensor.constant} | set(inputs)
    operators, work = [], 0
    for index, record in enumerate(records):
        code = record["opcode_index"]
        demand(code < len(codes), f"operator {index} names operator code {code}")
        name, version, rule = _kind(index, codes[code])
        what = f"operator {index} ({name})"
        _check_operands(what, record, tensors, ready, rule)
        try:
            call = Call(
                tuple(None if i == ABSENT else tensors[i] for i in record["inputs"]),
                tuple(tensors[i] for i in record["outputs"]),
                _options(record, rule),
            )
            amount = rule.check(call)
        except Damaged as error:
            raise Damaged(f"{what} {error}") from None
        work += amount
        demand(work <= MOST_WORK, f"a step takes more than {MOST_WORK >> 20} million products")
        ready.update(record["outputs"])
        operators.append(
            TfliteOperator(name, version, record["inputs"], record["outputs"], call.options, amount)
        )
    return tuple(operators)


def _kind(index: int, code: Record) -> tuple[str, int, Rule]:
    number = max(code["deprecated_builtin_code"], code["builtin_code"])
    rule = RULES.get(number)
    if rule is None:
        name = OTHER_OPERATORS.get(number, f"of number {number}")
        raise Damaged(f"operator {index} is {name}, which sordino does not run")
    demand(0 < code["version"] < 100, f"{rule.name} has version {code['version']}")
    return rule.name, code["version"], rule


def _check_operands(
    what: str,
    record: Record,
    tensors: tuple[TfliteTensor, ...],
    ready: set[int],
    rule: Rule,
) -> None:
    sources, results = record["inputs"], record["outputs"]
    least, most = rule.inputs
    demand(least <= len(sources) <= most, f"{what} has {len(sources)} inputs")
    least_out, most_out = rule.outputs
    demand(least_out <= len(results) <= most_out, f"{what} has {len(results)} outputs")
    for place, index in enumerate(sources):
        if index == ABSENT and place in rule.optional:
            continue
        demand(0 <= index < len(tensors), f"{what} reads tensor {index}, which is not there")
        demand(
            index in ready,
            f"{what} reads {shown(tensors[index].name)} before anything has computed it",
        )
    for index in results:
        demand(0 <= index < len(tensors), f"{what} writes tensor {index}, which is not there")
        demand(
            index not in ready,
            f"{what} writes {shown(tensors[index].name)}, which has its values already",
        )
    demand(len(set(results)) == len(results), f"{what} writes one tensor twice")
    plain = not (
        record["custom_options"]
        or record["builtin_options_2_type"]
        or record["large_custom_options_size"]
        or record["intermediates"]
        or any(record["mutating_variable_inputs"])
    )
    demand(plain, f"{what} has options of a custom operator")


def _options(record: Record, rule: Rule) -> dict[str, Any]:
    kind = record["builtin_options_type"]
    if not kind or record["builtin_options"] is None:
        demand(kind in (0, *_numbers(rule)), "has options of another operator")
        demand(not rule.needs_options, "has no options")
        return {}
    demand(UNIONS.get(kind) == rule.options, "has options of another operator")
    options: dict[str, Any] = record["builtin_options"]
    return options


def _numbers(rule: Rule) -> tuple[int, ...]:
    return tuple(number for number, table in UNIONS.items() if table == rule.options)
