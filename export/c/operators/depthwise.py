"""DEPTHWISE_CONV_2D: every channel has filters of its own."""

from __future__ import annotations

from export.c.call import Call, FieldValue, Params, table
from export.c.model import CModel, COperator
from export.c.operators.conv_scaling import conv_scaling
from export.c.operators.conv_weights import (
    fill_of,
    float_fields,
    integer_fields,
    kernel_kind,
    stored_bias,
)
from export.c.operators.conv_window import (
    Windows,
    axis_of,
    check_ranks,
    check_result,
    row_major,
)

SIZES = {"s8": 1, "s16": 2, "f32": 4}


def depthwise_conv_2d(model: CModel, operator: COperator) -> Call:
    """DEPTHWISE_CONV_2D with weight ``[1, height, width, in · multiplier]``."""
    source, weight = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    kind = kernel_kind(model, operator, source, weight)
    check_ranks(model, operator, source, weight, target)
    batches, height, width, depth = source.shape
    one, rows, columns, filters = weight.shape
    if one != 1 or filters % depth:
        raise model.refusal(operator, f"weights {list(weight.shape)} for {depth} channels")
    check_result(model, operator, batches, filters)
    windows = Windows(
        batches,
        axis_of(model, operator, "h", height, rows, target.shape[1]),
        axis_of(model, operator, "w", width, columns, target.shape[2]),
        depth,
        depth,
        filters,
        row_major(target),
    )
    assert weight.data is not None  # kernel_kind
    bias = stored_bias(model, operator, 2, filters)
    taps = weight.data.reshape(rows * columns, filters)
    fill = fill_of(model, operator, source)
    fields: dict[str, FieldValue] = {"windows": windows.record(fill, by_taps=True)}
    if kind == "f32":
        fields |= float_fields(model, operator, table(taps, "float"), bias)
    else:
        scaling = conv_scaling(model, operator, source, weight, filters, axis=3)
        records, scaled = integer_fields(model, operator, scaling, taps.T, bias)
        fields |= {
            "channels": table(records, "int32_t"),
            "weights": table(taps, "int8_t"),
            "pitch": filters,
            **scaled,
        }
    return Call(
        kernel=f"sordino_depthwise_conv_{kind}",
        header=f"depthwise_conv_{kind}.h",
        params=Params(f"sordino_conv_{kind}_params", tuple(fields.items())),
        inputs=(source.index,),
        outputs=operator.outputs,
        scratch=SIZES[kind] * windows.length,
        macs=windows.positions * taps.size,
        note=windows.note(operator),
    )
