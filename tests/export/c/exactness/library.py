"""The kernels compiled once into a shared library, called with parameters packed by ctypes.

The parameter structs are read from the headers, so that what Python derives for a case goes to the
kernel without printing and compiling a model per case. That the generator prints the same values
is for the tests of whole models.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
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
    "dsp": ["-D__ARM_FEATURE_DSP=1", f"-I{EMULATED}"],
    "helium": ["-D__ARM_FEATURE_MVE=1", "-D__ARM_FEATURE_DSP=1", f"-I{EMULATED}"],
}
GUARD = 64  # bytes of a pattern on both sides of whatever a kernel may write
PATTERN = b"\x5a"

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


@dataclass(frozen=True)
class Layout:
    """A parameter struct: its fields' names, and how their numbers become bytes."""

    names: list[str]
    packer: struct.Struct


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
        self.flavour, self._folder = flavour, kernels
        source = built / f"kernels_{flavour}.c"
        names = sorted(headers or (path.name for path in kernels.glob("*.h")))
        includes = "".join(f'#include "{name}"\n' for name in names)
        source.write_text(includes, encoding="utf-8")
        compiler = ["cc", *WARNINGS, *FLAVOURS[flavour], *extra, f"-I{kernels}"]
        text = " ".join(_run([*compiler, "-E", "-P", str(source)]).split())
        self._layouts = _layouts(text)
        self._kernels = {
            name: Kernel(params, arguments.count("*"))
            for name, params, arguments in _KERNEL.findall(text)
            if all("*" in argument for argument in arguments.split(","))
        }
        source.write_text(includes + _wrappers(self._kernels), encoding="utf-8")
        target = source.with_suffix(".so")
        _run([*compiler, optimise, "-shared", "-fPIC", "-o", str(target), str(source)])
        library = ctypes.CDLL(str(target))
        self._functions = {name: library[f"call_{name}"] for name in self._kernels}

    def differs(self, lowered: Lowered) -> bool:
        """Whether a kernel is another one in this flavour than in plain C."""
        steps = lowered if isinstance(lowered, tuple) else (lowered,)
        headers = [step.header for step in steps if isinstance(step, Call)]
        return self.flavour == "plain" or any(
            re.search(f"SORDINO_(NO_)?{self.flavour.upper()}", text_of(self._folder, header))
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
        kernel = self._kernel(call)
        kept, params = self._packed(call.params)
        places = [memory[index] for index in (*call.inputs, *call.outputs)]
        if call.scratch:
            places.append(Memory(call.scratch, 16))
        if len(places) != kernel.pointers:
            raise AssertionError(f"{call.kernel} takes {kernel.pointers} pointers")
        pointers = (ctypes.c_void_p * len(places))(*(place.address for place in places))
        self._functions[call.kernel](params, pointers)
        if call.scratch:
            places[-1].check()
        for place in kept:
            place.check()

    def _kernel(self, call: Call) -> Kernel:
        kernel = self._kernels.get(call.kernel)
        if kernel is None:
            raise AssertionError(f"no header has {call.kernel}")
        if kernel.params != call.params.ctype:
            raise AssertionError(f"{call.kernel} takes {kernel.params}, not {call.params.ctype}")
        return kernel

    def _packed(self, params: Params) -> tuple[list[Memory], bytes]:
        """The struct's bytes, and the tables that it points to."""
        layout = self._layouts[params.ctype]
        names = list(dict.fromkeys(path.split(".")[0] for path, _ in params.fields))
        if names != layout.names:
            raise AssertionError(f"{params.ctype} declares {layout.names}, not {names}")
        kept: list[Memory] = []
        numbers: list[int | float] = []
        for _, value in params.fields:
            if isinstance(value, Table):
                kept.append(Memory(value.values.nbytes, 16, value.values))
                numbers.append(kept[-1].address)
            else:
                numbers.extend(_flat(value) if isinstance(value, tuple) else (value,))
        try:
            return kept, layout.packer.pack(*numbers)
        except struct.error as error:
            raise AssertionError(f"{params.ctype} does not hold {params.fields}") from error


@functools.cache
def text_of(kernels: Path, header: str) -> str:
    """A header with all that it includes, but for the one that all include."""
    text = (kernels / header).read_text(encoding="utf-8")
    included = set(re.findall(r'#include "(\w+\.h)"', text)) - {"sordino_base.h"}
    return text + "".join(text_of(kernels, name) for name in sorted(included))


class Memory:
    """Bytes between two guards, at an address that is a multiple of ``alignment`` and no more."""

    def __init__(self, size: int, alignment: int, content: Array | None = None) -> None:
        self._whole = bytearray(PATTERN * (size + 2 * GUARD + 32))
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._whole))
        self._start = GUARD + (-address - GUARD) % 16 + alignment % 16
        self._end = self._start + size
        self.address = address + self._start
        if content is not None:
            self.write(0, content.tobytes())

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._whole[self._start + offset :][:size])

    def write(self, offset: int, content: bytes) -> None:
        self._whole[self._start + offset : self._start + offset + len(content)] = content

    def view(self, dtype: str, shape: tuple[int, ...]) -> Array:
        return np.frombuffer(self._whole[self._start : self._end], dtype).reshape(shape)

    def check(self) -> None:
        before, after = self._whole[: self._start], self._whole[self._end :]
        if before.count(PATTERN) != len(before) or after.count(PATTERN) != len(after):
            raise AssertionError("a kernel wrote outside of its output")


def _copy(copies: Copies, memory: dict[int, Memory]) -> None:
    for copy in copies.copies:
        moved = memory[copy.source].read(copy.source_offset, copy.size)
        memory[copy.destination].write(copy.destination_offset, moved)


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


def _wrappers(kernels: Mapping[str, Kernel]) -> str:
    """One exported function per kernel: parameters, then an array of pointers."""
    lines = []
    for name, kernel in kernels.items():
        passed = "".join(f", t[{index}]" for index in range(kernel.pointers))
        lines.append(f"void call_{name}(const void *p, void **t);")
        lines.append(f"void call_{name}(const void *p, void **t) {{ {name}(p{passed}); }}")
    return "\n".join(lines) + "\n"


def _layouts(text: str) -> dict[str, Layout]:
    """The layouts of all parameter structs in preprocessed headers."""
    structures: dict[str, type[ctypes.Structure]] = {}
    for body, name in _STRUCT.findall(text):
        structures[name] = _structure(name, body, structures)
    return {name: _layout(kind) for name, kind in structures.items()}


def _leaves(kind: Any) -> str:
    """The numbers and pointers of a C type, in order, as :mod:`struct` names them."""
    if issubclass(kind, ctypes.Array):
        return _leaves(kind._type_) * int(kind._length_)
    if issubclass(kind, ctypes.Structure):
        return "".join(_leaves(field[1]) for field in kind._fields_)
    return str(kind._type_)


def _layout(kind: type[ctypes.Structure]) -> Layout:
    packer = struct.Struct("@" + _leaves(kind))
    if packer.size > ctypes.sizeof(kind):
        raise AssertionError(f"the structures inside {kind.__name__} are aligned in another way")
    return Layout([field[0] for field in kind._fields_], packer)


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
