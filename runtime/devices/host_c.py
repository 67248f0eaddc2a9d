"""Generated C timed from within: steps, whole hops of its audio path, operators by the hook.

Calls from Python would add some microseconds to each; here the loop and the clock are C's.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from string import Template
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from runtime.artefact import Artefact, source_files
from runtime.engines import Array
from runtime.engines.native import C_TYPES, compiled
from runtime.generated_c import audio_source, model_name, network_files
from runtime.stft import FloatArray
from runtime.turns import Take

_CLOCK: Final = """\
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>
static int64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}
"""
# Goes through a ring of blocks; every call leaves how long it took.
_LOOP: Final = Template("""\
#include "$header"
static $kind instance;
static $result result[$results];
void timing_init(void) { ${prefix}_init(&instance); }
void timing_calls(const $argument *blocks, int64_t ring, int64_t first, int64_t count,
                  int64_t *took)
{
    for (int64_t n = 0; n < count; ++n) {
        const $argument *block = blocks + $arguments * ((first + n) % ring);
        const int64_t begun = now();
        ${prefix}_$function(&instance, block, result);
        took[n] = now() - begun;
    }
}
""")
_HOOK: Final = Template("""\
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
void timing_operators(const $argument *frames, int64_t count, int64_t width, int64_t *took)
{
    for (int64_t n = 0; n < count; ++n) {
        taken = took + n * width;
        ${name}_step(&instance, frames + $arguments * n, result);
    }
}
""")


def timed_steps(artefact: Artefact, features: Array) -> Take:
    """The network of a C artefact, its states in place, over stored ``features`` ``[frames, …]``.

    Raises EngineMissing without a compiler, InputError for sources that do not compile.
    """
    sources = source_files(artefact)
    library = compiled(_network(sources), _CLOCK + _step_loop(artefact))
    return _calls(library, features)


def timed_hops(artefact: Artefact, hops: Sequence[FloatArray]) -> Take | None:
    """The audio path of a C artefact over ``hops`` of samples, None where it has no such path.

    Raises as timed_steps.
    """
    sources = source_files(artefact)
    name = model_name(sources)
    if audio_source(name) not in sources:
        return None
    hop = artefact.sidecar.contract.hop
    loop = _LOOP.substitute(
        header=f"{name}_audio.h",
        kind=f"{name}_audio_t",
        prefix=f"{name}_audio",
        function="process",
        argument="float",
        arguments=hop,
        result="float",
        results=hop,
    )
    return _calls(compiled(sources, _CLOCK + loop), np.stack(hops))


def operator_durations(artefact: Artefact, features: Array, width: int) -> npt.NDArray[np.int64]:
    """Nanoseconds of each operator in each frame of stored ``features``, ``[frames, width]``, after
    one time through them all.

    ``width`` exceeds the number of every operator; one without a hook takes 0. Raises as
    timed_steps.
    """
    sources = source_files(artefact)
    name = model_name(sources)
    spec = artefact.sidecar.inputs[0]
    hook = _HOOK.substitute(
        name=name, argument=C_TYPES[spec.dtype], arguments=math.prod(spec.shape)
    )
    shim = _CLOCK + _step_loop(artefact) + hook
    library = compiled(_network(sources), shim, [f"{name.upper()}_PROFILE"])
    library.timing_init()
    frames = np.ascontiguousarray(features)
    count, columns = ctypes.c_int64(len(frames)), ctypes.c_int64(width)
    for _ in range(2):
        took = np.zeros((len(frames), width), dtype=np.int64)
        library.timing_operators(_address(frames), count, columns, _address(took))
    return took


def _network(sources: dict[str, bytes]) -> dict[str, bytes]:
    return {name: sources[name] for name in network_files(sources)}


def _step_loop(artefact: Artefact) -> str:
    name = model_name(source_files(artefact))
    entry, exit_ = artefact.sidecar.inputs[0], artefact.sidecar.outputs[0]
    return _LOOP.substitute(
        header=f"{name}.h",
        kind=f"{name}_t",
        prefix=name,
        function="step",
        argument=C_TYPES[entry.dtype],
        arguments=math.prod(entry.shape),
        result=C_TYPES[exit_.dtype],
        results=math.prod(exit_.shape),
    )


def _calls(library: Any, blocks: Array) -> Take:
    """Go through ``blocks`` ``[n, …]`` over and over."""
    ring = np.ascontiguousarray(blocks)
    library.timing_init()
    at = 0

    def take(count: int) -> list[int]:
        nonlocal at
        took = np.zeros(count, dtype=np.int64)
        numbers = map(ctypes.c_int64, (len(ring), at, count))
        library.timing_calls(_address(ring), *numbers, _address(took))
        at = (at + count) % len(ring)
        durations: list[int] = took.tolist()
        return durations

    return take


def _address(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
