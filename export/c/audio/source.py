"""``NAME_audio.c`` and ``NAME_audio.h``: text around one model and one contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.audio.tables import Stage, analysis, order, stages, synthesis, turns, twiddles
from export.c.call import Table
from export.c.naming import Port
from export.c.printing import real, table_text
from runtime.contract import StftContract

_Values = npt.NDArray[Any]
_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
_WORD = 8
_EXACT_BITS = 12  # of the high part of an exponent


@dataclass(frozen=True, eq=False)
class AudioPath:
    """What the text is about: the model's ``name``, its features and mask, and the contract."""

    name: str
    features: Port
    mask: Port
    contract: StftContract

    @property
    def macro(self) -> str:
        return f"{self.name.upper()}_AUDIO"

    @property
    def points(self) -> int:
        """Of the complex FFT."""
        return self.contract.fft_size // 2

    @property
    def state_bytes(self) -> int:
        """Of the struct, without the model's own; like that one it is aligned to a word."""
        contract = self.contract
        floats = contract.fft_size + contract.synthesis_length + 2 * (self.points + 1) + 1
        used = 4 * floats + self.features.tensor.nbytes + self.mask.tensor.nbytes
        return -(-used // _WORD) * _WORD

    @property
    def constant_bytes(self) -> int:
        return sum(values.nbytes for _, values in self._tables())

    def header(self) -> str:
        """The text of ``NAME_audio.h``."""
        name, macro, contract = self.name, self.macro, self.contract
        delay = contract.output_delay
        return f"""\
/* {name}_audio: sound through {name}, hop by hop, in C99. Written by sordino.
 *
 * Analysis window, FFT, features, one step of {name}, mask, inverse FFT, overlap-add; single
 * precision, no allocation, no mathematical library.
 *
 * Order of calls:
 *   static {name}_audio_t ear;                yours: static, or in any other RAM
 *   {name}_audio_init(&ear);                  once
 *   {name}_audio_process(&ear, in, out);      for every hop of {contract.hop} samples
 *   {name}_audio_reset(&ear);                 before another signal
 *
 * Samples are floats, full scale is 1. The output trails the input by {delay} samples; in and out
 * may be the same. A sample that is not finite, or beyond 2^20, counts as 0.
 */
#ifndef {macro}_H
#define {macro}_H

#include "{name}.h"

#ifdef __cplusplus
extern "C" {{
#endif

#define {macro}_RATE {contract.sample_rate} /* Hz */
#define {macro}_HOP {contract.hop} /* samples */
#define {macro}_DELAY {delay} /* samples by which the output trails the input */
#define {macro}_WINDOW {contract.window_length}
#define {macro}_SYNTHESIS {contract.synthesis_length}
#define {macro}_FFT {contract.fft_size}
#define {macro}_BINS {contract.bins} /* that the network sees; those above are silenced */

/* One channel. The members are for looking at; what is written there takes effect. */
typedef struct {{
    {name}_t net;
    float heard[{macro}_FFT]; /* the last {macro}_WINDOW samples, then zeros */
    float begun[{macro}_SYNTHESIS]; /* output to which frames are still to be added */
    float re[{macro}_FFT / 2 + 1], im[{macro}_FFT / 2 + 1]; /* bins of the frame */
    float floor; /* what is kept of the noisy signal */
    {self.features.ctype} features[{name.upper()}_{self.features.label.upper()}];
    {self.mask.ctype} mask[{name.upper()}_{self.mask.label.upper()}];
}} {name}_audio_t;

void {name}_audio_init({name}_audio_t *a);
/* Everything as after init, but for the attenuation limit. */
void {name}_audio_reset({name}_audio_t *a);
void {name}_audio_process({name}_audio_t *a, const float in[{macro}_HOP], float out[{macro}_HOP]);

/* out = floor * in + (1 - floor) * denoised, both of the same delay. 0 to 1; 0 after init,
 * 1 passes the sound as it is, 10^(-dB / 20) attenuates noise by that many dB at most. */
void {name}_audio_attenuation({name}_audio_t *a, float floor);

/* What process does in three calls, of which the second is {name}_step(&a->net, a->features,
 * a->mask): to time them apart, to run the step elsewhere, or to leave it out when a frame is late,
 * which applies the mask of the frame before. */
void {name}_audio_analyse({name}_audio_t *a, const float in[{macro}_HOP]);
void {name}_audio_synthesise({name}_audio_t *a, float out[{macro}_HOP]);

#ifdef __cplusplus
}}
#endif

#endif
"""

    def source(self) -> str:
        """The text of ``NAME_audio.c``."""
        name, macro, contract = self.name, self.macro, self.contract
        tables = "\n\n".join(
            table_text(f"{name}_audio_{label}", _table(values)) for label, values in self._tables()
        )
        table = f"{name}_audio"
        skipped = contract.window_length - contract.synthesis_length
        return f"""\
/* Written by sordino from the STFT contract of {name}; see {name}_audio.h. */
#include "{name}_audio.h"
#include "sordino_audio.h"

{tables}

static const sordino_exponent {table}_level = {_exponent(0.5 * contract.compression)};
static const sordino_exponent {table}_gain = {_exponent(0.5 * (contract.compression - 1.0))};

void {name}_audio_init({name}_audio_t *a)
{{
    memset(a, 0, sizeof *a);
    {name}_init(&a->net);
}}

void {name}_audio_reset({name}_audio_t *a)
{{
    const float floor = a->floor;
    {name}_audio_init(a);
    a->floor = floor;
}}

void {name}_audio_attenuation({name}_audio_t *a, float floor)
{{
    floor = floor > 0.0f ? floor : 0.0f;
    a->floor = floor < 1.0f ? floor : 1.0f;
}}

void {name}_audio_analyse({name}_audio_t *a, const float in[{macro}_HOP])
{{
    float *const fresh = a->heard + {macro}_WINDOW - {macro}_HOP;
    memmove(a->heard, a->heard + {macro}_HOP, sizeof(float) * ({macro}_WINDOW - {macro}_HOP));
    for (int32_t i = 0; i < {macro}_HOP; ++i) {{
        fresh[i] = sordino_sample(in[i]);
    }}
    sordino_fft_read(a->re, a->im, a->heard, {table}_analysis, {table}_order, {self.points});
{self._forward()}
    sordino_fft_split(a->re, a->im, {table}_turns, {self.points});
{self._features()}
}}

void {name}_audio_synthesise({name}_audio_t *a, float out[{macro}_HOP])
{{
{self._masking()}
    sordino_fft_merge(a->re, a->im, {table}_turns, {self.points});
{self._backward()}
    sordino_fft_write(a->begun, {table}_synthesis, {skipped}, {macro}_SYNTHESIS, a->re, a->im,
                      {table}_order, {self.points});
    memcpy(out, a->begun, sizeof(float) * {macro}_HOP);
    memmove(a->begun, a->begun + {macro}_HOP,
            sizeof(float) * ({macro}_SYNTHESIS - {macro}_HOP));
    memset(a->begun + {macro}_SYNTHESIS - {macro}_HOP, 0, sizeof(float) * {macro}_HOP);
}}

void {name}_audio_process({name}_audio_t *a, const float in[{macro}_HOP], float out[{macro}_HOP])
{{
    {name}_audio_analyse(a, in);
    {name}_step(&a->net, a->features, a->mask);
    {name}_audio_synthesise(a, out);
}}
"""

    def _tables(self) -> list[tuple[str, _Values]]:
        return [
            ("analysis", analysis(self.contract)),
            ("synthesis", synthesis(self.contract)),
            ("order", order(self.points).astype(np.uint16)),
            *((f"twiddles{stage.span}", twiddles(stage)) for stage in stages(self.points)),
            ("turns", turns(self.points)),
        ]

    def _forward(self) -> str:
        return "\n".join(self._pass("join", stage) for stage in stages(self.points))

    def _backward(self) -> str:
        return "\n".join(self._pass("part", stage) for stage in reversed(stages(self.points)))

    def _pass(self, direction: str, stage: Stage) -> str:
        table = f"{self.name}_audio_twiddles{stage.span}"
        size = f", {self.points}" if stage.radix == 4 else ""
        return (
            f"    sordino_fft_{direction}{stage.radix}(a->re, a->im, {table}, {stage.span}{size});"
        )

    def _features(self) -> str:
        """Statements that fill ``a->features``, some bins at a time."""
        stored = self.features.tensor.dtype != "float32"
        macro, table = self.macro, f"{self.name}_audio"
        lines = [
            f"    for (int32_t first = 0; first < {macro}_BINS; first += SORDINO_CHUNK) {{",
            f"        const int32_t left = {macro}_BINS - first;",
            "        const int32_t count = left < SORDINO_CHUNK ? left : SORDINO_CHUNK;",
            f"        {self.features.ctype} *const to = a->features + 3 * first;",
            "        float channels[3][SORDINO_CHUNK];",
            *(["        int32_t stored[3][SORDINO_CHUNK];"] if stored else []),
            "        sordino_compress(a->re + first, a->im + first, count, "
            f"{table}_level, {table}_gain,",
            "                         channels);",
            "        for (int32_t c = 0; c < 3; ++c) {",
            *(self._quantizing() if stored else []),
            "            for (int32_t k = 0; k < count; ++k) {",
            f"                to[3 * k + c] = ({self.features.ctype})"
            f"{'stored' if stored else 'channels'}[c][k];",
            "            }",
            "        }",
            "    }",
        ]
        return "\n".join(lines)

    def _quantizing(self) -> list[str]:
        label = f"{self.name.upper()}_{self.features.label.upper()}"
        low, high = _LIMITS[self.features.tensor.dtype]
        return [
            f"            sordino_quantize(channels[c], count, {label}_SCALE, {label}_ZERO_POINT,",
            f"                             {low}, {high}, stored[c]);",
        ]

    def _masking(self) -> str:
        """Statements that apply ``a->mask`` and the floor to the bins."""
        channels = self.mask.tensor.shape[-1]
        values = [self._mask_value(f"{channels} * k + {c}") for c in range(channels)]
        kind = "complex" if channels == 2 else "real"
        return "\n".join(
            [
                f"    for (int32_t k = 0; k < {self.macro}_BINS; ++k) {{",
                *(f"        const float {n} = {v};" for n, v in zip("xy", values, strict=False)),
                f"        sordino_weigh_{kind}(a->re + k, a->im + k, "
                f"{', '.join('xy'[:channels])}, a->floor);",
                "    }",
                f"    for (int32_t k = {self.macro}_BINS; k <= {self.macro}_FFT / 2; ++k) {{",
                "        a->re[k] *= a->floor;",
                "        a->im[k] *= a->floor;",
                "    }",
            ]
        )

    def _mask_value(self, index: str) -> str:
        if self.mask.tensor.dtype == "float32":
            return f"a->mask[{index}]"
        label = f"{self.name.upper()}_{self.mask.label.upper()}"
        return f"(float)(a->mask[{index}] - {label}_ZERO_POINT) * {label}_SCALE"


def _exponent(value: float) -> str:
    high = round(value * (1 << _EXACT_BITS)) / (1 << _EXACT_BITS)
    return "{" + ", ".join(real(part) for part in (value, high, value - high)) + "}"


def _table(values: _Values) -> Table:
    return Table("uint16_t" if values.dtype == np.uint16 else "float", values)
