"""Generated C, compiled for this machine with its own compiler and called through ctypes."""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.artefact import Artefact, StateSpec, TensorSpec, source_files
from runtime.devices.children import run_tool
from runtime.engines import Array, EngineMissing, Port
from runtime.generated_c import model_name, network_files
from targets.errors import GateUnavailable, InputError

COMPILERS = ("cc", "gcc", "clang")
# Without fused multiply-add floats round as on a core that has none.
FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
STRICT = ("-Werror=incompatible-pointer-types", "-Werror=implicit-function-declaration")
COMPILE_SECONDS = 300.0
C_TYPES = {"int8": "int8_t", "int16": "int16_t", "float32": "float"}
_SHIM = "sordino_native_shim.c"  # no generated file is called so


class NativeEngine:
    """Runs the C of a step model (``NAME.c``, ``NAME.h`` and further headers).

    ``inputs``, ``outputs`` and ``states`` say what the model has, in the order of the file it was
    generated from. The states of a call are written into the struct before the step and read from
    it afterwards, so that ``run`` keeps none. Raises EngineMissing without a C compiler, InputError
    for sources that do not compile or have other inputs, outputs or states.
    """

    name = "native"

    def __init__(
        self,
        sources: Mapping[str, bytes],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        states: Sequence[StateSpec],
    ) -> None:
        self.inputs = tuple(_port(spec) for spec in inputs)
        self.outputs = tuple(_port(spec) for spec in outputs)
        before = {state.input: state.output for state in states}
        places = {port.name: place for place, port in enumerate(self.outputs)}
        self._fed = [i for i, port in enumerate(self.inputs) if port.name not in before]
        self._held = [i for i, port in enumerate(self.inputs) if port.name in before]
        try:
            self._left = [places[before[str(self.inputs[i].name)]] for i in self._held]
        except KeyError as error:
            raise _other(f"no output is called {error}") from error
        self._given = [i for i in range(len(self.outputs)) if i not in self._left]
        if len(self._held) != len(states):
            raise _other("a state belongs to no input")
        shim = _shim(
            sources,
            [self.inputs[i] for i in self._fed],
            [self.outputs[i] for i in self._given],
            [self.inputs[i] for i in self._held],
        )
        step = {name: sources[name] for name in network_files(sources)}
        self._library = compiled(step, shim)
        self._library.native_size.restype = ctypes.c_size_t
        self._library.native_state.restype = ctypes.c_void_p
        # Words, so that the struct is aligned as its 64-bit member asks.
        self._memory = (ctypes.c_int64 * (-(-self._library.native_size() // 8)))()
        self._library.native_init(self._memory)
        self._states = [
            _array(self._library.native_state(self._memory, number), self.inputs[i])
            for number, i in enumerate(self._held)
        ]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        for state, place in zip(self._states, self._held, strict=True):
            state[...] = inputs[place]
        fed = [np.ascontiguousarray(inputs[i], self.inputs[i].dtype) for i in self._fed]
        results = {i: np.empty(self.outputs[i].shape, self.outputs[i].dtype) for i in self._given}
        for place, value in zip(self._fed, fed, strict=True):
            if value.shape != self.inputs[place].shape:
                raise ValueError(f"input {place} has the shape {value.shape}")
        self._library.native_step(self._memory, _pointers(fed), _pointers(list(results.values())))
        for state, place in zip(self._states, self._left, strict=True):
            results[place] = state.copy()
        return [results[place] for place in range(len(self.outputs))]

    def reset(self) -> list[Array]:
        """The states after a call of the model's own reset, in the order of the inputs."""
        self._library.native_reset(self._memory)
        return [state.copy() for state in self._states]


def open_native(artefact: Artefact) -> NativeEngine:
    """The engine of a C artefact; the sources are those its sidecar lists."""
    sidecar = artefact.sidecar
    return NativeEngine(source_files(artefact), sidecar.inputs, sidecar.outputs, sidecar.states)


def find_compiler() -> str | None:
    """Path of the C compiler of this machine, None where there is none."""
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def _port(spec: TensorSpec) -> Port:
    return Port(spec.name, spec.shape, spec.dtype)


def _array(address: int, port: Port) -> Array:
    """The values of a state where the struct has them."""
    size = math.prod(port.shape) * np.dtype(port.dtype).itemsize
    raw = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memoryview(raw), port.dtype).reshape(port.shape)


def _pointers(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


def _shim(
    sources: Mapping[str, bytes],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    states: Sequence[Port],
) -> str:
    """C that gives the functions of a model names and types that do not depend on it.

    It does not compile where the header declares other tensors than these.
    """
    name, header = _header(sources)
    step = re.search(rf"void {name}_step\({name}_t \*m(?:, ([^)]*))?\);", header)
    if step is None:
        raise _other(f"{name}.h declares no {name}_step")
    macro = name.upper()
    labels = re.findall(rf"\w+\[({macro}_\w+)\]", step[1] or "")
    held = re.findall(rf"\w+ \*{name}_state_(\w+)\({name}_t \*m\);", header)
    ports = [*inputs, *outputs]
    if len(labels) != len(ports) or len(held) != len(states):
        raise _other(
            f"{len(labels)} arguments and {len(held)} states, not {len(ports)} and {len(states)}"
        )
    labels += [f"{macro}_STATE_{label.upper()}" for label in held]
    checks = [
        f"typedef char check_{number}[{label} == {math.prod(port.shape)} ? 1 : -1];"
        for number, (label, port) in enumerate(zip(labels, (*ports, *states), strict=True))
    ]
    values = [f"    const {_c(port)} *in{i} = in[{i}];" for i, port in enumerate(inputs)]
    values += [f"    {_c(port)} *out{i} = out[{i}];" for i, port in enumerate(outputs)]
    arguments = [f"in{i}" for i in range(len(inputs))] + [f"out{i}" for i in range(len(outputs))]
    cases = [
        f"    if (number == {i}) {{ {_c(port)} *state = {name}_state_{label}(m); return state; }}"
        for i, (label, port) in enumerate(zip(held, states, strict=True))
    ]
    return "\n".join(
        [
            f'#include "{name}.h"',
            "#include <stddef.h>",
            *checks,
            f"size_t native_size(void) {{ return sizeof({name}_t); }}",
            f"void native_init({name}_t *m) {{ {name}_init(m); }}",
            f"void native_reset({name}_t *m) {{ {name}_reset(m); }}",
            f"void *native_state({name}_t *m, int number)",
            "{",
            *cases,
            "    (void)m, (void)number;",
            "    return NULL;",
            "}",
            f"void native_step({name}_t *m, void *const *in, void *const *out)",
            "{",
            *values,
            "    (void)in, (void)out;",
            f"    {name}_step({', '.join(['m', *arguments])});",
            "}",
            "",
        ]
    )


def _c(port: Port) -> str:
    return C_TYPES[port.dtype]


def _header(sources: Mapping[str, bytes]) -> tuple[str, str]:
    """Name of the model and text of its header."""
    name = model_name(sources)
    return name, sources[f"{name}.h"].decode(errors="replace")


def compiled(sources: Mapping[str, bytes], shim: str, definitions: Sequence[str] = ()) -> Any:
    """The shared library of all ``sources`` and a ``shim``, loaded; its file is gone.

    ``definitions`` are macros to define in every file.

    Raises EngineMissing without a compiler, InputError for sources that do not compile.
    """
    compiler = find_compiler()
    if compiler is None:
        raise EngineMissing(
            "The engine native needs a C compiler, and this machine has none.",
            hint="Install gcc or clang (Debian: apt install gcc; macOS: xcode-select --install).",
        )
    with tempfile.TemporaryDirectory(prefix="sordino-native-") as place:
        folder = Path(place)
        for name, content in sources.items():
            (folder / name).write_bytes(content)
        (folder / _SHIM).write_text(shim)
        library = folder / "model.so"
        bodies = [name for name in sources if name.endswith(".c")]
        defined = [f"-D{name}" for name in definitions]
        command = [compiler, *FLAGS, *STRICT, *defined, *bodies, _SHIM, "-o", str(library)]
        try:
            done = run_tool(command, folder, COMPILE_SECONDS)
        except GateUnavailable as error:
            raise _other(f"they were not compiled: {error.message}") from error
        if done.status:
            raise _other(_first_error(done.errors))
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError as error:
            raise _other(str(error).removeprefix(f"{library}: ")) from error
    return loaded


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line] or ["no reason given"]
    return lines[0].strip()[:200]


def _other(reason: str) -> InputError:
    return InputError(
        f"The C sources are not those of this model ({reason}).",
        hint="Copy the whole folder with its sidecar, or export the model again.",
    )
