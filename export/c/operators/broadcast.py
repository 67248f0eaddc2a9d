"""How two inputs that broadcast are walked through: the C struct ``sordino_broadcast``."""

from __future__ import annotations

from export.c.call import FieldValue, Nested
from export.c.model import CModel, COperator, CTensor

AXES = 4  # of the struct
Field = tuple[str, FieldValue]


def broadcast_field(model: CModel, operator: COperator, first: CTensor, second: CTensor) -> Nested:
    """The struct ``sordino_broadcast``: sizes, steps of ``first``, steps of ``second``.

    Raises Refused where the shapes do not broadcast to the output's or need more than four axes.
    """
    target = model.output(operator)
    rank = max(len(first.shape), len(second.shape), 1)
    shapes = [(1,) * (rank - len(tensor.shape)) + tensor.shape for tensor in (first, second)]
    result = []
    for left, right in zip(*shapes, strict=True):
        if left != right and 1 not in (left, right):
            reason = f"shapes {list(first.shape)} and {list(second.shape)} do not broadcast"
            raise model.refusal(operator, reason)
        result.append(max(left, right))
    if tuple(result) != (1,) * (rank - len(target.shape)) + target.shape:
        raise model.refusal(operator, f"the output has the shape {list(target.shape)}")
    axes = joined_axes(result, *(steps_of(shape) for shape in shapes))
    if len(axes) > AXES:
        raise model.refusal(operator, f"broadcasting over {len(axes)} axes has no kernel")
    axes = [(1, (0, 0))] * (AXES - len(axes)) + axes
    sizes = [size for size, _ in axes]
    firsts, seconds = ([steps[k] for _, steps in axes] for k in (0, 1))
    return tuple(sizes), tuple(firsts), tuple(seconds)


def joined_axes(sizes: list[int], *steps: list[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Axes of size 1 left out, and axes joined that lie behind one another in all tensors."""
    axes: list[tuple[int, tuple[int, ...]]] = []
    for size, *found in zip(sizes, *steps, strict=True):
        if size == 1:
            continue
        inner = tuple(found)
        if axes and axes[-1][1] == tuple(size * step for step in inner):
            axes[-1] = (axes[-1][0] * size, inner)
        else:
            axes.append((size, inner))
    return axes or [(1, (1,) * len(steps))]


def steps_of(shape: tuple[int, ...]) -> list[int]:
    """Elements from one index to the next along each axis; 0 along one of size 1."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step if size > 1 else 0)
        step *= size
    return steps[::-1]
