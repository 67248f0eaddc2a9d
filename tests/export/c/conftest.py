"""Networks as quantized and float TFLite files, for the C generator's tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from distill.unet import UNet, UNetConfig, preset
from export.calibration import calibrate
from export.lowering import lower
from export.precision import wide_everywhere
from export.quantization import quantize_graph
from export.tflite import write_float, write_quantized
from runtime.stft import StftContract

FileOf = Callable[[UNetConfig, str], bytes]


@pytest.fixture(scope="session")
def file_of(make_network: Callable[..., UNet], signals: list[npt.NDArray[np.float32]]) -> FileOf:
    """A randomised network as TFLite, ``"int8"``, ``"int16"`` (activations), ``"mixed"`` (some of
    them) or ``"float32"``."""

    @cache
    def written(config: UNetConfig, dtype: str) -> bytes:
        graph = lower(make_network(config))
        if dtype == "float32":
            return write_float(graph)
        calibration = calibrate(graph, StftContract(bins=config.bins), signals)
        chosen = {
            "int8": (),
            "int16": wide_everywhere(graph),
            "mixed": [operator.output.name for operator in graph.operators[::3]],
        }
        wide = chosen[dtype]
        return write_quantized(quantize_graph(graph, calibration, wide))

    return written


@pytest.fixture(scope="session")
def tiny_int8(file_of: FileOf) -> bytes:
    return file_of(preset("tiny"), "int8")


@pytest.fixture(scope="session")
def kind_int8(file_of: FileOf, kind_config: UNetConfig) -> bytes:
    return file_of(kind_config, "int8")
