"""How a torch tensor of any rank lies in a step graph's tensor ``[1, a, b, c]``.

Only the order of torch's axes in memory matters: axes of size 1 are nowhere, and neighbours may
share one axis of the step graph. So permuting, squeezing and most reshaping cost nothing; values
are moved when an operator needs them in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from export.importing.refusals import Unfit
from export.step_graph import Shape, Tensor

CHANNELS_LAST = (0, 2, 3, 1)
AXES = 3  # of a step graph's tensor beside the leading one, which belongs to streams

Groups = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Value:
    """``tensor`` holds a torch tensor of ``shape`` whose axes lie in memory in ``order``,
    outermost first.

    ``wide`` is the shape that torch sees; it is larger than ``shape`` along expanded axes, whose
    copies do not exist yet.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    order: tuple[int, ...]
    wide: tuple[int, ...]

    @property
    def solid(self) -> bool:
        return self.wide == self.shape

    @property
    def filled(self) -> tuple[int, ...]:
        """Axes longer than 1, in the order of memory."""
        return tuple(axis for axis in self.order if self.shape[axis] > 1)

    def axes(self) -> list[list[int]] | None:
        """Which of torch's axes each axis of the tensor holds; None where one is cut in two."""
        return grouped(self.tensor.shape, self.filled, self.shape)

    def permuted(self, order: Sequence[int]) -> Value:
        """Axis ``k`` becomes axis ``order[k]`` of this."""
        place = {axis: new for new, axis in enumerate(order)}
        return Value(
            self.tensor,
            tuple(self.shape[axis] for axis in order),
            tuple(place[axis] for axis in self.order),
            tuple(self.wide[axis] for axis in order),
        )

    def unsqueezed(self, axis: int) -> Value:
        """A new axis of size 1 before ``axis``."""
        shifted = [old + (old >= axis) for old in self.order]
        shape = (*self.shape[:axis], 1, *self.shape[axis:])
        wide = (*self.wide[:axis], 1, *self.wide[axis:])
        return Value(self.tensor, shape, with_single(shifted, axis, len(shape)), wide)

    def squeezed(self, axis: int) -> Value:
        """Without an axis of size 1."""
        kept = [old - (old > axis) for old in self.order if old != axis]
        shape = (*self.shape[:axis], *self.shape[axis + 1 :])
        wide = (*self.wide[:axis], *self.wide[axis + 1 :])
        return Value(self.tensor, shape, tuple(kept), wide)

    def raised(self, rank: int) -> Value:
        """With axes of size 1 in front, as broadcasting adds them."""
        value = self
        while len(value.shape) < rank:
            value = value.unsqueezed(0)
        return value

    def expanded(self, wide: Sequence[int]) -> Value:
        return replace(self, wide=tuple(wide))


def laid_out(tensor: Tensor, shape: Sequence[int], order: Sequence[int]) -> Value:
    """A value that is as large as torch sees it."""
    return Value(tensor, tuple(shape), tuple(order), tuple(shape))


def preferred(rank: int) -> tuple[int, ...]:
    """The order where nothing else decides: channels last for images, torch's own otherwise."""
    return CHANNELS_LAST if rank == 4 else tuple(range(rank))


def with_single(order: Sequence[int], axis: int, rank: int) -> tuple[int, ...]:
    """``order`` with one more axis, as near to the preferred order as it can be."""
    before = set(preferred(rank)[: preferred(rank).index(axis)])
    place = max((index + 1 for index, one in enumerate(order) if one in before), default=0)
    return (*order[:place], axis, *order[place:])


def completed(filled: Sequence[int], rank: int) -> tuple[int, ...]:
    """An order of all axes from that of those longer than 1."""
    order = tuple(filled)
    for axis in range(rank):
        if axis not in order:
            order = with_single(order, axis, rank)
    return order


def grouped(
    shape: Sequence[int], filled: Sequence[int], sizes: Sequence[int]
) -> list[list[int]] | None:
    """``filled`` axes of these ``sizes``, shared out over axes of ``shape``."""
    rest = list(filled)
    result: list[list[int]] = []
    for size in shape:
        mine: list[int] = []
        while prod(sizes[axis] for axis in mine) < size and rest:
            mine.append(rest.pop(0))
        if prod(sizes[axis] for axis in mine) != size:
            return None
        result.append(mine)
    return None if rest else result


def packed(groups: Groups, sizes: Sequence[int]) -> Shape:
    """The shape of a tensor whose last axes hold ``groups``; the others have size 1."""
    if len(groups) > AXES:
        raise Unfit(
            f"it needs a tensor of {len(groups)} axes at once, and the step graph has {AXES}",
            "Merge axes, or handle fewer of them at a time.",
        )
    lengths = [prod(sizes[axis] for axis in group) for group in groups]
    one, two, three = [1] * (AXES - len(lengths)) + lengths
    return 1, one, two, three


def around(filled: Sequence[int], axis: int) -> tuple[list[list[int]], int]:
    """Groups of ``filled`` axes in which ``axis`` is alone, and its place in the tensor."""
    at = filled.index(axis)
    before, after = [[one] for one in filled[:at]], [[one] for one in filled[at + 1 :]]
    while len(before) + 1 + len(after) > AXES:
        crowded = before if len(before) > 1 else after
        crowded[0:2] = [crowded[0] + crowded[1]]
    return [*before, [axis], *after], AXES - len(after)


def runs(current: Sequence[int], wanted: Sequence[int]) -> list[list[int]]:
    """``current`` cut into pieces that stay together in ``wanted``."""
    pieces: list[list[int]] = []
    for axis in current:
        index = wanted.index(axis)
        if pieces and index and wanted[index - 1] == pieces[-1][-1]:
            pieces[-1].append(axis)
        else:
            pieces.append([axis])
    return pieces


def blocks(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The axes of two shapes of one size, paired where their products meet; none of size 1."""
    ins = [axis for axis, size in enumerate(before) if size > 1]
    outs = [axis for axis, size in enumerate(after) if size > 1]
    found = []
    while ins:
        mine, theirs = [ins.pop(0)], [outs.pop(0)]
        left, right = before[mine[0]], after[theirs[0]]
        while left != right:
            if left < right:
                mine.append(ins.pop(0))
                left *= before[mine[-1]]
            else:
                theirs.append(outs.pop(0))
                right *= after[theirs[-1]]
        found.append((mine, theirs))
    return found
