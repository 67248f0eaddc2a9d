"""Quantization, and state carried from step to step."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtime.artefact import StateSpec, TensorSpec
from runtime.stepper import Stepper, dequantize, quantize, zero_of
from runtime.stft import StftContract
from targets.errors import InputError
from tests.runtime.fakes import gain_engine
from tests.runtime.tiny_models import tiny_sidecar

CONTRACT = StftContract()


@given(
    values=arrays.arrays(np.float32, 16, elements=st.floats(-2, 2, width=32)),
    dtype=st.sampled_from(["int8", "int16"]),
    scale=st.floats(1e-4, 0.1),
    zero=st.integers(-128, 127),
)
def test_quantization_errs_by_half_a_step_or_saturates(
    values: np.ndarray, dtype: Literal["int8", "int16"], scale: float, zero: int
) -> None:
    spec = TensorSpec(name="x", shape=(16,), dtype=dtype, scale=scale, zero_point=zero)
    stored = quantize(values, spec)
    limits = np.iinfo(dtype)
    low, high = ((limit - zero) * scale for limit in (limits.min, limits.max))
    expected = np.clip(values, low, high)
    assert stored.dtype == dtype
    assert np.abs(dequantize(stored, spec) - expected).max() <= 0.5 * scale * 1.001 + 1e-6


def test_stored_values_survive_the_way_to_real_and_back() -> None:
    spec = TensorSpec(name="x", shape=(256,), dtype="int8", scale=0.0173, zero_point=-7)
    stored = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(quantize(dequantize(stored, spec), spec), stored)


def test_zero_is_the_zero_point() -> None:
    spec = TensorSpec(name="x", shape=(1, 2), dtype="int8", scale=0.5, zero_point=-20)
    assert zero_of(spec).tolist() == [[-20, -20]]
    assert not dequantize(zero_of(spec), spec).any()


def test_state_reaches_the_next_step_and_reset_forgets_it() -> None:
    engine = gain_engine(CONTRACT.bins)
    seen = []
    plain_run = engine.run

    def spy(inputs: list[np.ndarray]) -> list[np.ndarray]:
        seen.append(inputs[1].copy())
        return plain_run(inputs)

    engine.run = spy  # type: ignore[method-assign, assignment]
    stepper = Stepper(tiny_sidecar(CONTRACT, "tflite-fp32"), engine)
    first = np.full((CONTRACT.bins, 3), 0.25, dtype=np.float32)
    stepper.step(first)
    stepper.step(2 * first)
    stepper.reset()
    stepper.step(first)
    assert [float(state.max()) for state in seen] == [0.0, 0.25, 0.0]


@pytest.mark.parametrize("channels", [1, 2])
def test_a_mask_has_as_many_channels_as_the_model_gives(channels: int) -> None:
    sidecar = tiny_sidecar(CONTRACT, "tflite-fp32", mask_channels=channels)
    stepper = Stepper(sidecar, gain_engine(CONTRACT.bins, 0.5, channels))
    masks = stepper.steps(np.zeros((4, CONTRACT.bins, 3), dtype=np.float32))
    assert masks.shape == (4, CONTRACT.bins, channels)
    assert (masks[..., 0] == 0.5).all()


@pytest.mark.parametrize("channels", [3, 0])
def test_an_output_that_is_no_mask_is_refused(channels: int) -> None:
    sidecar = tiny_sidecar(CONTRACT, "tflite-fp32", mask_channels=channels)
    with pytest.raises(InputError, match=r"no mask \[1, 1, 256, 1\]"):
        Stepper(sidecar, gain_engine(CONTRACT.bins))


def test_a_state_whose_scales_differ_is_converted() -> None:
    sidecar = tiny_sidecar(CONTRACT, "tflite-int8")
    coarse = sidecar.outputs[1].model_copy(update={"scale": 0.5, "zero_point": 0})
    sidecar = sidecar.model_copy(update={"outputs": (sidecar.outputs[0], coarse)})
    shape = coarse.shape
    seen = []

    class Engine:
        name = "fake"
        inputs = outputs = ()

        def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
            seen.append(int(inputs[1].max()))
            mask = np.zeros(sidecar.outputs[0].shape, dtype=np.int8)
            return [mask, np.full(shape, 2, dtype=np.int8)]  # 2 · 0.5 = 1.0

    stepper = Stepper(sidecar, Engine())  # type: ignore[arg-type]
    for _ in range(2):
        stepper.step(np.zeros((CONTRACT.bins, 3), dtype=np.float32))
    assert seen == [-20, 32 - 20]  # 1.0 / (1/32) + zero point


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (StateSpec(name="memory", input="gone", output="memory_out"), "names no input"),
        (StateSpec(name="memory", input="memory_in", output="gone"), "names no input"),
        (StateSpec(name="memory", input="features", output="memory_out"), "names no input"),
        (StateSpec(name="memory", input="memory_in", output="mask"), "names no input"),
    ],
)
def test_states_that_lead_nowhere_are_refused(state: StateSpec, reason: str) -> None:
    sidecar = tiny_sidecar(CONTRACT, "tflite-fp32").model_copy(update={"states": (state,)})
    with pytest.raises(InputError, match=reason):
        Stepper(sidecar, gain_engine(CONTRACT.bins))


def test_an_input_that_no_state_feeds_is_refused() -> None:
    sidecar = tiny_sidecar(CONTRACT, "tflite-fp32").model_copy(update={"states": ()})
    with pytest.raises(InputError, match="neither features nor a state"):
        Stepper(sidecar, gain_engine(CONTRACT.bins))


def test_a_state_that_changes_its_shape_is_refused() -> None:
    sidecar = tiny_sidecar(CONTRACT, "tflite-fp32")
    narrow = sidecar.outputs[1].model_copy(update={"shape": (1, 1, 8, 3)})
    sidecar = sidecar.model_copy(update={"outputs": (sidecar.outputs[0], narrow)})
    with pytest.raises(InputError, match="changes its shape"):
        Stepper(sidecar, gain_engine(CONTRACT.bins))
