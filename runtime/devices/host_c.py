"""Generated C timed from within, compiled for this machine: steps, and operators by the hook.

Calls from Python would add some microseconds to each step; here the loop and the clock are C's.
"""

from __future__ import annotations

import ctypes
import re
import tempfile
from pathlib import Path
from string import Template
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from runtime.artefact import Artefact, source_files
from runtime.devices.children import run_tool
from runtime.engines import Array, EngineMissing
from runtime.engines.native import COMPILE_SECONDS, FLAGS, find_compiler
from runtime.modelfile.refusal import ModelRefused

_SHIM: Final = "sordino_timing_shim.c"  # no generated file is called so
_SOURCE: Final = re.compile(r"[A-Za-z_]\w*\.[ch]")
_C_TYPES: Final = {"int8": "int8_t", "int16": "int16_t", "float32": "float"}
# Types other than those of the header do not compile.
_TEMPLATE: Final = Template("""\
#define _POSIX_C_SOURCE 199309L
#include "$name.h"
#include <stddef.h>
#include <time.h>

static $name_t model;
static $mask mask[$masks];
typedef char features_as_expected[${macro}_FEATURES == $features ? 1 : -1];
typedef char mask_as_expected[${macro}_MASK == $masks ? 1 : -1];

static int64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

size_t timing_bytes(void) { return sizeof(model); }
void timing_init(void) { ${name}_init(&model); }

/* Steps over a ring of frames; every step leaves how long it took. */
void timing_steps(const $feature *frames, int64_t ring, int64_t first, int64_t count, int64_t *took)
{
    for (int64_t n = 0; n < count; ++n) {
        const $feature *frame = frames + $features * ((first + n) % ring);
        const int64_t begun = now();
        ${name}_step(&model, frame, mask);
        took[n] = now() - begun;
    }
}

#ifdef ${macro}_PROFILE
static int64_t *taken;
static int64_t begun;

void ${name}_profile(int step, int after)
{
    if (after) {
        taken[step] += now() - begun;
    } else {
        begun = now();
    }
}

/* The same with every operator timed: took is [count][width]. */
void timing_operators(const $feature *frames, int64_t count, int64_t width, int64_t *took)
{
    for (int64_t n = 0; n < count; ++n) {
        taken = took + n * width;
        ${name}_step(&model, frames + $features * n, mask);
    }
}
#endif
""")


class TimedC:
    """A C artefact, compiled with the flags of the engine ``native``, its states in place.

    ``features`` are stored values ``[frames, …]``, gone through over and over. Raises EngineMissing
    without a compiler, ModelRefused for sources that do not compile or have other tensors,
    GateUnavailable when compiling takes too long.
    """

    def __init__(self, artefact: Artefact, features: Array, *, hooks: bool = False) -> None:
        self._features = np.ascontiguousarray(features.reshape(len(features), -1))
        self._library = _compiled(artefact, self._features, hooks=hooks)
        self._library.timing_init()
        self._at = 0

    @property
    def instance_bytes(self) -> int:
        """Bytes of NAME_t."""
        return int(self._library.timing_bytes())

    def steps(self, count: int) -> list[int]:
        """Nanoseconds of each of ``count`` further steps."""
        took = np.zeros(count, dtype=np.int64)
        ring = len(self._features)
        self._library.timing_steps(
            _address(self._features),
            ctypes.c_int64(ring),
            ctypes.c_int64(self._at),
            ctypes.c_int64(count),
            _address(took),
        )
        self._at = (self._at + count) % ring
        durations: list[int] = took.tolist()
        return durations

    def operators(self, width: int) -> npt.NDArray[np.int64]:
        """Nanoseconds of each operator, ``[frames, width]``, of a model built with its hooks.

        ``width`` exceeds the number of every operator; one without a hook takes 0.
        """
        took = np.zeros((len(self._features), width), dtype=np.int64)
        self._library.timing_operators(
            _address(self._features),
            ctypes.c_int64(len(self._features)),
            ctypes.c_int64(width),
            _address(took),
        )
        return took


def _address(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _compiled(artefact: Artefact, features: Array, *, hooks: bool) -> Any:
    compiler = find_compiler()
    if compiler is None:
        raise EngineMissing("No C compiler is installed here.", hint="sudo apt install gcc")
    name = artefact.path.stem
    sidecar = artefact.sidecar
    sources = source_files(artefact)
    if strange := [file for file in sources if not _SOURCE.fullmatch(file)]:
        raise _refused(artefact, f"{strange[0]!r} is not the name of a C source")
    shim = _TEMPLATE.substitute(
        name=name,
        name_t=f"{name}_t",
        macro=name.upper(),
        feature=_C_TYPES[sidecar.inputs[0].dtype],
        features=features.shape[1],
        mask=_C_TYPES[sidecar.outputs[0].dtype],
        masks=int(np.prod(sidecar.outputs[0].shape)),
    )
    with tempfile.TemporaryDirectory(prefix="sordino-timing-") as place:
        folder = Path(place)
        for file, content in sources.items():
            (folder / file).write_bytes(content)
        (folder / _SHIM).write_text(shim)
        defined = [f"-D{name.upper()}_PROFILE"] if hooks else []
        command = [compiler, *FLAGS, *defined, artefact.path.name, _SHIM, "-o", "timed.so"]
        done = run_tool(command, folder, COMPILE_SECONDS)
        if done.status:
            lines = [line for line in done.errors.splitlines() if "error" in line]
            raise _refused(artefact, (lines or ["no reason given"])[0])
        library = ctypes.CDLL(str(folder / "timed.so"))
    library.timing_bytes.restype = ctypes.c_size_t
    return library


def _refused(artefact: Artefact, reason: str) -> ModelRefused:
    return ModelRefused(
        f"{artefact.path.name} does not compile ({reason}).",
        hint="Copy the whole folder with its sidecar, or export the model again.",
    )
