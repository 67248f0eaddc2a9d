"""Where a convolution's windows lie: sizes, strides and padding, checked against the tensors."""

from __future__ import annotations

from dataclasses import dataclass

from export.c.call import Table, table
from export.c.model import CModel, COperator, CTensor


@dataclass(frozen=True)
class Axis:
    """One spatial axis: windows of ``taps`` values, ``dilation`` apart, every ``stride``."""

    size: int
    result: int
    taps: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0  # before the first value

    @property
    def reach(self) -> int:
        return (self.taps - 1) * self.dilation + 1

    @property
    def padded(self) -> bool:
        """Some window sticks out of the input."""
        return self.pad > 0 or (self.result - 1) * self.stride - self.pad + self.reach > self.size


@dataclass(frozen=True)
class Placement:
    """Where the first output position is written, and how far the next ones are, in values."""

    start: int
    image: int
    line: int
    step: int


@dataclass(frozen=True)
class Windows:
    """All windows of one convolution; ``depth`` and ``filters`` are those of one group."""

    batches: int
    height: Axis
    width: Axis
    channels: int  # of the input
    depth: int
    filters: int
    placement: Placement

    @property
    def groups(self) -> int:
        return self.channels // self.depth

    @property
    def length(self) -> int:
        """Values of a window."""
        return self.height.taps * self.width.taps * self.depth

    @property
    def positions(self) -> int:
        return self.batches * self.height.result * self.width.result

    @property
    def joined(self) -> bool:
        """The values of a kernel row are neighbours in memory."""
        return self.groups == 1 and self.width.dilation == 1

    @property
    def contiguous(self) -> bool:
        """A window inside the input is one piece of memory."""
        if self.height.taps == 1:
            return self.joined or self.width.taps == 1
        full = self.height.dilation == 1 and self.width.taps == self.width.size
        return self.joined and full

    @property
    def whole(self) -> bool:
        """Every window is a whole image, in one piece, and one position follows another."""
        size = self.height.size * self.width.size * self.channels
        once = self.positions == self.batches and self.length == size and not self.gathers
        return once and (self.placement.start, self.placement.image) == (0, self.filters)

    @property
    def gathers(self) -> bool:
        """Some window has to be put together."""
        return not self.contiguous or self.height.padded or self.width.padded

    def record(self, fill: int, *, by_taps: bool = False) -> Table:
        """``sordino_conv_windows``; ``fill`` is the byte that stands for zero.

        A kernel that goes ``by_taps`` takes every window inside the input where it lies.
        """
        values = {
            "batches": self.batches,
            "input_height": self.height.size,
            "input_width": self.width.size,
            "input_channels": self.channels,
            "kernel_height": self.height.taps,
            "kernel_width": self.width.taps,
            "stride_height": self.height.stride,
            "stride_width": self.width.stride,
            "dilation_height": self.height.dilation,
            "dilation_width": self.width.dilation,
            "pad_top": self.height.pad,
            "pad_left": self.width.pad,
            "groups": self.groups,
            "depth": self.depth,
            "filters": self.filters,
            "length": self.length,
            "joined": int(self.joined),
            "contiguous": int(by_taps or self.contiguous),
            "fill": fill,
            "output_height": self.height.result,
            "output_width": self.width.result,
            "output_start": self.placement.start,
            "output_image": self.placement.image,
            "output_line": self.placement.line,
            "output_step": self.placement.step,
        }
        return table(list(values.values()), "int32_t")

    def note(self, operator: COperator) -> str:
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return (
            f"kernel {self.height.taps}x{self.width.taps}, "
            f"stride {self.height.stride}x{self.width.stride}, {operator.padding}{groups}"
        )


def axis_of(
    model: CModel, operator: COperator, letter: str, size: int, taps: int, result: int
) -> Axis:
    """One axis (``letter`` "h" or "w") with TFLite's padding; refuses a result that differs."""
    stride = operator.integer(f"stride_{letter}", 1)
    dilation = operator.integer(f"dilation_{letter}_factor", 1)
    if min(stride, dilation) < 1:
        raise model.refusal(operator, f"stride {stride} or dilation {dilation} is not positive")
    reach = (taps - 1) * dilation + 1
    if operator.padding == "SAME":
        expected = -(-size // stride)
        pad = max((expected - 1) * stride + reach - size, 0) // 2
    elif operator.padding == "VALID":
        expected, pad = (size - reach) // stride + 1, 0
    else:
        raise model.refusal(operator, f"the padding {operator.padding} is unknown")
    if expected != result:
        raise model.refusal(operator, f"it writes {result} values along an axis of {expected}")
    return Axis(size, result, taps, stride, dilation, pad)


def conv_windows(model: CModel, operator: COperator, source: CTensor, weight: CTensor) -> Windows:
    """The windows of CONV_2D with weight ``[out, height, width, in / groups]``."""
    target = model.output(operator)
    check_ranks(model, operator, source, weight, target)
    filters, rows, columns, depth = weight.shape
    batches, height, width, channels = source.shape
    if channels % depth or filters % (channels // depth):
        raise model.refusal(operator, f"{channels} channels do not split into groups of {depth}")
    check_result(model, operator, batches, filters)
    return Windows(
        batches,
        axis_of(model, operator, "h", height, rows, target.shape[1]),
        axis_of(model, operator, "w", width, columns, target.shape[2]),
        channels,
        depth,
        filters * depth // channels,
        row_major(target),
    )


def row_major(target: CTensor) -> Placement:
    """Positions in the order of a rank 4 tensor."""
    _, height, width, channels = target.shape
    return Placement(0, height * width * channels, width * channels, channels)


def check_ranks(model: CModel, operator: COperator, *tensors: CTensor) -> None:
    for tensor in tensors:
        if len(tensor.shape) != 4:
            raise model.refusal(operator, f"{tensor.name!r} has the shape {list(tensor.shape)}")


def check_result(model: CModel, operator: COperator, batches: int, channels: int) -> None:
    """The output has this many images and channels."""
    shape = model.output(operator).shape
    if (shape[0], shape[3]) != (batches, channels):
        raise model.refusal(operator, f"its output has the shape {list(shape)}")
