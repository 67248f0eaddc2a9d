"""Frames through an engine with its states fed back, in stored values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from runtime.artefact import Sidecar
from runtime.engines import Array, Engine
from runtime.stepper import dequantize, quantize, zero_of
from runtime.stft import FloatArray, StftContract, analyse, features


@runtime_checkable
class Resettable(Protocol):
    """An engine whose model brings a reset of its own."""

    def reset(self) -> list[Array]: ...


@dataclass(frozen=True)
class Loop:
    """An engine as a recurrent network. ``links`` gives, for each input but the features, the
    output that becomes it."""

    engine: Engine
    sidecar: Sidecar
    links: tuple[int, ...]

    def zeros(self) -> list[Array]:
        """The stored states of a fresh start."""
        return [zero_of(spec) for spec in self.sidecar.inputs[1:]]

    def reset(self) -> list[Array]:
        """The stored states after a reset: by the model's own means where it has some."""
        return self.engine.reset() if isinstance(self.engine, Resettable) else self.zeros()

    def store(self, frames: FloatArray) -> Array:
        """Features ``[n, bins, 3]`` as the model takes them, ``[n, 1, 1, bins, 3]``."""
        spec = self.sidecar.inputs[0]
        return quantize(frames, spec).reshape(-1, *spec.shape)

    def steps(self, frames: Iterable[Array], states: Sequence[Array]) -> Iterator[list[Array]]:
        """All outputs of every step."""
        carried = list(states)
        for frame in frames:
            outputs = self.engine.run([frame, *carried])
            carried = self.following(outputs)
            yield outputs

    def following(self, outputs: Sequence[Array]) -> list[Array]:
        """The states that a step leaves, in the order of the inputs."""
        return [outputs[place] for place in self.links]

    def trace(self, frames: Iterable[Array], states: Sequence[Array]) -> list[Array]:
        """One array ``[steps, *shape]`` per output, stored values, mask first."""
        series = zip(*self.steps(frames, states), strict=True)
        return [np.stack(values) for values in series]

    def mask(self, stored: Array) -> FloatArray:
        """Real values of stored masks."""
        return dequantize(stored, self.sidecar.outputs[0])


def loop(engine: Engine, sidecar: Sidecar) -> Loop:
    """The loop that a sidecar's states describe."""
    outputs = {spec.name: place for place, spec in enumerate(sidecar.outputs)}
    sources = {state.input: state.output for state in sidecar.states}
    links = tuple(outputs[sources[spec.name]] for spec in sidecar.inputs[1:])
    return Loop(engine, sidecar, links)


def frames_of(contract: StftContract, signal: FloatArray) -> FloatArray:
    """Features ``[frames, bins, 3]`` of a signal ``[samples]``."""
    return features(contract, analyse(contract, signal))


def noise(contract: StftContract, seconds: float, seed: int = 0) -> FloatArray:
    """White noise at −30 dBFS under a level that swells and fades."""
    generator = np.random.default_rng(seed)
    at = np.arange(round(seconds * contract.sample_rate)) / contract.sample_rate
    level = 0.032 * (0.25 + np.sin(np.pi * 0.7 * at) ** 2)
    return (level * generator.standard_normal(len(at))).astype(np.float32)
