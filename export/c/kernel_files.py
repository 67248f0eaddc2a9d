"""``sordino_kernels.h``: the headers that a model needs, pasted into one file."""

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


def kernel_header(names: Iterable[str]) -> str:
    """The text of ``sordino_kernels.h`` with headers ``names`` and all that these include."""
    pasted: dict[str, str] = {}
    for name in ("sordino_base.h", *sorted(set(names))):
        _paste(name, pasted)
    return _BANNER + "\n".join(pasted.values()) + "\n#endif\n"


def _paste(name: str, pasted: dict[str, str]) -> None:
    """Add a header after those it includes; each is pasted once."""
    if name in pasted:
        return
    text = files("export.c").joinpath("kernels", name).read_text(encoding="utf-8")
    for included in _INCLUDE.findall(text):
        _paste(included, pasted)
    pasted[name] = _INCLUDE.sub("", text).translate(_ASCII)
