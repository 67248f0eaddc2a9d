"""Generated C in the tests: compiled, run, and compared with TFLM."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.generator import GeneratedC, GeneratedPort
from runtime.artefact import StateSpec, TensorSpec
from runtime.engines import Engine
from runtime.engines.native import NativeEngine

Array = npt.NDArray[Any]

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]
HOST_COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def native(generated: GeneratedC, files: Mapping[str, bytes] | None = None) -> NativeEngine:
    """The engine of generated C, or of ``files`` in its place; states last among the ports."""
    states = generated.states
    return NativeEngine(
        generated.files if files is None else files,
        [_spec(port) for port in (*generated.inputs, *states)],
        [*(_spec(port) for port in generated.outputs), *(_after(port) for port in states)],
        [StateSpec(name=port.label, input=port.name, output=f"{port.name}'") for port in states],
    )


def write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def compile_c(compiler: str, folder: Path, *arguments: str) -> None:
    """Run a compiler; raise AssertionError with what it says when it is not content."""
    done = subprocess.run(
        [compiler, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[:2000]


def trajectory(
    engine: Engine, frames: Sequence[Array], states: Sequence[Array]
) -> list[list[Array]]:
    """All outputs of every frame, states fed back; ``frames`` are shaped as the first input."""
    carried, collected = list(states), []
    for frame in frames:
        outputs = engine.run([frame, *carried])
        carried = outputs[1:]
        collected.append(outputs)
    return collected


def zero_states(generated: GeneratedC) -> list[Array]:
    """The states after ``init``."""
    return [np.full(port.shape, port.zero_point or 0, port.dtype) for port in generated.states]


def random_states(generated: GeneratedC, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [random_values(rng, port.shape, port.dtype) for port in generated.states]


def random_frames(generated: GeneratedC, count: int, seed: int = 0) -> list[Array]:
    """Frames over the whole range of the type, loud and quiet ones in turns."""
    rng = np.random.default_rng(seed)
    (port,) = generated.inputs
    return [
        random_values(rng, port.shape, port.dtype, 1.0 if number % 3 else 0.1)
        for number in range(count)
    ]


def random_values(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, part: float = 1.0
) -> Array:
    if dtype == "float32":
        return (part * rng.normal(size=shape)).astype(np.float32)
    limits = np.iinfo(dtype)
    low, high = int(limits.min * part), int(limits.max * part)
    return rng.integers(low, high + 1, shape).astype(dtype)


def _spec(port: GeneratedPort) -> TensorSpec:
    return TensorSpec.model_validate({"name": port.name, "shape": port.shape, "dtype": port.dtype})


def _after(port: GeneratedPort) -> TensorSpec:
    spec = _spec(port)
    return spec.model_copy(update={"name": f"{port.name}'"})
