"""``NAME.h``: what firmware includes."""

from __future__ import annotations

from export.c.naming import Names, Port
from export.c.printing import comment_text, integer, real
from export.c.source import accessor, signature

_MEMBERS = (("int8_t", "s8", 1), ("int16_t", "s16", 2), ("float", "f32", 4))


def header_text(names: Names, memory: int, constants: int, macs: int) -> str:
    """The text of the header. ``memory`` is the size of the struct in bytes."""
    name, macro = names.name, names.macro
    ports = "\n\n".join(_port(names, port) for port in (*names.inputs, *names.outputs))
    states = _titled(
        "States: elements, and the byte of memory at which they start.",
        [_state(names, port) for port in names.states],
    )
    accessors = _titled(
        "A state between two steps, to be read, saved or set.",
        [f"{accessor(names, port)};" for port in names.states],
    )
    members = "\n".join(
        f"        {ctype} {label}[{memory // size}];" for ctype, label, size in _MEMBERS
    )
    return f"""\
/* {name}: one streaming step of a network, in C99. Written by sordino.
 *
 *   RAM        {memory:>9,} bytes, {name}_t: states and intermediate results
 *   constants  {constants:>9,} bytes, about: weights and tables, all const
 *   work       {macs:>9,} multiply-accumulates a step
 *
 * Order of calls:
 *   static {name}_t net;      yours: static, on the stack or in any other RAM
 *   {name}_init(&net);        once
 *   {name}_step(&net, ...);   for every frame
 *   {name}_reset(&net);       before another signal: all states as after init
 *
 * A step allocates nothing and keeps all it remembers in its {name}_t, so any number of them may
 * run at once, each from one thread. Inputs are only read. Outputs are working memory as well:
 * what they held is lost, and they must overlap neither each other nor the inputs.
 *
 * Quantized values: real = (stored - ZERO_POINT) * SCALE.
 */
#ifndef {macro}_H
#define {macro}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {macro}_MEMORY {memory} /* bytes */
#define {macro}_MACS {macs}

{ports}

{states}typedef struct {{
    union {{
{members}
        int64_t aligned;
    }} memory;
}} {name}_t;

void {name}_init({name}_t *m);
void {name}_reset({name}_t *m);
void {signature(names)};

{accessors}#ifdef {macro}_PROFILE
/* Yours, called by every step before (after = 0) and after (after = 1) each numbered operator. */
void {name}_profile(int step, int after);
#endif

#ifdef __cplusplus
}}
#endif

#endif
"""


def _titled(title: str, lines: list[str]) -> str:
    """A comment, then lines; nothing where there are none."""
    return "\n".join([f"/* {title} */", *lines, "", ""]) if lines else ""


def _port(names: Names, port: Port) -> str:
    label = f"{names.macro}_{port.label.upper()}"
    shape = comment_text(f"{port.tensor.name} {list(port.tensor.shape)}")
    return "\n".join(
        [f"#define {label} {port.tensor.elements} /* {shape} */", *_quantization(label, port)]
    )


def _state(names: Names, port: Port) -> str:
    label = f"{names.macro}_STATE_{port.label.upper()}"
    shape = comment_text(f"{port.tensor.name} {list(port.tensor.shape)}")
    return "\n".join(
        [
            f"#define {label} {port.tensor.elements} /* {shape} */",
            f"#define {label}_OFFSET {port.place.offset}",
            *_quantization(label, port),
        ]
    )


def _quantization(label: str, port: Port) -> list[str]:
    if not port.tensor.scales:
        return []
    zero = port.tensor.zero_points[0] if port.tensor.zero_points else 0
    return [
        f"#define {label}_SCALE {real(port.tensor.scales[0])}",
        f"#define {label}_ZERO_POINT ({integer(zero)})",
    ]
