"""Audio paths around a stub of a network, for any contract: compiled, and called from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from export.c.audio.generator import audio_path
from export.c.model import CTensor
from export.c.naming import Names, Port
from export.c.planner import Place
from runtime.artefact import Sidecar, TensorSpec
from runtime.contract import StftContract
from tests.runtime.tiny_models import tiny_sidecar

# What the stub answers, of each channel and type: the stored form of a gain of 1.
STUB = """\
#include "model.h"
void model_init(model_t *m) {{ m->steps = 0; }}
void model_step(model_t *m, const {feature} features[MODEL_FEATURES], {mask} mask[MODEL_MASK])
{{
    for (int32_t k = 0; k < MODEL_MASK; ++k) {{
        mask[k] = k % {channels} ? {nothing} : {whole};
    }}
    (void)features;
    m->steps += 1;
}}
"""
HEADER = """\
#include <stdint.h>
#define MODEL_FEATURES {features}
#define MODEL_FEATURES_SCALE 0.0125f
#define MODEL_FEATURES_ZERO_POINT ({zero_point})
#define MODEL_MASK {masks}
#define MODEL_MASK_SCALE 0.0078125f
#define MODEL_MASK_ZERO_POINT (-8)
typedef struct {{ int32_t steps; }} model_t;
void model_init(model_t *m);
void model_step(model_t *m, const {feature} features[MODEL_FEATURES], {mask} mask[MODEL_MASK]);
"""
C_TYPES = {"int8": "int8_t", "int16": "int16_t", "float32": "float"}
FEATURE_SCALE, FEATURE_ZERO = 0.0125, 5


@dataclass(frozen=True)
class Stub:
    """Sources of an audio path whose network passes everything on, and their sidecar."""

    sources: Mapping[str, bytes]
    sidecar: Sidecar


def stub(contract: StftContract, dtype: str = "float32", channels: int = 2) -> Stub:
    """An identity of ``contract``; features and mask are stored as ``dtype``.

    Integer masks hold a gain of 1 as 128 steps above the zero point −8.
    """
    bins = contract.bins
    zero = FEATURE_ZERO if dtype == "int8" else 0
    values = {
        "feature": C_TYPES[dtype],
        "mask": C_TYPES[dtype],
        "features": 3 * bins,
        "masks": channels * bins,
        "channels": channels,
        "zero_point": zero,
        "nothing": "0.0f" if dtype == "float32" else "-8",
        "whole": "1.0f" if dtype == "float32" else "120",
    }
    names = Names(
        "model",
        (port("features", (1, 1, bins, 3), dtype),),
        (port("mask", (1, 1, bins, channels), dtype),),
        (),
    )
    texts = {"model.c": STUB.format(**values), "model.h": HEADER.format(**values)}
    texts |= audio_path(names, contract).files
    return Stub(
        {name: text.encode() for name, text in texts.items()},
        _sidecar(contract, dtype, channels, zero),
    )


def tone(contract: StftContract, hops: int, seed: int = 0) -> np.ndarray:
    """Noise with a tone, ``[hops, hop]``, below full scale."""
    at = np.arange(hops * contract.hop)
    noise = 0.05 * np.random.default_rng(seed).standard_normal(len(at))
    return (0.3 * np.sin(0.3 * at) + noise).astype(np.float32).reshape(hops, contract.hop)


def port(label: str, shape: tuple[int, ...], dtype: str) -> Port:
    """A port of no model in particular."""
    tensor = CTensor(0, label, dtype, shape, (), (), 0, None)
    return Port(label, tensor, 0, Place(None, 0))


def _sidecar(contract: StftContract, dtype: str, channels: int, zero: int) -> Sidecar:
    quantized = dtype != "float32"

    def spec(name: str, last: int, scale: float, zero_point: int) -> TensorSpec:
        return TensorSpec(
            name=name,
            shape=(1, 1, contract.bins, last),
            dtype=cast(Any, dtype),
            scale=scale if quantized else None,
            zero_point=zero_point if quantized else None,
        )

    return tiny_sidecar(contract, "tflite-fp32").model_copy(
        update={
            "inputs": (spec("features", 3, FEATURE_SCALE, zero),),
            "outputs": (spec("mask", channels, 0.0078125, -8),),
            "states": (),
        }
    )
