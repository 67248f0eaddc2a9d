"""``sordino_kernels.h`` and ``sordino_audio.h``: the headers that a model and its audio path need,
pasted into one file each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

_INCLUDE = re.compile(r'^#include "([a-z0-9_]+\.h)"\n', re.MULTILINE)
# Comments of the kernels may be typeset; what firmware compilers read is ASCII.
_ASCII = str.maketrans({"×": "x", "·": "*", "−": "-", "–": "-", "…": "...", "≤": "<=", "≥": ">="})
_BANNER = """\
/* Kernels for the models that sordino writes as C99. No allocation, no library but string.h.
 * Defining SORDINO_NO_DSP or SORDINO_NO_HELIUM before compiling leaves those instructions unused.
 */
#ifndef SORDINO_KERNELS_H
#define SORDINO_KERNELS_H

"""


_AUDIO_BANNER = """\
/* FFT, features and masks for the audio paths that sordino writes as C99. No allocation, no library
 * but string.h.
 */
#ifndef SORDINO_AUDIO_H
#define SORDINO_AUDIO_H

"""
_AUDIO_KERNELS = ("numbers.h", "fft.h", "features.h")


def kernel_header(names: Iterable[str]) -> str:
    """The text of ``sordino_kernels.h`` with headers ``names`` and all that these include."""
    pasted: dict[str, str] = {}
    for name in ("sordino_base.h", *sorted(set(names))):
        _paste("kernels", name, pasted)
    return _BANNER + "\n".join(pasted.values()) + "\n#endif\n"


def audio_header() -> str:
    """The text of ``sordino_audio.h``; it is the same for every model."""
    pasted: dict[str, str] = {}
    _paste("kernels", "sordino_base.h", pasted)
    for name in _AUDIO_KERNELS:
        _paste("audio/kernels", name, pasted)
    return _AUDIO_BANNER + "\n".join(pasted.values()) + "\n#endif\n"


def _paste(folder: str, name: str, pasted: dict[str, str]) -> None:
    """Add a header after those of its folder that it includes; each is pasted once."""
    if name in pasted:
        return
    text = files("export.c").joinpath(folder, name).read_text(encoding="utf-8")
    for included in _INCLUDE.findall(text):
        _paste(folder, included, pasted)
    pasted[name] = _INCLUDE.sub("", text).translate(_ASCII)
