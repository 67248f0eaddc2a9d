"""A C artefact written by hand for benches: int8, state, hooks, nothing of libc."""

from __future__ import annotations

import hashlib
from pathlib import Path

from runtime.artefact import Artefact, ModelFile, Network, Sidecar, StateSpec, TensorSpec
from runtime.artefact import load_artefact as load
from runtime.stft import StftContract

BINS = 16
FEATURES, MASKS = 3 * BINS, 2 * BINS
HEADER = f"""\
#ifndef MODEL_H
#define MODEL_H
#include <stdint.h>
#define MODEL_FEATURES {FEATURES} /* features */
#define MODEL_MASK {MASKS} /* mask */
#define MODEL_STATE_SUM {FEATURES} /* sum_in */
#define MODEL_STATE_SUM_OFFSET 0
typedef struct {{ int8_t sum[{FEATURES}]; }} model_t;
void model_init(model_t *m);
void model_reset(model_t *m);
void model_step(model_t *m, const int8_t features[MODEL_FEATURES], int8_t mask[MODEL_MASK]);
int8_t *model_state_sum(model_t *m);
#ifdef MODEL_PROFILE
void model_profile(int step, int after);
#endif
#endif
"""
# A sum with memory; the work of operator 0 depends on the first feature, operator 2 is short.
BODY = """\
#include "model.h"
#ifdef MODEL_PROFILE
#define MODEL_BEGIN(step) model_profile((step), 0)
#define MODEL_END(step) model_profile((step), 1)
#else
#define MODEL_BEGIN(step) ((void)0)
#define MODEL_END(step) ((void)0)
#endif
void model_init(model_t *m) { model_reset(m); }
void model_reset(model_t *m)
{
    for (int i = 0; i < MODEL_FEATURES; ++i) { m->sum[i] = 0; }
}
void model_step(model_t *m, const int8_t features[MODEL_FEATURES], int8_t mask[MODEL_MASK])
{
    /* 0: CONV_2D -> sum_out [1, 1, 16, 3], 480 MACs; kernel 1x1 */
    MODEL_BEGIN(0);
    const int rounds = 10 + (features[0] & 7);
    for (int round = 0; round < rounds; ++round) {
        for (int i = 0; i < MODEL_FEATURES; ++i) {
            m->sum[i] = (int8_t)(m->sum[i] + 3 * features[i] + round);
        }
    }
    MODEL_END(0);
    /* 1: RESHAPE -> plane [1, 48], in place */
    /* 2: TANH -> mask [1, 1, 16, 2] */
    MODEL_BEGIN(2);
    for (int i = 0; i < MODEL_MASK; ++i) { mask[i] = (int8_t)(m->sum[i] ^ 0x55); }
    MODEL_END(2);
}
int8_t *model_state_sum(model_t *m) { return m->sum; }
"""


def write_model(folder: Path, body: str = BODY, name: str = "sums") -> Artefact:
    """The sources and their sidecar in ``folder``, opened."""

    def spec(tensor: str, channels: int) -> TensorSpec:
        shape = (1, 1, BINS, channels)
        return TensorSpec(name=tensor, shape=shape, dtype="int8", scale=1 / 64, zero_point=0)

    contents = {"model.c": body.encode(), "model.h": HEADER.encode()}
    files = {
        file: ModelFile(file=file, bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
        for file, text in contents.items()
    }
    sidecar = Sidecar(
        name=name,
        target="c-int8",
        model=files["model.c"],
        sources=(files["model.h"],),
        contract=StftContract(bins=BINS),
        inputs=(spec("features", 3), spec("sum_in", 3)),
        outputs=(spec("mask", 2), spec("sum_out", 3)),
        states=(StateSpec(name="sum", input="sum_in", output="sum_out"),),
        network=Network(preset="sums", parameters=1, macs_per_step=480),
        memory={"ram": FEATURES, "constants": 0},
    )
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in contents.items():
        (folder / file).write_bytes(text)
    (folder / "model.json").write_text(sidecar.model_dump_json(by_alias=True))
    return load(folder)
