"""What is timed of an artefact in an engine: its network alone, and whole hops around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import numpy as np

from runtime.artefact import Artefact
from runtime.denoiser import StreamingDenoiser
from runtime.devices.host_c import timed_hops, timed_steps
from runtime.engines import Array, Engine, open_engine
from runtime.probe_signal import probe_signal
from runtime.stepper import Stepper
from runtime.stft import analyse, features
from runtime.turns import Take, timed

STEP: Final = "step"  # the network alone
HOP: Final = "whole hop"  # samples in, samples out
HOP_IN_C: Final = "whole hop in C"  # the same by the generated audio path
RECORDED: Final = 100  # frames whose stored inputs are gone through


@runtime_checkable
class FedEngine(Protocol):
    """An engine that takes its inputs before it computes."""

    def feed(self, inputs: Sequence[Array]) -> None: ...

    def compute(self) -> None: ...


class Recorder:
    """An engine that keeps the stored inputs of every step."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.inputs, self.outputs = engine.name, engine.inputs, engine.outputs
        self.steps: list[list[Array]] = []

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.steps.append([value.copy() for value in inputs])
        return self._engine.run(inputs)


def recorded_inputs(artefact: Artefact, engine: Engine) -> list[list[Array]]:
    """The stored inputs of ``RECORDED`` successive steps, features and carried states."""
    contract = artefact.sidecar.contract
    signal = np.concatenate(probe_signal(contract)[:RECORDED])
    frames = features(contract, analyse(contract, signal))
    recorder = Recorder(engine)
    stepper = Stepper(artefact.sidecar, recorder)
    for frame in frames[:RECORDED]:
        stepper.step(frame)
    return recorder.steps


def contestant(artefact: Artefact, engine_name: str) -> dict[str, Take]:
    """The parts of an artefact in an engine that take their turns.

    Raises InputError for a model that the engine does not load, EngineMissing without the engine.
    """
    engine = open_engine(artefact, engine_name)
    inputs = recorded_inputs(artefact, engine)
    hops = probe_signal(artefact.sidecar.contract)
    denoiser = StreamingDenoiser(artefact.sidecar, engine)
    parts = {STEP: _step(artefact, engine, inputs), HOP: timed(denoiser.push, hops)}
    if engine_name == "native" and (in_c := timed_hops(artefact, hops)) is not None:
        parts[HOP_IN_C] = in_c
    return parts


def _step(artefact: Artefact, engine: Engine, inputs: list[list[Array]]) -> Take:
    """The network without the copying of inputs, outputs and states around it, as far as an engine
    lets one see it."""
    if engine.name == "native":
        return timed_steps(artefact, np.stack([frame[0] for frame in inputs]))
    if isinstance(engine, FedEngine):
        compute = engine.compute
        return timed(lambda nothing: compute(), inputs, engine.feed)
    return timed(engine.run, inputs)
