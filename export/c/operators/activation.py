"""Operators of one input, value by value: activations and changes of scale.

int8 inputs take a table of the 256 results, whatever the operator; it costs three instructions a
value.
"""

from __future__ import annotations

import numpy as np

from export.c.arithmetic import LIMITS, Multiplier, multiplied, stored
from export.c.call import Call, FieldValue, Params, table
from export.c.curves import curve_scale, curve_table, logistic_s8, tanh_s8
from export.c.model import CModel, COperator, CTensor
from export.c.operators.elementwise import centred, lut
from export.c.operators.scales import (
    FLOAT_LIMITS,
    SIMPLE_SHIFTS,
    SUFFIXES,
    multiplier,
    one_type,
    quantization,
    scale_field,
)

_LARGEST = {"int8": 255, "int16": 2**15}  # magnitude of a centred value
_CURVES = {  # function of int8, its output's scale and zero point; the scale in int16 is 2^-15
    "logistic": (logistic_s8, (1 / 256, -128)),
    "tanh": (tanh_s8, (1 / 128, 0)),
}


def logistic(model: CModel, operator: COperator) -> Call:
    return _curve(model, operator, "logistic")


def tanh(model: CModel, operator: COperator) -> Call:
    return _curve(model, operator, "tanh")


def relu(model: CModel, operator: COperator) -> Call:
    source, target = model.tensor(operator, 0), _like(model, operator)
    dtype = one_type(model, operator, source, target)
    if dtype == "float32":
        return _clamp(source, target, FLOAT_LIMITS["RELU"])
    scale, zero_point = quantization(model, operator, source)
    output_scale, output_zero_point = quantization(model, operator, target)
    limits = (max(LIMITS[dtype][0], output_zero_point), LIMITS[dtype][1])
    if (scale, zero_point) == (output_scale, output_zero_point):
        return _clamp(source, target, limits)
    factor = multiplier(model, operator, scale / output_scale, _LARGEST[dtype])
    return _rescale(model, operator, source, target, factor, limits)


def relu6(model: CModel, operator: COperator) -> Call:
    source, target = model.tensor(operator, 0), _like(model, operator)
    dtype = one_type(model, operator, source, target)
    if dtype == "float32":
        return _clamp(source, target, FLOAT_LIMITS["RELU6"])
    affine = quantization(model, operator, source)
    if affine != quantization(model, operator, target):
        raise model.refusal(
            operator,
            "its input and output have different scales, with which TFLM's result is wrong",
            hint="Give both tensors one scale, or fuse the activation into the operator before.",
        )
    scale, zero_point = affine
    six = min(LIMITS[dtype][1], zero_point + stored(6.0, scale))
    return _clamp(source, target, (zero_point, six))


def leaky_relu(model: CModel, operator: COperator) -> Call:
    source, target = model.tensor(operator, 0), _like(model, operator)
    dtype = one_type(model, operator, source, target)
    slope = operator.real("alpha")
    if dtype == "float32":
        fields: tuple[tuple[str, FieldValue], ...] = (("size", target.elements), ("slope", slope))
        return _call("leaky_relu_f32", "activation_f32.h", fields, source, target)
    scale = quantization(model, operator, source)[0]
    output_scale = quantization(model, operator, target)[0]
    if slope < 0:
        raise model.refusal(operator, f"its slope is {slope:g}, below 0")
    positive = multiplier(model, operator, scale / output_scale, _LARGEST[dtype])
    negative = multiplier(model, operator, scale * slope / output_scale, _LARGEST[dtype])
    if dtype == "int8":
        value = centred(quantization(model, operator, source)[1])
        scaled = np.where(value >= 0, multiplied(value, positive), multiplied(value, negative))
        zero_point = quantization(model, operator, target)[1]
        return lut(source, target, np.clip(scaled + zero_point, *LIMITS[dtype]))
    fields = (
        ("size", target.elements),
        ("simple", int({positive.shift, negative.shift} <= set(SIMPLE_SHIFTS))),
        ("positive", scale_field(positive)),
        ("negative", scale_field(negative)),
    )
    return _call("leaky_relu_s16", "rescale.h", fields, source, target)


def quantize(model: CModel, operator: COperator) -> Call:
    """QUANTIZE between int8 and int16."""
    source, target = model.tensor(operator, 0), _like(model, operator)
    for tensor in (source, target):
        if tensor.dtype not in LIMITS:
            raise model.refusal(
                operator,
                f"no kernel quantizes {source.dtype} to {target.dtype}",
                hint="Export a model whose inputs and outputs are integers.",
            )
    scale = quantization(model, operator, source)[0]
    output_scale = quantization(model, operator, target)[0]
    factor = multiplier(model, operator, scale / output_scale, _LARGEST[source.dtype])
    return _rescale(model, operator, source, target, factor, LIMITS[target.dtype])


def dequantize(model: CModel, operator: COperator) -> Call:
    """int8 or int16 to float32."""
    source, target = model.tensor(operator, 0), _like(model, operator)
    if source.dtype not in LIMITS or target.dtype != "float32":
        raise model.refusal(operator, f"no kernel makes {target.dtype} of {source.dtype}")
    scale, zero_point = quantization(model, operator, source)
    fields = (("size", target.elements), ("zero_point", zero_point), ("scale", scale))
    name, struct = f"dequantize_{SUFFIXES[source.dtype]}_f32", "sordino_dequantize_params"
    return _call(name, "dequantize.h", fields, source, target, struct)


def _curve(model: CModel, operator: COperator, name: str) -> Call:
    source, target = model.tensor(operator, 0), _like(model, operator)
    dtype = one_type(model, operator, source, target)
    if dtype == "float32":
        size = (("size", target.elements),)
        struct = "sordino_curve_f32_params"
        return _call(f"{name}_f32", "activation_f32.h", size, source, target, struct)
    scale, zero_point = quantization(model, operator, source)
    function, affine = _CURVES[name]
    demanded = affine if dtype == "int8" else (1 / 32768, 0)
    if quantization(model, operator, target) != demanded:
        raise model.refusal(
            operator,
            f"its output must have the scale {demanded[0]:g} and the zero point {demanded[1]}",
        )
    try:
        if dtype == "int8":
            return lut(source, target, function(scale, zero_point).astype(np.int64))
        step = curve_scale(name, scale)
    except ValueError as error:
        reason = f"with its input's scale, {scale:g}, TFLM overflows"
        raise model.refusal(operator, reason) from error
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("size", target.elements),
        ("multiplier", step.value),
        ("shift", step.shift),
        ("entries", table(curve_table(), "uint16_t")),
    )
    return _call(f"{name}_s16", "curve_s16.h", fields, source, target, "sordino_curve_s16_params")


def _rescale(
    model: CModel,
    operator: COperator,
    source: CTensor,
    target: CTensor,
    factor: Multiplier,
    limits: tuple[int, int],
) -> Call:
    """Every value times one factor, kept between limits."""
    zero_point = quantization(model, operator, target)[1]
    if source.dtype == "int8":
        value = centred(quantization(model, operator, source)[1])
        return lut(source, target, np.clip(multiplied(value, factor) + zero_point, *limits))
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("size", target.elements),
        ("simple", int(factor.shift in SIMPLE_SHIFTS)),
        ("scale", scale_field(factor)),
        ("zero_point", zero_point),
        ("lowest", limits[0]),
        ("highest", limits[1]),
    )
    name = "rescale_s16" if target.dtype == "int16" else "rescale_s16_s8"
    return _call(name, "rescale.h", fields, source, target, "sordino_rescale_params")


def _clamp(source: CTensor, target: CTensor, limits: tuple[float, float]) -> Call:
    fields = (("size", target.elements), ("lowest", limits[0]), ("highest", limits[1]))
    return _call(f"clamp_{SUFFIXES[target.dtype]}", "clamp.h", fields, source, target)


def _call(
    name: str,
    header: str,
    fields: tuple[tuple[str, FieldValue], ...],
    source: CTensor,
    target: CTensor,
    params: str | None = None,
) -> Call:
    return Call(
        kernel=f"sordino_{name}",
        header=header,
        params=Params(params or f"sordino_{name}_params", fields),
        inputs=(source.index,),
        outputs=(target.index,),
        in_place=(0,) if source.dtype == target.dtype else (),
    )


def _like(model: CModel, operator: COperator) -> CTensor:
    """The output, which has as many elements as the input."""
    source, target = model.tensor(operator, 0), model.output(operator)
    if source.shape != target.shape:
        raise model.refusal(operator, f"it makes {list(target.shape)} of {list(source.shape)}")
    return target
