"""The generated audio path: a whole hop of sound in C, compiled here and called through ctypes."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import Artefact, Sidecar, source_files
from runtime.engines import Array
from runtime.engines.native import C_TYPES, compiled
from runtime.generated_c import audio_source, model_name
from runtime.stft import FEATURE_CHANNELS, ComplexArray, FloatArray
from targets.errors import InputError

_WORD = 8  # the struct is aligned to it


class NativeAudio:
    """One channel through ``NAME_audio.c``: what ``StreamingDenoiser`` does, all of it in C.

    Raises EngineMissing without a C compiler, InputError for sources without an audio path, of
    another contract, or that do not compile.
    """

    def __init__(self, sources: Mapping[str, bytes], sidecar: Sidecar) -> None:
        name = model_name(sources)
        if audio_source(name) not in sources:
            raise InputError(
                "These C sources have no audio path.",
                hint="It is written for contracts whose fft_size is a power of two.",
            )
        self._hop = sidecar.contract.hop
        self._library = compiled(sources, _shim(name, sidecar))
        self._library.audio_size.restype = ctypes.c_size_t
        self._library.audio_member.restype = ctypes.c_void_p
        size = int(self._library.audio_size())
        self._memory = (ctypes.c_int64 * -(-size // _WORD))()
        self._library.audio_init(self._memory)
        bins = sidecar.contract.frequencies
        self._re = self._view(0, bins, "float32")
        self._im = self._view(1, bins, "float32")
        self._features = self._view(2, sidecar.contract.bins * FEATURE_CHANNELS,
                                    sidecar.inputs[0].dtype)  # fmt: skip
        self._mask = self._view(3, math.prod(sidecar.outputs[0].shape), sidecar.outputs[0].dtype)

    def push(self, block: FloatArray) -> FloatArray:
        """Denoise ``[hop]`` samples into ``[hop]`` samples."""
        return self._called(self._library.audio_process, block)

    def analyse(self, block: FloatArray) -> ComplexArray:
        """The spectrum ``[frequencies]`` of the frame that ``[hop]`` samples complete; features are
        computed, the network is not run."""
        self._called(self._library.audio_analyse, block)
        return (self._re + 1j * self._im).astype(np.complex64)

    def synthesise(self, spectrum: ComplexArray) -> FloatArray:
        """The ``[hop]`` samples that a spectrum under the present mask completes."""
        self._re[:], self._im[:] = spectrum.real, spectrum.imag
        out = np.empty(self._hop, dtype=np.float32)
        self._library.audio_synthesise(self._memory, _address(out))
        return out

    def reset(self) -> None:
        """Forget the past, as for a new recording; the attenuation limit stays."""
        self._library.audio_reset(self._memory)

    def limit_attenuation(self, floor: float) -> None:
        """Keep ``floor`` (0 to 1, linear) of the noisy signal."""
        self._library.audio_attenuation(self._memory, ctypes.c_float(floor))

    @property
    def features(self) -> Array:
        """What the network was given last, as stored, ``[bins, 3]``; a view."""
        return self._features.reshape(-1, FEATURE_CHANNELS)

    @property
    def mask(self) -> Array:
        """What the network last answered, as stored, flat; a view that may be written."""
        return self._mask

    def _called(self, function: Any, block: FloatArray) -> FloatArray:
        fed = np.ascontiguousarray(block, dtype=np.float32)
        if fed.shape != (self._hop,):
            raise ValueError(f"a block is {self._hop} samples, not {fed.shape}")
        out = np.empty(self._hop, dtype=np.float32)
        function(self._memory, _address(fed), _address(out))
        return out

    def _view(self, member: int, count: int, dtype: npt.DTypeLike) -> Array:
        address = self._library.audio_member(self._memory, member)
        raw = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(address)
        return np.frombuffer(memoryview(raw), dtype)


def open_audio(artefact: Artefact) -> NativeAudio:
    """The audio path of a C artefact. It is compiled and run: only from a source you trust."""
    return NativeAudio(source_files(artefact), artefact.sidecar)


def _address(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _shim(name: str, sidecar: Sidecar) -> str:
    """C that gives the functions of an audio path names that do not depend on it.

    It does not compile where the header is that of another contract.
    """
    contract, macro = sidecar.contract, f"{name.upper()}_AUDIO"
    kind = f"{name}_audio_t"
    sizes = {
        "HOP": contract.hop,
        "FFT": contract.fft_size,
        "BINS": contract.bins,
        "WINDOW": contract.window_length,
        "SYNTHESIS": contract.synthesis_length,
    }
    checks = [
        f"typedef char check_{label}[{macro}_{label} == {size} ? 1 : -1];"
        for label, size in sizes.items()
    ]
    values = math.prod(sidecar.outputs[0].shape)
    checks.append(
        f"typedef char check_mask[sizeof((({kind} *)0)->mask) / sizeof(*(({kind} *)0)->mask)"
        f" == {values} ? 1 : -1];"
    )
    return "\n".join(
        [
            f'#include "{name}_audio.h"',
            "#include <stddef.h>",
            *checks,
            f"size_t audio_size(void) {{ return sizeof({kind}); }}",
            f"void audio_init({kind} *a) {{ {name}_audio_init(a); }}",
            f"void audio_reset({kind} *a) {{ {name}_audio_reset(a); }}",
            f"void audio_attenuation({kind} *a, float f) {{ {name}_audio_attenuation(a, f); }}",
            f"void audio_process({kind} *a, const float *in, float *out)",
            f"{{ {name}_audio_process(a, in, out); }}",
            f"void audio_analyse({kind} *a, const float *in, float *out)",
            f"{{ (void)out; {name}_audio_analyse(a, in); }}",
            f"void audio_synthesise({kind} *a, float *out) {{ {name}_audio_synthesise(a, out); }}",
            f"void *audio_member({kind} *a, int which)",
            "{",
            f"    {C_TYPES[sidecar.inputs[0].dtype]} *features = a->features;",
            f"    {C_TYPES[sidecar.outputs[0].dtype]} *mask = a->mask;",
            "    void *members[] = {a->re, a->im, features, mask};",
            "    return members[which];",
            "}",
            "",
        ]
    )
