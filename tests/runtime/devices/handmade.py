"""Models written by hand with the interface of generated ones, and what they answer."""

from __future__ import annotations

import shutil

import numpy as np
import numpy.typing as npt
import pytest

from runtime.devices.cores import CORES
from runtime.devices.simulation import GoldenVectors

VALUES = 8
HEADER = b"""
#include <stdint.h>
typedef struct { int32_t state[8]; } model_t;
void model_init(model_t *model);
void model_step(model_t *model, const int8_t *features, int8_t *mask);
"""
# A running sum with weights: state_k += weight_k * feature_k; the mask is its low byte.
SUMS = b"""
#include "model.h"
static const int8_t weights[8] = {1, -2, 3, -4, 5, -6, 7, -8};
void model_init(model_t *model)
{
    for (int k = 0; k < 8; ++k) { model->state[k] = 0; }
}
void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    for (int k = 0; k < 8; ++k) {
        model->state[k] += weights[k] * features[k];
        mask[k] = (int8_t)((model->state[k] & 127) - 64);
    }
}
"""
INIT = b"""
#include "model.h"
void model_init(model_t *model) { (void)model; }
"""


def installed(core: str) -> bool:
    toolchain = CORES[core].toolchain
    return all(shutil.which(name) for name in (f"{toolchain.prefix}gcc", toolchain.simulator))


def simulated(*cores: str) -> list[object]:
    """Parameters of a test, skipped where a core's tools are missing."""
    return [
        pytest.param(
            core,
            marks=pytest.mark.skipif(
                not installed(core), reason=f"{CORES[core].toolchain.packages} not installed"
            ),
        )
        for core in cores
    ]


def sources(body: bytes = SUMS, header: bytes = HEADER) -> dict[str, bytes]:
    return {"model.c": body, "model.h": header}


def vectors(frames: int = 6, seed: int = 0) -> GoldenVectors:
    """Random features and what SUMS makes of them."""
    features = np.random.default_rng(seed).integers(-128, 128, (frames, VALUES), dtype=np.int8)
    weights = np.array([1, -2, 3, -4, 5, -6, 7, -8])
    states = np.cumsum(features.astype(np.int64) * weights, axis=0)
    return GoldenVectors(features, ((states & 127) - 64).astype(np.int8))


def zeros(frames: int = 2) -> GoldenVectors:
    """For models whose answers do not matter."""
    nothing: npt.NDArray[np.int8] = np.zeros((frames, VALUES), np.int8)
    return GoldenVectors(nothing, nothing)


# Two operators in every step: loops of 50 and of 500 rounds, of two instructions each.
HOOKED_HEADER = (
    HEADER
    + b"""
#ifdef MODEL_PROFILE
void model_profile(int step, int after);
#endif
"""
)
HOOKED = (
    INIT
    + b"""
static inline void spin(uint32_t rounds)
{
#ifdef __riscv
    __asm volatile("1: addi %0, %0, -1\\n\\tbnez %0, 1b" : "+r"(rounds));
#else
    __asm volatile(".syntax unified\\n1:\\tsubs %0, #1\\n\\tbne 1b" : "+l"(rounds) : : "cc");
#endif
}
void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    (void)model; (void)features;
    mask[0] = 0;
#ifdef MODEL_PROFILE
    model_profile(1, 0);
#endif
    spin(50);
#ifdef MODEL_PROFILE
    model_profile(1, 1);
    model_profile(3, 0);
#endif
    spin(500);
#ifdef MODEL_PROFILE
    model_profile(3, 1);
#endif
}
"""
)
