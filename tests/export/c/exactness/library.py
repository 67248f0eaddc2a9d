"""The kernels compiled once into a shared library, called with parameters packed by ctypes.

The parameter structs are read from the headers, so that what Python derives for a case goes to the
kernel without printing and compiling a model per case. That the generator prints the same values
is for the tests of whole models.
"""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.c.call import Call, Copies, Lowered, Params, Table
from tests.export.c.exactness.files import Array

KERNELS = Path(__file__).resolve().parents[4] / "export" / "c" / "kernels"
EMULATED = Path(__file__).parent / "emulated"  # headers with the Arm intrinsics in plain C
WARNINGS = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wpedantic",
    "-Wno-unused-function",
    "-Werror",
]
FLAVOURS = {
    "plain": [],
    "dsp": ["-D__ARM_FEATURE_DSP=1", "-D__ARM_FEATURE_SAT=1", f"-I{EMULATED}"],
}
GUARD = 64  # bytes of a pattern on both sides of whatever a kernel may write
PATTERN = 0x5A

_TYPES: dict[str, Any] = {
    "int8_t": ctypes.c_int8,
    "uint8_t": ctypes.c_uint8,
    "int16_t": ctypes.c_int16,
    "uint16_t": ctypes.c_uint16,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "float": ctypes.c_float,
}
_STRUCT = re.compile(r"typedef struct(?: \w+)? ?\{([^{}]*)\} ?(sordino_\w+);")
_KERNEL = re.compile(
    r"static inline void (sordino_\w+)\(\s*const (sordino_\w+_params) \*\w+,([^)]*)\)"
)
_FIELD = re.compile(r"^(const )?(\w+)\s*(\*?)\s*(?:const )?(\w+)(?:\[(\w+)\])?$")


@dataclass(frozen=True)
class Kernel:
    params: str
    pointers: int  # after the parameters


class KernelLibrary:
    """All kernels of a folder of headers, in one flavour of :data:`FLAVOURS`."""

    def __init__(
        self,
        built: Path,
        flavour: str = "plain",
        kernels: Path = KERNELS,
        headers: Sequence[str] = (),  # all where none is named
        optimise: str = "-O0",
        extra: Sequence[str] = (),
    ) -> None:
        self.flavour, self._kernels = flavour, kernels
        source = built / f"kernels_{flavour}.c"
        names = sorted(headers or (path.name for path in kernels.glob("*.h")))
        includes = "".join(f'#include "{name}"\n' for name in names)
        source.write_text(includes, encoding="utf-8")
        compiler = ["cc", *WARNINGS, *FLAVOURS[flavour], *extra, f"-I{kernels}"]
        text = " ".join(_run([*compiler, "-E", "-P", str(source)]).split())
        self._structs: dict[str, type[ctypes.Structure]] = {}
        for body, name in _STRUCT.findall(text):
            self._structs[name] = _structure(name, body, self._structs)
        self.kernels = {
            name: Kernel(params, arguments.count("*"))
            for name, params, arguments in _KERNEL.findall(text)
            if all("*" in argument for argument in arguments.split(","))
        }
        source.write_text(includes + self._wrappers(), encoding="utf-8")
        target = source.with_suffix(".so")
        _run([*compiler, optimise, "-shared", "-fPIC", "-o", str(target), str(source)])
        self._library = ctypes.CDLL(str(target))

    def _wrappers(self) -> str:
        """One exported function per kernel: parameters, then an array of pointers."""
        lines = []
        for name, kernel in self.kernels.items():
            passed = "".join(f", t[{index}]" for index in range(kernel.pointers))
            lines.append(f"void call_{name}(const void *p, void **t);")
            lines.append(f"void call_{name}(const void *p, void **t) {{ {name}(p{passed}); }}")
        return "\n".join(lines) + "\n"

    def differs(self, lowered: Lowered) -> bool:
        """Whether a kernel is another one in this flavour than in plain C."""
        steps = lowered if isinstance(lowered, tuple) else (lowered,)
        headers = [step.header for step in steps if isinstance(step, Call)]
        return self.flavour == "plain" or any(
            re.search(f"SORDINO_(NO_)?{self.flavour.upper()}", text_of(self._kernels, header))
            for header in headers
        )

    def run(self, lowered: Lowered, memory: dict[int, Memory]) -> None:
        """Execute what an operator became on the memory of the model's tensors.

        Raises AssertionError where a kernel writes beyond its outputs or its scratch.
        """
        for step in lowered if isinstance(lowered, tuple) else (lowered,):
            if isinstance(step, Copies):
                _copy(step, memory)
            else:
                self.call(step, memory)
        for place in memory.values():
            place.check()

    def call(self, call: Call, memory: dict[int, Memory]) -> None:
        if call.kernel not in self.kernels:
            raise AssertionError(f"no header has {call.kernel}")
        kernel = self.kernels[call.kernel]
        if kernel.params != call.params.ctype:
            raise AssertionError(f"{call.kernel} takes {kernel.params}, not {call.params.ctype}")
        kept: list[Array] = []
        params = self._pack(call.params, kept)
        places = [memory[index] for index in (*call.inputs, *call.outputs)]
        if call.scratch:
            places.append(Memory(call.scratch, 16))
        if len(places) != kernel.pointers:
            raise AssertionError(f"{call.kernel} takes {kernel.pointers} pointers")
        pointers = (ctypes.c_void_p * len(places))(*(place.address for place in places))
        getattr(self._library, f"call_{call.kernel}")(ctypes.byref(params), pointers)
        if call.scratch:
            places[-1].check()

    def _pack(self, params: Params, kept: list[Array]) -> ctypes.Structure:
        packed = self._structs[params.ctype]()
        names = []
        for path, value in params.fields:
            *outer, name = path.split(".")  # a field of a structure inside: "inside.start"
            inner: Any = packed
            for part in outer:
                inner = getattr(inner, part)
            if isinstance(value, Table):
                place = Memory(value.values.nbytes, 16, value.values)
                kept.append(place.whole)
                setattr(inner, name, place.address)
            elif isinstance(value, tuple):
                kind = dict(type(inner)._fields_)[name]
                setattr(inner, name, _filled(kind, list(_flat(value))))
            else:
                setattr(inner, name, value)
                if isinstance(value, int) and getattr(inner, name) != value:
                    raise AssertionError(f"{params.ctype}.{path} does not hold {value}")
            if path.split(".")[0] not in names:
                names.append(path.split(".")[0])
        declared = [field[0] for field in packed._fields_]
        if names != declared:
            raise AssertionError(f"{params.ctype} declares {declared}, not {names}")
        return packed


@functools.cache
def text_of(kernels: Path, header: str) -> str:
    """A header with all that it includes, but for the one that all include."""
    text = (kernels / header).read_text(encoding="utf-8")
    included = set(re.findall(r'#include "(\w+\.h)"', text)) - {"sordino_base.h"}
    return text + "".join(text_of(kernels, name) for name in sorted(included))


class Memory:
    """Bytes between two guards, at an address that is a multiple of ``alignment`` and no more."""

    def __init__(self, size: int, alignment: int, content: Array | None = None) -> None:
        self.whole = np.full(size + 2 * GUARD + 32, PATTERN, np.uint8)
        start = GUARD + (-(self.whole.ctypes.data + GUARD)) % 16
        start += alignment % 16
        self.bytes = self.whole[start : start + size]
        self._start = start
        if content is not None:
            self.bytes[:] = np.frombuffer(np.ascontiguousarray(content).tobytes(), np.uint8)

    @property
    def address(self) -> int:
        return int(self.bytes.ctypes.data)

    def view(self, dtype: str, shape: tuple[int, ...]) -> Array:
        return np.frombuffer(self.bytes.tobytes(), dtype).reshape(shape)

    def check(self) -> None:
        before, after = self.whole[: self._start], self.whole[self._start + self.bytes.size :]
        if not ((before == PATTERN).all() and (after == PATTERN).all()):
            raise AssertionError("a kernel wrote outside of its output")


def _copy(copies: Copies, memory: dict[int, Memory]) -> None:
    for copy in copies.copies:
        source = memory[copy.source].bytes[copy.source_offset :][: copy.size]
        memory[copy.destination].bytes[copy.destination_offset :][: copy.size] = source


def _run(command: Sequence[str]) -> str:
    """Standard output of a compiler; raises RuntimeError with what it complains about."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[:4000])
    return done.stdout


def _flat(value: Any) -> Iterator[Any]:
    """The numbers of a tuple of numbers or tuples, in order."""
    for item in value:
        yield from _flat(item) if isinstance(item, tuple) else (item,)


def _filled(kind: Any, values: list[Any]) -> Any:
    """An array or structure made from as many of ``values``, in order, as it takes."""
    if issubclass(kind, ctypes.Array):
        return kind(*(_filled(kind._type_, values) for _ in range(kind._length_)))
    if issubclass(kind, ctypes.Structure):
        return kind(*(_filled(field[1], values) for field in kind._fields_))
    return values.pop(0)


def _structure(
    name: str, body: str, known: dict[str, type[ctypes.Structure]]
) -> type[ctypes.Structure]:
    """The ctypes structure of a C declaration of numbers, structures, arrays and pointers."""
    fields: list[tuple[str, Any]] = []
    for declaration in filter(None, (part.strip() for part in body.split(";"))):
        first, *others = (part.strip() for part in declaration.split(","))
        found = _FIELD.match(first)
        if found is None:
            raise AssertionError(f"{name}: cannot read {declaration!r}")
        _, kind, star, field, length = found.groups()
        base = ctypes.c_void_p if star else {**_TYPES, **known}[kind]
        for each in (f"{field}[{length}]" if length else field, *others):
            label, _, count = each.rstrip("]").partition("[")
            fields.append((label.strip(), base * int(count) if count else base))
    return type(name, (ctypes.Structure,), {"_fields_": fields})
