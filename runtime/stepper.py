"""One step of a model in real numbers: quantization and state carried around an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import Sidecar, TensorSpec
from runtime.engines import Engine
from runtime.modelfile.refusal import ModelRefused
from runtime.stft import FEATURE_CHANNELS, FloatArray

_LIMITS = {
    "int8": (np.float32(-128), np.float32(127)),
    "int16": (np.float32(-32768), np.float32(32767)),
}


def quantize(array: FloatArray, spec: TensorSpec) -> npt.NDArray[Any]:
    """Stored values of a float32 array: round-half-even(array / scale) + zero_point, saturated."""
    if spec.scale is None:
        return array.astype(spec.dtype, copy=False)
    lowest, highest = _LIMITS[spec.dtype]
    stored = array / np.float32(spec.scale)
    np.rint(stored, out=stored)
    stored += np.float32(spec.zero_point or 0)
    np.maximum(stored, lowest, out=stored)  # np.clip takes as long as all the others together
    np.minimum(stored, highest, out=stored)
    return stored.astype(spec.dtype)


def dequantize(array: npt.NDArray[Any], spec: TensorSpec) -> FloatArray:
    """Real values float32 of stored ones: (stored − zero_point) · scale."""
    if spec.scale is None:
        return array.astype(np.float32, copy=False)
    real: FloatArray = array.astype(np.float32)
    if spec.zero_point:
        real -= np.float32(spec.zero_point)
    real *= np.float32(spec.scale)
    return real


def zero_of(spec: TensorSpec) -> npt.NDArray[Any]:
    """The stored form of a tensor of real zeros."""
    return np.full(spec.shape, spec.zero_point or 0, dtype=spec.dtype)


class Stepper:
    """Runs a model frame by frame, its states carried between the calls.

    The states of one stepper belong to one channel; many steppers may share one engine.
    Raises InputError when the sidecar's states do not name matching inputs and outputs.
    """

    def __init__(self, sidecar: Sidecar, engine: Engine) -> None:
        self._engine = engine
        self._inputs, self._outputs = sidecar.inputs, sidecar.outputs
        self._links = _links(sidecar)
        self._mask_shape = (sidecar.contract.bins, -1)
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard: states back to real zero."""
        self._stored = [zero_of(spec) for spec in self._inputs]

    def step(self, features: FloatArray) -> FloatArray:
        """Mask float32 ``[bins, 1 or 2]`` of one frame's features float32 ``[bins, 3]``."""
        return self.steps(features[np.newaxis])[0]

    def steps(self, features: FloatArray) -> FloatArray:
        """Masks float32 ``[n, bins, 1 or 2]`` of successive frames ``[n, bins, 3]``, n ≥ 1."""
        spec = self._inputs[0]
        frames = quantize(features, spec).reshape(-1, *spec.shape)
        masks = np.empty((len(frames), *self._outputs[0].shape), self._outputs[0].dtype)
        for place, frame in enumerate(frames):
            masks[place] = self._run(frame)
        return dequantize(masks, self._outputs[0]).reshape(len(frames), *self._mask_shape)

    def _run(self, frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One step in stored values: the mask, and the states carried over to the next."""
        self._stored[0] = frame
        results = self._engine.run(self._stored)
        for output, entry, tied in self._links:
            value = results[output]
            if not tied:
                value = quantize(dequantize(value, self._outputs[output]), self._inputs[entry])
            self._stored[entry] = value
        return results[0]


def _links(sidecar: Sidecar) -> list[tuple[int, int, bool]]:
    """For each state: index of its output, of its input, and whether the stored values agree."""
    inputs = {spec.name: index for index, spec in enumerate(sidecar.inputs)}
    outputs = {spec.name: index for index, spec in enumerate(sidecar.outputs)}
    frame = (1, 1, sidecar.contract.bins)
    expected = (*frame, FEATURE_CHANNELS)
    if not sidecar.inputs or not sidecar.outputs or sidecar.inputs[0].shape != expected:
        raise _inconsistent(sidecar, f"its first input is not features {list(expected)}")
    if sidecar.outputs[0].shape not in ((*frame, 1), (*frame, 2)):
        raise _inconsistent(sidecar, f"its first output is no mask {[*frame, 1]} or {[*frame, 2]}")
    links = []
    for state in sidecar.states:
        if inputs.get(state.input, 0) == 0 or outputs.get(state.output, 0) == 0:
            raise _inconsistent(sidecar, f"state {state.name} names no input and output")
        entry, output = inputs[state.input], outputs[state.output]
        before, after = sidecar.inputs[entry], sidecar.outputs[output]
        if before.shape != after.shape:
            raise _inconsistent(sidecar, f"state {state.name} changes its shape")
        tied = all(
            getattr(before, part) == getattr(after, part)
            for part in ("dtype", "scale", "zero_point")
        )
        links.append((output, entry, tied))
    if len(links) != len(sidecar.inputs) - 1:
        raise _inconsistent(sidecar, "an input is neither features nor a state")
    return links


def _inconsistent(sidecar: Sidecar, reason: str) -> ModelRefused:
    return ModelRefused(
        f"The sidecar of {sidecar.name} contradicts itself: {reason}.",
        hint="Export the model again.",
    )
