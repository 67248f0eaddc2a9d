"""A tensor seen as part of another one, or in another order, and what moving it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from export.c.call import Call, Copy, FieldValue, Params
from export.c.model import CModel, COperator, CTensor

_RANK = 5  # loops of the kernels in move.h
SUFFIXES = {"int8": "s8", "int16": "s16", "float32": "f32"}


@dataclass(frozen=True)
class View:
    """Elements of a tensor: index i lies at ``start`` + Σ i[k] · ``strides[k]``."""

    start: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]

    def simplified(self) -> View:
        """The same elements in the same order with as few dimensions as possible."""
        dims: list[int] = []
        strides: list[int] = []
        for dim, stride in zip(self.dims, self.strides, strict=True):
            if dim == 1:
                continue
            if dims and strides[-1] == stride * dim:
                dims[-1], strides[-1] = dims[-1] * dim, stride
            else:
                dims.append(dim)
                strides.append(stride)
        return View(self.start, tuple(dims), tuple(strides))

    @property
    def block(self) -> bool:
        """Whether the elements lie side by side."""
        return self.simplified().strides in ((), (1,))


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements from one index to the next, per dimension of a tensor in C order."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def whole(shape: tuple[int, ...]) -> View:
    return View(0, shape, strides_of(shape))


def gathered(source: CTensor, view: View, destination: CTensor) -> Copy | None:
    """The copy that reads a view, None where it is not one block."""
    size = destination.nbytes
    start = view.start * itemsize(source)
    return Copy(source.index, destination.index, size, start) if view.block else None


def scattered(source: CTensor, view: View, destination: CTensor) -> Copy | None:
    """The copy that writes a view, None where it is not one block."""
    start = view.start * itemsize(source)
    copy = Copy(source.index, destination.index, source.nbytes, 0, start)
    return copy if view.block else None


def move_call(
    model: CModel, operator: COperator, kind: str, source: CTensor, view: View, target: CTensor
) -> Call:
    """A call of ``sordino_gather`` (``view`` of source) or ``sordino_scatter`` (of target)."""
    return Call(
        kernel=f"sordino_{kind}_{suffix(model, operator, source)}",
        header="move.h",
        params=Params("sordino_move_params", view_fields(model, operator, view)),
        inputs=(source.index,),
        outputs=(target.index,),
    )


def view_fields(
    model: CModel, operator: COperator, view: View
) -> tuple[tuple[str, FieldValue], ...]:
    """``sordino_move_params`` of a view."""
    simple = view.simplified()
    missing = _RANK - len(simple.dims)
    if missing < 0:
        raise model.refusal(operator, f"it moves values along {len(simple.dims)} axes at once")
    dims: tuple[int, ...] = (1,) * missing + simple.dims
    strides: tuple[int, ...] = (1,) * missing + simple.strides
    return (("start", simple.start), ("dims", dims), ("strides", strides))


def suffix(model: CModel, operator: COperator, tensor: CTensor) -> str:
    """The kernel's type suffix; raises Refused for a type without one."""
    if tensor.dtype not in SUFFIXES:
        raise model.refusal(operator, f"no kernel moves {tensor.dtype}")
    return SUFFIXES[tensor.dtype]


def itemsize(tensor: CTensor) -> int:
    return np.dtype(tensor.dtype).itemsize


def check_alike(model: CModel, operator: COperator, source: CTensor, target: CTensor) -> None:
    """Values move unchanged, so both tensors must give them the same meaning."""
    suffix(model, operator, source)
    if source.dtype != target.dtype:
        raise model.refusal(operator, f"it turns {source.dtype} into {target.dtype}")
    if source.scales != target.scales or source.zero_points != target.zero_points:
        raise model.refusal(
            operator,
            f"{source.name!r} and {target.name!r} have different scales, and it moves values as "
            "they are",
            hint="Give both the same scale and zero point, or put a QUANTIZE between them.",
        )


def axis_of(model: CModel, operator: COperator, axis: int, rank: int) -> int:
    """An axis counted from the front; raises Refused for one the tensor does not have."""
    if not -rank <= axis < rank:
        raise model.refusal(operator, f"axis {axis} of a tensor with {rank} axes")
    return axis % rank
