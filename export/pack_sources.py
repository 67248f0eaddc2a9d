"""The C sources of a pack: the model as an array, its constants, and the operators to register."""

from __future__ import annotations

from runtime.artefact import Sidecar
from runtime.pack_format import MODEL_HEADER, header_constants, resolver_lines
from targets.errors import InputError

SPDX = "SPDX-License-Identifier: Apache-2.0"
BYTES_PER_LINE = 16

_ALIGNMENT = """\
#if defined(__cplusplus)
#define SORDINO_ALIGN_16 alignas(16)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define SORDINO_ALIGN_16 _Alignas(16)
#elif defined(__GNUC__) || defined(__clang__) || defined(__ARMCC_VERSION)
#define SORDINO_ALIGN_16 __attribute__((aligned(16)))
#else
#error "Define how this compiler aligns an object to 16 bytes."
#endif
"""


def model_source(model: bytes) -> bytes:
    """``model_data.c``: the model file byte for byte, aligned to 16 bytes as TFLM demands."""
    rows = []
    for start in range(0, len(model), BYTES_PER_LINE):
        chunk = model[start : start + BYTES_PER_LINE]
        rows.append("    " + ", ".join(f"0x{byte:02x}" for byte in chunk) + ",")
    body = "\n".join(rows)
    header = MODEL_HEADER.rsplit("/", 1)[-1]
    text = (
        f'/* {SPDX} - generated, do not edit. */\n#include "{header}"\n\n{_ALIGNMENT}\n'
        f"SORDINO_ALIGN_16 const unsigned char sordino_model_data[SORDINO_MODEL_BYTES] = {{\n"
        f"{body}\n}};\n"
    )
    return text.encode("ascii")


def model_header(sidecar: Sidecar, arena_bytes: int | None) -> bytes:
    """``model_data.h``: what firmware needs at compile time; ``arena_bytes`` has its margin."""
    constants = header_constants(sidecar, arena_bytes)
    defines = "\n".join(f"#define {name} {value}" for name, value in constants.items())
    arena = (
        "SORDINO_ARENA_BYTES: TFLM arena measured on a 64-bit host plus max(2 KiB, 5 %).\n"
        " * An estimate: kernels with scratch memory of their own may need more on the device."
        if arena_bytes is not None
        else "The arena was not measured, so there is no SORDINO_ARENA_BYTES."
    )
    text = f"""\
/* {SPDX} - generated, do not edit.
 *
 * {arena}
 * SORDINO_STATES(X) lists X(input index, output index, elements, stored zero) of every state.
 * Quantized tensors: real = (stored - ZERO_POINT) * SCALE.
 */
#ifndef SORDINO_MODEL_DATA_H
#define SORDINO_MODEL_DATA_H

{defines}

#ifdef __cplusplus
extern "C" {{
#endif

extern const unsigned char sordino_model_data[SORDINO_MODEL_BYTES];

#ifdef __cplusplus
}}
#endif

#endif /* SORDINO_MODEL_DATA_H */
"""
    return text.replace("≥", ">=").encode("ascii")


def op_resolver(sidecar: Sidecar) -> bytes:
    """``op_resolver.inc``: statements that register exactly the operators of the model.

    Raises InputError when the sidecar lists none.
    """
    if not sidecar.operators:
        raise InputError(
            f"The sidecar of {sidecar.name} lists no operators.", hint="Export the model again."
        )
    counts = "\n".join(
        f"//   {name} x {count}" for name, count in sorted(sidecar.operators.items())
    )
    statements = "\n".join(resolver_lines(sidecar))
    text = (
        f"// {SPDX} - generated, do not edit.\n"
        "// Include inside a function, after\n"
        "//   tflite::MicroMutableOpResolver<SORDINO_OPERATOR_COUNT> resolver;\n"
        f"// Operators of the model:\n{counts}\n{statements}\n"
    )
    return text.encode("ascii")
