"""What an operator becomes in C: calls of kernels, or blocks of bytes that move.

One function per TFLite operator, listed in :mod:`export.c.operators.table`, turns an operator of a
:class:`~export.c.model.CModel` into a :class:`Call`, :class:`Copies` or a tuple of calls. It
validates everything, raises :class:`Refused` for what it does not know, and derives every integer
here, in Python: a kernel contains loops and no decisions about quantization.

How a kernel looks (``export/c/kernels/<header>``, see ``sum.h``)::

    typedef struct { int32_t size; float lowest; float highest; } sordino_add_f32_params;

    static inline void sordino_add_f32(const sordino_add_f32_params *p,
                                       const float *left, const float *right, float *out)

that is ``void sordino_<operator>_<type>(const sordino_<operator>_<type>_params *p,
const T *in…, T *out…[, void *scratch])`` with ``type`` one of ``s8``, ``s16`` (activations, weights
int8), ``f32`` or a pair ``s8_s16``. The rules for kernels:

- C99, ``static inline``, no malloc, libm, recursion, or mutable globals; no signed overflow, no
  shift of a negative number; clean under ``-Wall -Wextra -Wconversion -Wpedantic``.
- A pointer is aligned to its element only (a tensor may be a slice of another one, or the
  caller's): wider loads go through ``memcpy`` or intrinsics that take any address.
  Tables of constants are aligned to 16 bytes, ``scratch`` to 8.
- No ``restrict`` on pointers whose memory may be shared (``Call.in_place``). The output never
  overlaps an input otherwise.
- A header starts with an include guard, includes ``"sordino_base.h"`` first and other headers of
  the folder by their names in quotes; the generator pastes what is needed into one file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from targets.errors import InputError

CType = Literal[
    "int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "float"
]

_DTYPES: Mapping[CType, str] = {
    "int8_t": "int8",
    "uint8_t": "uint8",
    "int16_t": "int16",
    "uint16_t": "uint16",
    "int32_t": "int32",
    "uint32_t": "uint32",
    "int64_t": "int64",
    "float": "float32",
}


class Refused(InputError):
    """A model the C generator does not take: names the operator, its output and the reason."""


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array, printed as ``static const <ctype> name[]`` in the order it has here.

    Equal tables are printed once. Raises ValueError when ``values`` are not of this type.
    """

    ctype: CType
    values: npt.NDArray[Any] = field(repr=False)

    def __post_init__(self) -> None:
        if self.values.dtype.name != _DTYPES[self.ctype]:
            raise ValueError(f"a table of {self.ctype} holds {self.values.dtype.name}")
        if self.values.size == 0:
            raise ValueError("a table has no elements")

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)


def table(values: npt.ArrayLike, ctype: CType) -> Table:
    """``values``, flattened in C order, as a table; raises ValueError where one does not fit."""
    given = np.asarray(values)
    converted = np.ascontiguousarray(given).reshape(-1).astype(_DTYPES[ctype])
    if not np.array_equal(converted, given.reshape(-1)):
        raise ValueError(f"values do not fit {ctype}")
    return Table(ctype, converted)


# What a field of a parameter struct may hold: a number, an array or struct inside the struct (of
# arrays or structs as well), or a pointer to a table. A Python float is printed as an exact float.
Nested = tuple[tuple[int, ...], ...]
FieldValue = int | float | tuple[int, ...] | tuple[float, ...] | Nested | Table


@dataclass(frozen=True)
class Params:
    """A ``static const`` struct of the kernel: C type name and fields in order of declaration."""

    ctype: str  # "sordino_add_f32_params"
    fields: tuple[tuple[str, FieldValue], ...]


@dataclass(frozen=True)
class Call:
    """One call of a kernel.

    ``inputs`` and ``outputs`` are indices of the model's tensors in the order of the kernel's
    pointers. A constant among the inputs is printed as a table in the order it is stored in the
    file; weights that a kernel wants in another order belong to ``params`` instead and are not
    inputs. ``in_place`` lists positions in ``inputs`` whose memory the first output may take over:
    the kernel must then have read byte k of that input before it writes byte k of the output.
    """

    kernel: str  # "sordino_add_f32"
    header: str  # "elementwise.h", in export/c/kernels
    params: Params
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scratch: int = 0  # bytes passed as a last void pointer; none is passed where 0
    in_place: tuple[int, ...] = ()
    macs: int = 0  # multiplications of activations with weights
    note: str = ""  # for the comment above the call, e.g. "kernel 2x3, stride 2x2, SAME"


@dataclass(frozen=True)
class Copy:
    """A block of bytes of one tensor that appears unchanged in another."""

    source: int
    destination: int
    size: int
    source_offset: int = 0
    destination_offset: int = 0


@dataclass(frozen=True)
class Copies:
    """An operator that only moves whole blocks, as RESHAPE or a CONCATENATION of outermost axes.

    The planner places tensors inside one another where it can; only what remains is copied.
    Every byte of every output is written by exactly one copy.
    """

    copies: tuple[Copy, ...]
    note: str = ""


Lowered = Call | Copies | tuple[Call, ...]
