"""Operators of an artefact: shapes, work and traffic from its file, shares of what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from runtime.artefact import Artefact
from runtime.modelfile.tflite import TfliteModel, TfliteOperator, check_tflite
from runtime.profiling.onnx_operators import onnx_rows
from runtime.profiling.records import OperatorRow, Reading

# Of the other operators "work" are elements, no multiplications of activations with weights.
PRODUCTS = frozenset(
    ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")
)
# What the generator of C writes above the code of an operator:
#     /* 12: CONV_2D -> gru/state [1, 1, 1, 32], 1024 MACs; kernel 1x1; 1372 bytes */
#     MODEL_BEGIN(12);
_COMMENT = re.compile(
    r"/\* (\d+): (\w+) -> ([^\[\n]*?) \[([\d, ]*)\]"  # step, operator, output, shape
    r"([^\n]*?) \*/\n"
    r"\s*\w+_BEGIN\(\1\);"
)
_MACS = re.compile(r", (\d+) MACs$")
_BYTES = re.compile(r"; (\d+) bytes$")


def operators_of(artefact: Artefact) -> tuple[OperatorRow, ...]:
    """What an artefact's file tells about its operators, in the order in which they run.

    ``macs`` are multiplications of activations with weights (of activations with activations for a
    product of two), padding included; ``bytes_moved`` counts every input, weight and output of an
    operator once in the type it is stored in, as if nothing stayed in a register or cache between
    two operators. Of C the rows are what the generated code runs, without what it does in place.

    Raises ModelRefused for a file that is damaged.
    """
    content = artefact.path.read_bytes()
    suffix = artefact.path.suffix.lower()
    if suffix == ".tflite":
        return tflite_rows(content, artefact.path.name)
    if suffix == ".onnx":
        return onnx_rows(content, artefact.path.name)
    return c_rows(content)


def with_operators(artefact: Artefact, readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """Readings whose operators have the shapes, MACs and bytes of the artefact's file.

    Where no reading has operators one is added that holds what the file tells.
    """
    rows = operators_of(artefact)
    if not any(part.operators for part in readings):
        return (*readings, Reading(backend="file", place=artefact.path.suffix, operators=rows))
    return tuple(
        part.model_copy(update={"operators": merged(rows, part.operators)}) for part in readings
    )


def merged(rows: Iterable[OperatorRow], measured: Iterable[OperatorRow]) -> tuple[OperatorRow, ...]:
    """The measured rows, completed with shape, MACs and bytes of the file's.

    One belongs to another that has the same step and output, or failing that writes the same
    tensor; a row without such a partner stays as it is.
    """
    known = tuple(rows)
    by_place = {(row.step, row.output): row for row in known}
    by_output = {row.output: row for row in known if row.output}
    return tuple(
        _completed(row, by_place.get((row.step, row.output)) or by_output.get(row.output))
        for row in measured
    )


def _completed(row: OperatorRow, known: OperatorRow | None) -> OperatorRow:
    if known is None:
        return row
    return row.model_copy(
        update={
            "shape": row.shape or known.shape,
            "macs": row.macs or known.macs,
            "node": row.node or known.node,
            "bytes_moved": known.bytes_moved if row.bytes_moved is None else row.bytes_moved,
        }
    )


def shares(rows: Sequence[OperatorRow]) -> tuple[float | None, ...]:
    """The part of the whole that each row took, from 0 to 1.

    Of the values where there are any, which must then be in one unit; of the MACs where nothing was
    measured. None for a row without a value, and for all where there is no whole.
    """
    measured = any(row.value is not None for row in rows)
    amounts = [row.value if measured else row.macs for row in rows]
    units = {row.unit for row in rows if row.value is not None}
    total = sum(amount for amount in amounts if amount is not None)
    if len(units) > 1 or total <= 0:
        return (None,) * len(rows)
    return tuple(None if amount is None else amount / total for amount in amounts)


def c_rows(source: bytes) -> tuple[OperatorRow, ...]:
    """The operators of a generated NAME.c that call the profiling hook, from its comments."""
    rows = []
    for step, kind, output, sides, rest in _COMMENT.findall(source.decode("utf-8", "replace")):
        macs, moved = _MACS.search(rest.partition(";")[0]), _BYTES.search(rest)
        rows.append(
            OperatorRow(
                step=int(step),
                kind=kind,
                output=output,
                shape=tuple(int(side) for side in sides.split(",") if side.strip()),
                macs=int(macs[1]) if macs else 0,
                bytes_moved=int(moved[1]) if moved else None,
            )
        )
    return tuple(rows)


def tflite_rows(content: bytes, name: str = "The model") -> tuple[OperatorRow, ...]:
    """A row for every operator. Raises ModelRefused, with ``name`` at its beginning."""
    model = check_tflite(content, name)
    return tuple(_tflite_row(model, step, op) for step, op in enumerate(model.operators))


def _tflite_row(model: TfliteModel, step: int, operator: TfliteOperator) -> OperatorRow:
    operands = {index for index in (*operator.inputs, *operator.outputs) if index >= 0}
    result = model.tensors[operator.outputs[0]]
    return OperatorRow(
        step=step,
        kind=operator.name,
        node=str(step),
        output=result.name,
        shape=result.shape,
        macs=operator.work if operator.name in PRODUCTS else 0,
        bytes_moved=sum(model.tensors[index].size for index in operands),
    )
