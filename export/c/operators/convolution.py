"""CONV_2D and FULLY_CONNECTED: rows of weights times windows of the input."""

from __future__ import annotations

from export.c.call import Call, FieldValue, Params
from export.c.model import CModel, COperator, CTensor
from export.c.operators.conv_scaling import Scaling, conv_scaling
from export.c.operators.conv_weights import (
    Array,
    fill_of,
    kernel_kind,
    padded,
    row_fields,
    stored_bias,
)
from export.c.operators.conv_window import Axis, Placement, Windows, conv_windows


def conv_2d(model: CModel, operator: COperator) -> Call:
    """CONV_2D in int8, int16 with int8 weights, or float32; groups, dilation, SAME or VALID."""
    source, weight = model.tensor(operator, 0), model.tensor(operator, 1)
    kind = kernel_kind(model, operator, source, weight)
    windows = conv_windows(model, operator, source, weight)
    channels = weight.shape[0]
    scaling = (
        None if kind == "f32" else conv_scaling(model, operator, source, weight, channels, axis=0)
    )
    assert weight.data is not None  # kernel_kind
    rows = weight.data.reshape(channels, windows.length)
    bias = stored_bias(model, operator, 2, channels)
    return conv_call(model, operator, source, kind, windows, scaling, rows, bias)


def fully_connected(model: CModel, operator: COperator) -> Call:
    """FULLY_CONNECTED: every vector of the input times one matrix ``[out, in]``."""
    source, weight = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    kind = kernel_kind(model, operator, source, weight)
    if operator.integer("weights_format"):
        raise model.refusal(operator, "its weights are shuffled")
    if len(weight.shape) != 2 or source.elements % weight.shape[1]:
        raise model.refusal(operator, f"it multiplies {list(source.shape)} by {list(weight.shape)}")
    filters, depth = weight.shape
    vectors = source.elements // depth
    if target.elements != vectors * filters or target.shape[-1] != filters:
        raise model.refusal(operator, f"its output has the shape {list(target.shape)}")
    windows = Windows(
        vectors, Axis(1, 1), Axis(1, 1), depth, depth, filters, Placement(0, filters, 0, 0)
    )
    scaling = (
        None if kind == "f32" else conv_scaling(model, operator, source, weight, filters, axis=0)
    )
    assert weight.data is not None  # kernel_kind
    bias = stored_bias(model, operator, 2, filters)
    return conv_call(model, operator, source, kind, windows, scaling, weight.data, bias)


def conv_call(
    model: CModel,
    operator: COperator,
    source: CTensor,
    kind: str,
    windows: Windows,
    scaling: Scaling | None,
    rows: Array,
    bias: Array,
) -> Call:
    """The call for ``rows [channels, length]`` times ``windows``."""
    dense = windows.whole
    fields: dict[str, FieldValue] = {"windows": windows.record(fill_of(model, operator, source))}
    fields |= row_fields(model, operator, scaling, rows, bias, windows.groups)
    return Call(
        kernel=f"sordino_{'dense' if dense else 'conv'}_{kind}",
        header=f"conv_{kind}.h",
        params=Params(f"sordino_conv_{kind}_params", tuple(fields.items())),
        inputs=(source.index,),
        outputs=operator.outputs,
        scratch=0 if dense else _scratch(kind, windows.length),
        macs=windows.positions * rows.size,
        note="" if operator.name == "FULLY_CONNECTED" else windows.note(operator),
    )


def _scratch(kind: str, length: int) -> int:
    """Two windows, beside int8 and int16 also in pairs of int16 for cores that multiply those."""
    return padded(length) * {"s8": 2 + 4, "s16": 4 + 4, "f32": 8}[kind]
