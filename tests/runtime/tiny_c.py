"""A C artefact written by hand: what the exporter would write for a model that copies."""

from __future__ import annotations

import hashlib
from pathlib import Path

from runtime.artefact import Artefact, ModelFile, Sidecar, load_artefact
from runtime.stft import StftContract
from tests.runtime.tiny_models import tiny_sidecar

HEADER = """\
#ifndef MODEL_H
#define MODEL_H
#include <stdint.h>
#define MODEL_FEATURES {features} /* features */
#define MODEL_MASK {masks} /* mask */
#define MODEL_STATE_MEMORY {features} /* memory_in */
#define MODEL_STATE_MEMORY_OFFSET 0
typedef struct {{ float memory[{features}]; int64_t calls; }} model_t;
void model_init(model_t *m);
void model_reset(model_t *m);
void model_step(model_t *m, const float features[MODEL_FEATURES], float mask[MODEL_MASK]);
float *model_state_memory(model_t *m);
#ifdef MODEL_PROFILE
void model_profile(int step, int after);
#endif
#endif
"""
BODY = """\
#include "model.h"
#include <stdlib.h>
#ifdef MODEL_PROFILE
#define MODEL_BEGIN(step) model_profile((step), 0)
#define MODEL_END(step) model_profile((step), 1)
#else
#define MODEL_BEGIN(step) ((void)0)
#define MODEL_END(step) ((void)0)
#endif
static long steps;
void model_init(model_t *m) { model_reset(m); m->calls = 0; }
void model_reset(model_t *m)
{
    for (int i = 0; i < MODEL_FEATURES; ++i) { m->memory[i] = 0.0f; }
}
void model_step(model_t *m, const float features[MODEL_FEATURES], float mask[MODEL_MASK])
{
    if (++steps > LIFE) { abort(); }
    /* 0: CONV_2D -> mask [1, 1, 256, 2], 1536 MACs; kernel 1x1 */
    MODEL_BEGIN(0);
    for (int i = 0; i < MODEL_MASK; ++i) { mask[i] = (i & 1) ? 0.0f : 1.0f; }
    MODEL_END(0);
    /* 2: CONCATENATION -> memory_out [1, 1, 256, 3] */
    MODEL_BEGIN(2);
    for (int i = 0; i < MODEL_FEATURES; ++i) { m->memory[i] = features[i]; }
    MODEL_END(2);
}
float *model_state_memory(model_t *m) { return m->memory; }
"""
LONG_LIFE = 1_000_000_000


def write_c_artefact(folder: Path, *, life: int = LONG_LIFE, broken: bool = False) -> Artefact:
    """Write the sources and their sidecar into ``folder``, and open them.

    ``life`` is the number of steps after which a process that runs them aborts; ``broken`` sources
    do not compile.
    """
    contract = StftContract()
    sizes = {"features": 3 * contract.bins, "masks": 2 * contract.bins}
    body = BODY.replace("LIFE", str(life)) + ("int x = ;\n" if broken else "")
    contents = {"model.c": body.encode(), "model.h": HEADER.format(**sizes).encode()}
    files = {
        name: ModelFile(file=name, bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
        for name, text in contents.items()
    }
    sidecar: Sidecar = tiny_sidecar(contract, "tflite-fp32", "model.c", contents["model.c"])
    sidecar = sidecar.model_copy(
        update={
            "target": "c-fp32",
            "sources": (files["model.h"],),
            "memory": {"ram": 3 * 4 * contract.bins + 8, "constants": 0},
        }
    )
    folder.mkdir(exist_ok=True)
    for name, text in contents.items():
        (folder / name).write_bytes(text)
    (folder / "model.json").write_text(sidecar.model_dump_json(by_alias=True))
    return load_artefact(folder)
