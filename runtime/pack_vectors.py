"""Golden vectors: frames that were heard, and every stored value that went in and out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from runtime.artefact import Sidecar
from runtime.engines import Array, Engine, engine_from_bytes
from runtime.pack_format import Golden
from runtime.stepper import quantize, zero_of
from runtime.stft import FloatArray, analyse, features
from targets.errors import InputError

FRONT_END_TOLERANCE = 1e-4  # of features; Fourier transforms differ in the last bits
DTYPES = ("float32", "int8", "int16")
LARGEST_HEADER = 4096


@dataclass(frozen=True)
class Vectors:
    """``signal`` ``[frames · hop]``, ``real`` features ``[frames, bins, 3]``, and stored values:
    ``features`` ``[frames, …]``, ``mask`` ``[frames, …]``, a state's ``[frames + 1, …]``."""

    signal: FloatArray
    real: FloatArray
    features: Array
    mask: Array
    states: dict[str, Array]


def record_vectors(sidecar: Sidecar, engine: Engine, signal: FloatArray) -> Vectors:
    """Run the whole frames of ``signal`` ``[samples]`` through an engine from the reset state."""
    frames = len(signal) // sidecar.contract.hop
    signal = np.ascontiguousarray(signal[: frames * sidecar.contract.hop], dtype=np.float32)
    real = features(sidecar.contract, analyse(sidecar.contract, signal))[:frames]
    stored = quantize(real.reshape(frames, *sidecar.inputs[0].shape), sidecar.inputs[0])
    entries, exits = state_indices(sidecar)
    current = [zero_of(spec) for spec in sidecar.inputs]
    states = [[current[entry]] for entry in entries]
    masks = []
    for frame in stored:
        current[0] = frame
        results = engine.run(current)
        masks.append(results[0])
        for history, entry, exit_ in zip(states, entries, exits, strict=True):
            current[entry] = results[exit_]
            history.append(results[exit_])
    names = [state.name for state in sidecar.states]
    stacked = {name: np.stack(history) for name, history in zip(names, states, strict=True)}
    return Vectors(signal, real, stored, np.stack(masks), stacked)


def state_indices(sidecar: Sidecar) -> tuple[list[int], list[int]]:
    """Input and output index of every state.

    Raises InputError unless a state's two tensors exist and share type, shape and quantization,
    so that firmware may copy the bytes of one onto the other.
    """
    inputs = {spec.name: index for index, spec in enumerate(sidecar.inputs)}
    outputs = {spec.name: index for index, spec in enumerate(sidecar.outputs)}
    entries, exits = [], []
    for state in sidecar.states:
        if inputs.get(state.input, 0) == 0 or outputs.get(state.output, 0) == 0:
            raise InputError(f"State {state.name} of {sidecar.name} names no input and output.")
        entry, exit_ = inputs[state.input], outputs[state.output]
        before, after = sidecar.inputs[entry], sidecar.outputs[exit_]
        if before.model_copy(update={"name": ""}) != after.model_copy(update={"name": ""}):
            raise InputError(
                f"State {state.name} of {sidecar.name} is stored differently going in and out.",
                hint="Export again: a state's input and output must share one scale.",
            )
        entries.append(entry)
        exits.append(exit_)
    return entries, exits


def write_array(array: Array) -> bytes:
    """The bytes of a ``.npy`` file, little endian, C order."""
    buffer = BytesIO()
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    np.lib.format.write_array(buffer, little, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def read_array(content: bytes, shape: tuple[int, ...], dtype: str) -> Array:
    """The array of a ``.npy`` file that must have this shape and type.

    The header decides nothing: memory is taken for what is there. Raises ValueError.
    """
    buffer = BytesIO(content)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError("is of another .npy version")
    header = np.lib.format.read_array_header_1_0(buffer, max_header_size=LARGEST_HEADER)
    expected = np.dtype(dtype).newbyteorder("<")
    if dtype not in DTYPES or header != (shape, False, expected):
        raise ValueError(f"is not {dtype} {list(shape)}")
    rest = content[buffer.tell() :]
    if len(rest) != expected.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ValueError("has another length than its header says")
    return np.frombuffer(rest, dtype=expected).reshape(shape)


def read_vectors(folder: Path, sidecar: Sidecar, frames: int) -> Vectors:
    """The arrays of a ``golden`` folder. Raises InputError naming the one that is wrong."""

    def read(name: str, shape: tuple[int, ...], dtype: str) -> Array:
        try:
            return read_array((folder / f"{name}.npy").read_bytes(), shape, dtype)
        except (OSError, ValueError, SyntaxError, RecursionError) as error:
            reason = str(error) if isinstance(error, ValueError) else "cannot be read"
            raise InputError(f"golden/{name}.npy {reason}") from error

    contract, entry, mask = sidecar.contract, sidecar.inputs[0], sidecar.outputs[0]
    states = {}
    for state, index in zip(sidecar.states, state_indices(sidecar)[0], strict=True):
        spec = sidecar.inputs[index]
        states[state.name] = read(f"state_{state.name}", (frames + 1, *spec.shape), spec.dtype)
    return Vectors(
        signal=read("signal", (frames * contract.hop,), "float32"),
        real=read("features_real", (frames, contract.bins, 3), "float32"),
        features=read("features", (frames, *entry.shape), entry.dtype),
        mask=read("mask", (frames, *mask.shape), mask.dtype),
        states=states,
    )


def replay(sidecar: Sidecar, engine: Engine, vectors: Vectors) -> tuple[float, str]:
    """Largest deviation in stored values, and the name of the tensor and frame it occurs in.

    Every frame starts from the recorded state, so that a deviation is counted where it arises.
    """
    entries, exits = state_indices(sidecar)
    names = [state.name for state in sidecar.states]
    worst, where = 0.0, ""
    current = [zero_of(spec) for spec in sidecar.inputs]
    for frame in range(len(vectors.features)):
        current[0] = vectors.features[frame]
        for name, entry in zip(names, entries, strict=True):
            current[entry] = vectors.states[name][frame]
        results = engine.run(current)
        expected = [("mask", 0, vectors.mask[frame])]
        expected += [
            (f"state_{name}", exit_, vectors.states[name][frame + 1])
            for name, exit_ in zip(names, exits, strict=True)
        ]
        for name, index, value in expected:
            deviation = _deviation(results[index], value)
            if deviation > worst:
                worst, where = deviation, f"golden/{name}.npy, frame {frame}"
    return worst, where


def _deviation(left: Array, right: Array) -> float:
    difference = np.abs(left.astype(np.float64) - right.astype(np.float64))
    largest = float(np.max(difference, initial=0.0))
    return largest if np.isfinite(largest) else float("inf")


def front_end_problem(sidecar: Sidecar, vectors: Vectors) -> str:
    """What is wrong before the network, empty when nothing is: features, quantization, reset."""
    frames = len(vectors.features)
    real = features(sidecar.contract, analyse(sidecar.contract, vectors.signal))[:frames]
    if not np.allclose(real, vectors.real, rtol=0.0, atol=FRONT_END_TOLERANCE):
        return "golden/features_real.npy are not the features of golden/signal.npy"
    stored = quantize(vectors.real.reshape(vectors.features.shape), sidecar.inputs[0])
    if not np.array_equal(stored, vectors.features):
        return "golden/features.npy are not the quantized golden/features_real.npy"
    for state, index in zip(sidecar.states, state_indices(sidecar)[0], strict=True):
        if not np.array_equal(vectors.states[state.name][0], zero_of(sidecar.inputs[index])):
            return f"golden/state_{state.name}.npy does not begin at the reset state"
    return ""


def check(folder: Path, engine_name: str) -> dict[str, str]:
    """Verdict, measured and detail of the golden vectors in ``folder``, the model beside them."""
    sidecar = Sidecar.model_validate_json((folder / "sidecar.json").read_bytes())
    golden = Golden.model_validate_json((folder / "golden.json").read_bytes())
    vectors = read_vectors(folder, sidecar, golden.frames)
    problem = front_end_problem(sidecar, vectors)
    if problem:
        return _answer("fail", "", problem)
    engine = engine_from_bytes(engine_name, (folder / "model").read_bytes())
    worst, where = replay(sidecar, engine, vectors)
    measured = f"{golden.frames} frames on {engine_name}, largest deviation {worst:g}"
    if worst > golden.tolerance:
        return _answer("fail", measured, f"the model does not give {where}")
    return _answer("pass", measured, "")


def _answer(verdict: str, measured: str, detail: str) -> dict[str, str]:
    return {"verdict": verdict, "measured": measured, "detail": detail}


def main(folder: str, engine_name: str) -> None:
    """What the child process runs: one line of JSON on standard output."""
    try:
        answer = check(Path(folder), engine_name)
    except InputError as error:
        answer = _answer("fail", "", error.message)
    except Exception as error:  # whatever a stranger's model makes an engine raise
        answer = _answer("fail", "", f"{engine_name} cannot run this model: {error}"[:300])
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
