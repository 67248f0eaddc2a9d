"""Operators that move values and do not change them."""

from __future__ import annotations

from collections.abc import Sequence

from export.c.call import Call, Copies, Copy, Lowered, Params
from export.c.model import CModel, COperator, CTensor
from export.c.operators.moves import (
    View,
    axis_of,
    check_alike,
    gathered,
    move_call,
    scattered,
    strides_of,
    suffix,
    view_fields,
)


def reshape(model: CModel, operator: COperator) -> Lowered:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: the same bytes under another shape."""
    source, target = model.tensor(operator, 0), model.output(operator)
    check_alike(model, operator, source, target)
    if source.elements != target.elements:
        raise model.refusal(operator, f"it makes {list(target.shape)} of {list(source.shape)}")
    return Copies((Copy(source.index, target.index, source.nbytes),))


def concatenation(model: CModel, operator: COperator) -> Lowered:
    """CONCATENATION: every input is a part of the output."""
    target = model.output(operator)
    if operator.activation != "NONE":
        raise model.refusal(operator, f"the fused activation {operator.activation} has no kernel")
    axis = axis_of(model, operator, operator.integer("axis"), len(target.shape))
    parts = [model.tensor(operator, place) for place in range(len(operator.inputs))]
    for part in parts:
        if len(part.shape) != len(target.shape):
            raise model.refusal(operator, f"it joins {list(part.shape)} to {list(target.shape)}")
    return _joined(model, operator, parts, [part.shape for part in parts], axis)


def pack(model: CModel, operator: COperator) -> Lowered:
    """PACK: inputs of equal shape along a new axis."""
    target = model.output(operator)
    axis = axis_of(model, operator, operator.integer("axis"), len(target.shape))
    parts = [model.tensor(operator, place) for place in range(len(operator.inputs))]
    shapes = [(*part.shape[:axis], 1, *part.shape[axis:]) for part in parts]
    return _joined(model, operator, parts, shapes, axis)


def split(model: CModel, operator: COperator) -> Lowered:
    """SPLIT: (axis, value) into equal parts."""
    (axis,) = _vector(model, operator, 0, 1)
    return _parted(model, operator, model.tensor(operator, 1), axis)


def split_v(model: CModel, operator: COperator) -> Lowered:
    """SPLIT_V: (value, sizes, axis); the sizes are those of the outputs."""
    (axis,) = _vector(model, operator, 2, 1)
    return _parted(model, operator, model.tensor(operator, 0), axis)


def unpack(model: CModel, operator: COperator) -> Lowered:
    """UNPACK: one output per index of an axis, without that axis."""
    source = model.tensor(operator, 0)
    axis = axis_of(model, operator, operator.integer("axis"), len(source.shape))
    shape = (*source.shape[:axis], *source.shape[axis + 1 :])
    outputs = [model.tensors[index] for index in operator.outputs]
    if any(output.shape != shape for output in outputs):
        raise model.refusal(operator, f"its outputs do not have the shape {list(shape)}")
    return _parted(model, operator, source, axis, size=1)


def slice_(model: CModel, operator: COperator) -> Lowered:
    """SLICE: a box of the input, from ``begin``, with ``size`` (−1: up to the end)."""
    source, target = model.tensor(operator, 0), model.output(operator)
    begin = _vector(model, operator, 1, len(source.shape))
    size = _vector(model, operator, 2, len(source.shape))
    dims = tuple(
        length - first if count == -1 else count
        for length, first, count in zip(source.shape, begin, size, strict=True)
    )
    for length, first, count in zip(source.shape, begin, dims, strict=True):
        if first < 0 or count < 1 or first + count > length:
            raise model.refusal(operator, f"{count} from {first} of an axis of {length}")
    strides = strides_of(source.shape)
    start = sum(first * stride for first, stride in zip(begin, strides, strict=True))
    return _taken(model, operator, source, View(start, dims, strides), target)


def strided_slice(model: CModel, operator: COperator) -> Lowered:
    """STRIDED_SLICE with begin, end and shrink masks, steps in both directions."""
    source, target = model.tensor(operator, 0), model.output(operator)
    if operator.integer("ellipsis_mask") or operator.integer("new_axis_mask"):
        raise model.refusal(operator, "ellipsis and new axes in a slice have no kernel")
    if operator.flag("offset"):
        raise model.refusal(operator, "ends relative to begins have no kernel")
    rank = len(source.shape)
    begins, ends, steps = (_vector(model, operator, place, rank) for place in (1, 2, 3))
    dims, strides, start = [], [], 0
    for axis, stride in enumerate(strides_of(source.shape)):
        chosen = range(source.shape[axis])[_bounds(operator, axis, begins, ends, steps)]
        if operator.integer("shrink_axis_mask") >> axis & 1:
            chosen = chosen[:1]
        if not chosen:
            raise model.refusal(operator, f"nothing is left of axis {axis}")
        dims.append(len(chosen))
        strides.append(stride * chosen.step)
        start += stride * chosen.start
    view = View(start, tuple(dims), tuple(strides))
    return _taken(model, operator, source, view, target)


def transpose(model: CModel, operator: COperator) -> Lowered:
    """TRANSPOSE by a constant permutation."""
    source, target = model.tensor(operator, 0), model.output(operator)
    order = _vector(model, operator, 1, len(source.shape))
    if sorted(order) != list(range(len(source.shape))):
        raise model.refusal(operator, f"{list(order)} is no permutation")
    strides = strides_of(source.shape)
    dims = tuple(source.shape[axis] for axis in order)
    view = View(0, dims, tuple(strides[axis] for axis in order))
    return _taken(model, operator, source, view, target)


def pad(model: CModel, operator: COperator) -> Lowered:
    """PAD with real zeros: the zero point at int8 and int16, 0.0 in float32."""
    source, target = model.tensor(operator, 0), model.output(operator)
    check_alike(model, operator, source, target)
    rank = len(source.shape)
    pads = model.constant(operator, 1)
    if pads.shape != (rank, 2) or pads.min() < 0:
        raise model.refusal(operator, f"{pads.tolist()} pads no tensor with {rank} axes")
    before = [int(count) for count in pads[:, 0]]
    sizes = zip(source.shape, pads.sum(axis=1).tolist(), strict=True)
    if target.shape != tuple(size + count for size, count in sizes):
        raise model.refusal(operator, f"it pads {list(source.shape)} to {list(target.shape)}")
    strides = strides_of(target.shape)
    start = sum(count * stride for count, stride in zip(before, strides, strict=True))
    inside = view_fields(model, operator, View(start, source.shape, strides))
    zero = target.zero_points[0] if target.zero_points else 0
    return Call(
        kernel=f"sordino_pad_{suffix(model, operator, source)}",
        header="move.h",
        params=Params(
            "sordino_pad_params",
            (
                ("size", target.elements),
                ("value", zero),
                *((f"inside.{key}", value) for key, value in inside),
            ),
        ),
        inputs=(source.index,),
        outputs=(target.index,),
    )


def _joined(
    model: CModel,
    operator: COperator,
    parts: Sequence[CTensor],
    shapes: Sequence[tuple[int, ...]],
    axis: int,
) -> Lowered:
    """Parts, seen with ``shapes``, side by side along an axis of the output."""
    target = model.output(operator)
    strides = strides_of(target.shape)
    views, begin = [], 0
    for part, shape in zip(parts, shapes, strict=True):
        check_alike(model, operator, part, target)
        if (*shape[:axis], *shape[axis + 1 :]) != (
            *target.shape[:axis],
            *target.shape[axis + 1 :],
        ):
            raise model.refusal(operator, f"it joins {list(part.shape)} to {list(target.shape)}")
        views.append(View(begin * strides[axis], shape, strides))
        begin += shape[axis]
    if begin != target.shape[axis]:
        raise model.refusal(operator, f"its parts fill {begin} of {target.shape[axis]}")
    copies = [scattered(part, view, target) for part, view in zip(parts, views, strict=True)]
    found = [copy for copy in copies if copy is not None]
    if len(found) == len(copies):
        return Copies(tuple(found))
    return tuple(
        move_call(model, operator, "scatter", part, view, target)
        for part, view in zip(parts, views, strict=True)
    )


def _parted(
    model: CModel, operator: COperator, source: CTensor, axis: int, size: int | None = None
) -> Lowered:
    """The outputs side by side along an axis of the input, ``size`` each or as they are."""
    axis = axis_of(model, operator, axis, len(source.shape))
    strides = strides_of(source.shape)
    outputs = [model.tensors[index] for index in operator.outputs]
    views, begin = [], 0
    for output in outputs:
        count = output.shape[axis] if size is None and axis < len(output.shape) else size or 1
        shape = (*source.shape[:axis], count, *source.shape[axis + 1 :])
        if size is None and output.shape != shape:
            raise model.refusal(
                operator, f"it takes {list(output.shape)} from {list(source.shape)}"
            )
        views.append(View(begin * strides[axis], shape, strides))
        begin += count
    if begin != source.shape[axis]:
        raise model.refusal(operator, f"its parts are {begin} of {source.shape[axis]}")
    return _read(model, operator, source, views, outputs)


def _taken(
    model: CModel, operator: COperator, source: CTensor, view: View, target: CTensor
) -> Lowered:
    """One view of the input; axes of one element may be missing in the output."""
    if [dim for dim in view.dims if dim > 1] != [dim for dim in target.shape if dim > 1]:
        raise model.refusal(
            operator, f"it takes {list(view.dims)}, and its output is {list(target.shape)}"
        )
    return _read(model, operator, source, [view], [target])


def _read(
    model: CModel,
    operator: COperator,
    source: CTensor,
    views: Sequence[View],
    outputs: Sequence[CTensor],
) -> Lowered:
    for output in outputs:
        check_alike(model, operator, source, output)
    pairs = list(zip(views, outputs, strict=True))
    copies = [gathered(source, view, output) for view, output in pairs]
    found = [copy for copy in copies if copy is not None]
    if len(found) == len(copies):
        return Copies(tuple(found))
    return tuple(
        move_call(model, operator, "gather", source, view, output) for view, output in pairs
    )


def _vector(model: CModel, operator: COperator, position: int, length: int) -> tuple[int, ...]:
    values = model.constant(operator, position)
    if values.size != length or not values.dtype.name.startswith("int"):
        raise model.refusal(operator, f"input {position} has {values.size} values, not {length}")
    return tuple(int(value) for value in values.reshape(-1))


def _bounds(
    operator: COperator,
    axis: int,
    begins: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int],
) -> slice:
    """The slice of an axis, with Python's meaning of negative and missing bounds."""
    begin = None if operator.integer("begin_mask") >> axis & 1 else begins[axis]
    end = None if operator.integer("end_mask") >> axis & 1 else ends[axis]
    if operator.integer("shrink_axis_mask") >> axis & 1:
        return slice(begins[axis], None, 1)
    return slice(begin, end, steps[axis])
