"""A tensor of a checked .tflite file, and one operator's view of its tensors."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

from runtime.modelfile.flatbuffer import Span
from runtime.modelfile.refusal import Damaged, demand, shown

LONGEST_INDICES = 1 << 12


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor with a static shape. ``size`` is in bytes, ``scales`` has one entry or one per
    element of ``axis``, ``span`` is where a constant's bytes lie in the file."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int
    span: Span | None
    content: bytes = field(repr=False)

    @property
    def constant(self) -> bool:
        return self.span is not None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Call:
    """What one operator is called with; an absent optional input is None."""

    inputs: tuple[TfliteTensor | None, ...]
    outputs: tuple[TfliteTensor, ...]
    options: dict[str, Any]

    def source(self, place: int = 0) -> TfliteTensor:
        """An input that is not optional. Raises Damaged."""
        tensor = self.inputs[place]
        if tensor is None:
            raise Damaged(f"lacks input {place}")
        return tensor

    def optional(self, place: int) -> TfliteTensor | None:
        return self.inputs[place] if place < len(self.inputs) else None

    @property
    def result(self) -> TfliteTensor:
        return self.outputs[0]

    def integers(self, place: int) -> tuple[int, ...]:
        """The values of an input that must be a constant of integers. Raises Damaged."""
        tensor = self.source(place)
        demand(tensor.dtype in ("int32", "int64"), f"takes {tensor.dtype} for indices")
        if tensor.span is None:
            raise Damaged(f"depends on {shown(tensor.name)}, which is no constant")
        demand(tensor.elements <= LONGEST_INDICES, "has more indices than any model")
        code = "i" if tensor.dtype == "int32" else "q"
        return struct.unpack_from(f"<{tensor.elements}{code}", tensor.content, tensor.span.start)

    def integer(self, place: int) -> int:
        """The one value of such an input."""
        values = self.integers(place)
        demand(len(values) == 1, f"has {len(values)} numbers where one belongs")
        return values[0]

    def axis(self, value: int, rank: int) -> int:
        """``value`` as an axis of ``rank`` dimensions, counted from the front."""
        demand(-rank <= value < rank, f"has the axis {value}, and {rank} dimensions")
        return value % rank

    def demand_shape(self, wanted: tuple[int, ...], tensor: TfliteTensor | None = None) -> None:
        """The output (or ``tensor``) must have this shape."""
        found = tensor or self.result
        demand(
            found.shape == wanted,
            f"gives {shown(found.name)} the shape {list(wanted)}, not {list(found.shape)}",
        )

    def demand_types(self, allowed: tuple[str, ...], *tensors: TfliteTensor) -> None:
        """All of ``tensors`` are of one type, and that is among ``allowed``."""
        kinds = {tensor.dtype for tensor in tensors}
        demand(
            len(kinds) == 1 and kinds <= set(allowed),
            f"takes and gives {' and '.join(sorted(kinds))}",
        )

    def demand_per_tensor(self, *tensors: TfliteTensor) -> None:
        """Each quantized one has exactly one scale."""
        for tensor in tensors:
            if tensor.dtype in ("int8", "int16"):
                demand(
                    len(tensor.scales) == 1,
                    f"needs one scale of {shown(tensor.name)}, which has {len(tensor.scales)}",
                )

    def demand_activation(self) -> None:
        """A fused activation that kernels know: none, ReLU, ReLU from −1 to 1, or ReLU6."""
        value = self.options.get("fused_activation_function", 0)
        demand(0 <= value <= 3, f"has the fused activation {value}")

    def demand_ratio(self, numerator: float, denominator: float, largest: float) -> None:
        """Kernels turn quotients of scales into integer multipliers with bounded shifts."""
        demand(numerator < largest * denominator, "has scales too far apart for integer kernels")
