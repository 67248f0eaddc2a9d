"""Checks of the .tflite operators that move values, and of reductions along axes."""

from __future__ import annotations

import math
from typing import Final

from runtime.modelfile.refusal import demand
from runtime.modelfile.tflite_tensors import Call, TfliteTensor

MOVABLE: Final = ("float32", "int8", "int16", "int32", "int64")
RESIZABLE: Final = ("float32", "int8", "int16")
MOST_PADDED_RANK: Final = 4


def reshape(call: Call) -> int:
    """To as many elements; a second input or the options may say the shape again."""
    source = _moved(call, call.source())
    demand(
        source.elements == call.result.elements,
        f"makes {call.result.elements} elements of {source.elements}",
    )
    if call.optional(1) is not None:
        stated = call.integers(1)
    else:
        stated = tuple(call.options.get("new_shape", ()))
        demand(bool(stated) or not call.result.shape, "states no shape")
    _check_stated_shape(call, stated, source.elements)
    return call.result.elements


def _check_stated_shape(call: Call, stated: tuple[int, ...], elements: int) -> None:
    """One side may be −1: whatever is left."""
    demand(stated.count(-1) <= 1, "states several sides as unknown")
    known = math.prod(side for side in stated if side != -1)
    demand(known > 0 and elements % known == 0, f"states the shape {list(stated[:8])}")
    call.demand_shape(tuple(elements // known if side == -1 else side for side in stated))


def squeeze(call: Call) -> int:
    """Sides of one are dropped: those that are named, or all."""
    source = _moved(call, call.source())
    rank = len(source.shape)
    named = {call.axis(axis, rank) for axis in call.options["squeeze_dims"]}
    demand(all(source.shape[axis] == 1 for axis in named), "drops a side that is not one")
    dropped = named or {axis for axis, side in enumerate(source.shape) if side == 1}
    call.demand_shape(tuple(s for axis, s in enumerate(source.shape) if axis not in dropped))
    return call.result.elements


def expand_dims(call: Call) -> int:
    """A side of one is put in."""
    source = _moved(call, call.source())
    axis = call.axis(call.integer(1), len(source.shape) + 1)
    call.demand_shape((*source.shape[:axis], 1, *source.shape[axis:]))
    return call.result.elements


def concatenation(call: Call) -> int:
    """Along one axis; all other sides are equal."""
    sources = [call.source(place) for place in range(len(call.inputs))]
    call.demand_types(MOVABLE, *sources, call.result)
    call.demand_per_tensor(*sources, call.result)
    demand(call.options["fused_activation_function"] == 0, "has a fused activation")
    first = sources[0].shape
    axis = call.axis(call.options["axis"], len(first))
    total = 0
    for source in sources:
        demand(len(source.shape) == len(first), "joins tensors of different rank")
        total += source.shape[axis]
        same = source.shape[:axis] == first[:axis] and source.shape[axis + 1 :] == first[axis + 1 :]
        demand(same, f"joins {list(first)} and {list(source.shape)} along axis {axis}")
    call.demand_shape((*first[:axis], total, *first[axis + 1 :]))
    return call.result.elements


def split(call: Call) -> int:
    """Inputs are the axis and what is divided into equal parts."""
    source = _moved(call, call.source(1))
    axis = call.axis(call.integer(0), len(source.shape))
    count = len(call.outputs)
    demand(call.options["num_splits"] == count, f"has {count} outputs and states another number")
    demand(source.shape[axis] % count == 0, f"cannot divide {source.shape[axis]} by {count}")
    _check_parts(call, source, axis, [source.shape[axis] // count] * count)
    return source.elements


def split_v(call: Call) -> int:
    """Inputs are what is divided, the sizes of the parts (one may be −1), and the axis."""
    source = _moved(call, call.source(0))
    axis = call.axis(call.integer(2), len(source.shape))
    sizes = list(call.integers(1))
    demand(len(sizes) == len(call.outputs), f"has {len(sizes)} sizes for its outputs")
    demand(call.options["num_splits"] == len(sizes), "states another number of parts")
    demand(sizes.count(-1) <= 1, "states several sizes as unknown")
    if -1 in sizes:
        sizes[sizes.index(-1)] = source.shape[axis] - sum(size for size in sizes if size != -1)
    demand(
        min(sizes) > 0 and sum(sizes) == source.shape[axis],
        f"divides {source.shape[axis]} into {sizes[:8]}",
    )
    _check_parts(call, source, axis, sizes)
    return source.elements


def _check_parts(call: Call, source: TfliteTensor, axis: int, sizes: list[int]) -> None:
    shape = source.shape
    for size, part in zip(sizes, call.outputs, strict=True):
        call.demand_shape((*shape[:axis], size, *shape[axis + 1 :]), part)


def unpack(call: Call) -> int:
    """One output for each element of an axis."""
    source = _moved(call, call.source())
    axis = call.axis(call.options["axis"], len(source.shape))
    count = source.shape[axis]
    demand(len(call.outputs) == call.options["num"] == count, f"takes {count} elements apart")
    for part in call.outputs:
        call.demand_shape((*source.shape[:axis], *source.shape[axis + 1 :]), part)
    return source.elements


def pack(call: Call) -> int:
    """Inputs of one shape along a new axis."""
    sources = [call.source(place) for place in range(len(call.inputs))]
    call.demand_types(MOVABLE, *sources, call.result)
    call.demand_per_tensor(*sources, call.result)
    shape = sources[0].shape
    demand(all(source.shape == shape for source in sources), "joins tensors of different shape")
    demand(call.options["values_count"] == len(sources), "states another number of inputs")
    axis = call.axis(call.options["axis"], len(shape) + 1)
    call.demand_shape((*shape[:axis], len(sources), *shape[axis:]))
    return call.result.elements


def pad(call: Call) -> int:
    """Paddings are ``[rank, 2]``: how many before and after each side."""
    source = _moved(call, call.source())
    if call.optional(2) is not None:
        value = call.source(2)
        demand(value.elements == 1 and value.dtype == source.dtype, "pads with a wrong value")
    call.demand_shape(_padded(call, source))
    return call.result.elements


def mirror_pad(call: Call) -> int:
    """No more may be mirrored than there is."""
    source = _moved(call, call.source())
    mode = call.options["mode"]
    demand(mode in (0, 1), f"has the mode {mode}")
    call.demand_shape(_padded(call, source))
    pairs = call.integers(1)
    reach = [side - 1 + mode for side in source.shape for _ in range(2)]
    demand(all(p <= r for p, r in zip(pairs, reach, strict=True)), "mirrors more than there is")
    return call.result.elements


def _padded(call: Call, source: TfliteTensor) -> tuple[int, ...]:
    rank, pairs = len(source.shape), call.integers(1)
    demand(rank <= MOST_PADDED_RANK, f"pads {rank} dimensions")
    demand(call.source(1).shape == (rank, 2), "has paddings of a wrong shape")
    demand(all(pair >= 0 for pair in pairs), "has a negative padding")
    return tuple(
        side + pairs[2 * axis] + pairs[2 * axis + 1] for axis, side in enumerate(source.shape)
    )


def strided_slice(call: Call) -> int:
    """From begin to end in strides, an index per axis; a mask's bits say which do not count."""
    source, options = _moved(call, call.source()), call.options
    rank = len(source.shape)
    demand(0 < rank <= MOST_PADDED_RANK, f"slices {rank} dimensions")
    columns = [call.integers(place) for place in (1, 2, 3)]
    demand(all(len(column) == rank for column in columns), "has not one index for each axis")
    unusual = options["ellipsis_mask"] or options["new_axis_mask"] or options["offset"]
    demand(not unusual, "has an ellipsis, a new axis or offsets for ends")
    masks = [options[f"{name}_mask"] for name in ("begin", "end", "shrink_axis")]
    demand(all(0 <= mask < 1 << rank for mask in masks), "has a mask for axes that are not there")
    sides = []
    for axis, side in enumerate(source.shape):
        begin, end, stride = (column[axis] for column in columns)
        from_first, to_last, shrunk = (bool(mask >> axis & 1) for mask in masks)
        demand(stride != 0 and (stride > 0 or not shrunk), f"has the stride {stride}")
        if shrunk:
            demand(-side <= begin < side, f"takes element {begin} of {side}")
            continue
        start, stop = None if from_first else begin, None if to_last else end
        taken = len(range(*slice(start, stop, stride).indices(side)))
        demand(taken > 0, f"takes nothing of axis {axis}, from {begin} to {end} of {side}")
        sides.append(taken)
    call.demand_shape(tuple(sides))
    return call.result.elements


def slice_(call: Call) -> int:
    """Begin and size for each axis; the size −1 takes the rest."""
    source = _moved(call, call.source())
    begins, sizes = call.integers(1), call.integers(2)
    rank = len(source.shape)
    demand(len(begins) == len(sizes) == rank, "has not one index for each axis")
    sides = []
    for begin, size, side in zip(begins, sizes, source.shape, strict=True):
        taken = side - begin if size == -1 else size
        demand(
            0 <= begin < side and 0 < taken <= side - begin, f"takes {size} from {begin} of {side}"
        )
        sides.append(taken)
    call.demand_shape(tuple(sides))
    return call.result.elements


def transpose(call: Call) -> int:
    """The second input is a permutation of the axes."""
    source, order = _moved(call, call.source()), call.integers(1)
    demand(sorted(order) == list(range(len(source.shape))), f"has the order {list(order[:8])}")
    call.demand_shape(tuple(source.shape[axis] for axis in order))
    return call.result.elements


def gather(call: Call) -> int:
    """Elements of one axis by constant indices."""
    source, indices = _moved(call, call.source()), call.integers(1)
    axis = call.axis(call.options["axis"], len(source.shape))
    demand(call.options["batch_dims"] == 0, "gathers by batch")
    side = source.shape[axis]
    demand(all(0 <= index < side for index in indices), f"gathers beyond {side} elements")
    shape = source.shape
    call.demand_shape((*shape[:axis], *call.source(1).shape, *shape[axis + 1 :]))
    return call.result.elements


def depth_to_space(call: Call) -> int:
    """Channels become a block of pixels."""
    source, block = _moved(call, call.source()), _block(call)
    demand(len(source.shape) == 4, "takes tensors of four dimensions")
    batch, height, width, depth = source.shape
    demand(depth % (block * block) == 0, f"makes blocks of {block} from {depth} channels")
    call.demand_shape((batch, height * block, width * block, depth // (block * block)))
    return call.result.elements


def space_to_depth(call: Call) -> int:
    """A block of pixels becomes channels."""
    source, block = _moved(call, call.source()), _block(call)
    demand(len(source.shape) == 4, "takes tensors of four dimensions")
    batch, height, width, depth = source.shape
    demand(height % block == width % block == 0, f"makes blocks of {block} where none fit")
    call.demand_shape((batch, height // block, width // block, depth * block * block))
    return call.result.elements


def _block(call: Call) -> int:
    block: int = call.options["block_size"]
    demand(0 < block <= 256, f"has the block size {block}")
    return block


def resize(call: Call) -> int:
    """To a constant height and width."""
    source, size = call.source(), call.integers(1)
    call.demand_types(RESIZABLE, source, call.result)
    demand(len(source.shape) == 4 and len(size) == 2, "takes four dimensions and two sizes")
    both = call.options["align_corners"] and call.options["half_pixel_centers"]
    demand(not both, "aligns corners and centers alike")
    call.demand_shape((source.shape[0], *size, source.shape[3]))
    return call.result.elements


def reduce(call: Call) -> int:
    """Along the axes of the second input, which stay as sides of one or go."""
    source = call.source()
    call.demand_types(RESIZABLE, source, call.result)
    call.demand_per_tensor(source, call.result)
    rank = len(source.shape)
    axes = {call.axis(axis, rank) for axis in call.integers(1)}
    demand(len(call.source(1).shape) <= 1 and bool(axes), "has no axis to reduce")
    demand(len(call.integers(1)) <= rank, "names an axis twice")
    if source.scales and call.result.scales:
        call.demand_ratio(source.scales[0], call.result.scales[0], 2.0**16)
    keep = call.options["keep_dims"]
    call.demand_shape(
        tuple(
            1 if axis in axes else side
            for axis, side in enumerate(source.shape)
            if keep or axis not in axes
        )
    )
    return source.elements


def _moved(call: Call, source: TfliteTensor) -> TfliteTensor:
    """``source``, which every output repeats in type; int8 and int16 with one scale."""
    call.demand_types(MOVABLE, source, *call.outputs)
    call.demand_per_tensor(source, *call.outputs)
    return source
