"""MEAN."""

from __future__ import annotations

from collections.abc import Sequence

from export.c.arithmetic import Multiplier
from export.c.call import Call, FieldValue, Params
from export.c.model import CModel, COperator, CTensor
from export.c.operators.broadcast import AXES, joined_axes, steps_of
from export.c.operators.scales import SUFFIXES, multiplier, one_type, quantization, scale_field

_LARGEST = {"int8": 2 * 255, "int16": 2**16}  # of a sum over the power of two below its count
LARGEST_COUNT = 2**15  # elements of one mean; sums of more int16 might not fit 32 bits


def mean(model: CModel, operator: COperator) -> Call:
    source, target = model.tensor(operator, 0), model.output(operator)
    dtype = one_type(model, operator, source, target)
    axes = _axes(model, operator, source, target)
    count = 1
    for axis in axes:
        count *= source.shape[axis]
    if count > LARGEST_COUNT:
        raise model.refusal(operator, f"it averages {count} values, more than {LARGEST_COUNT}")
    kept = [axis for axis in range(len(source.shape)) if axis not in axes]
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("kept", _walk(model, operator, source, kept)),
        ("reduced", _walk(model, operator, source, axes)),
    )
    if dtype == "float32":
        fields += (("count", float(count)),)
        struct = "sordino_mean_f32_params"
    else:
        scale, zero_point = quantization(model, operator, source)
        output_scale, output_zero_point = quantization(model, operator, target)
        factor = multiplier(model, operator, scale / output_scale, _LARGEST[dtype])
        fields += (
            ("offset", -zero_point * count),
            ("output", scale_field(_divided(factor, count))),
            ("zero_point", output_zero_point),
        )
        struct = "sordino_mean_params"
    return Call(
        kernel=f"sordino_mean_{SUFFIXES[dtype]}",
        header="mean.h",
        params=Params(struct, fields),
        inputs=(source.index,),
        outputs=(target.index,),
    )


def _divided(factor: Multiplier, count: int) -> Multiplier:
    """The factor over the count as TFLM has it: the quotient keeps 31 bits but is not rounded."""
    lifted = min(count.bit_length() - 1, 31 + factor.shift)
    return Multiplier((factor.value << lifted) // count, factor.shift - lifted)


def _axes(model: CModel, operator: COperator, source: CTensor, target: CTensor) -> tuple[int, ...]:
    """The axes averaged over, ascending; raises Refused where the output's shape disagrees."""
    rank = len(source.shape)
    given = [int(axis) for axis in model.constant(operator, 1).reshape(-1)]
    if not all(-rank <= axis < rank for axis in given):
        raise model.refusal(operator, f"it has no axes {given}")
    axes = tuple(sorted({axis % rank for axis in given}))
    if operator.flag("keep_dims"):
        expected = tuple(1 if k in axes else size for k, size in enumerate(source.shape))
    else:
        expected = tuple(size for k, size in enumerate(source.shape) if k not in axes)
    if target.shape != expected:
        raise model.refusal(operator, f"its output has the shape {list(target.shape)}")
    return axes


def _walk(
    model: CModel, operator: COperator, source: CTensor, axes: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Some axes of a tensor as the struct ``sordino_broadcast``."""
    steps = steps_of(source.shape)
    lengths = [source.shape[axis] for axis in axes]
    walked = joined_axes(lengths, [steps[axis] for axis in axes])
    if len(walked) > AXES:
        raise model.refusal(operator, f"a mean over {len(walked)} axes has no kernel")
    walked = [(1, (0,))] * (AXES - len(walked)) + walked
    sizes, firsts = zip(*((size, step[0]) for size, step in walked), strict=True)
    return sizes, firsts, (0,) * AXES
