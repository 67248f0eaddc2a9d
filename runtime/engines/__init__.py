"""Engines run one step of a model. Each is imported only when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from runtime.artefact import Artefact, TensorSpec
from runtime.modelfile.check import check_model, checked_bytes
from runtime.modelfile.refusal import ModelRefused
from targets.errors import InputError

Array = npt.NDArray[Any]


class Port(NamedTuple):
    """An input or output as the model file has it; ``name`` is None where the engine hides it."""

    name: str | None
    shape: tuple[int, ...]
    dtype: str


class Engine(Protocol):
    """One loaded model. ``run`` keeps no state between calls."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Stored values (float32, int8 or int16) in, in the order of ``inputs``; new arrays out,
        in the order of ``outputs``."""
        ...


class EngineMissing(InputError):
    """The package an engine needs is not installed."""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is: the model suffix it runs and the package that brings it.

    One without a package needs a C compiler instead.
    """

    name: str
    suffix: str
    modules: tuple[str, ...]  # imported on opening a model
    distribution: str
    install: str
    summary: str
    refuses: tuple[str, ...] = ()  # formats of this suffix that it cannot run


ENGINES: dict[str, EngineInfo] = {
    engine.name: engine
    for engine in (
        EngineInfo(
            "onnxruntime",
            ".onnx",
            ("onnxruntime",),
            "onnxruntime",
            "pip install onnxruntime",
            "runs .onnx",
        ),
        EngineInfo(
            "litert",
            ".tflite",
            ("ai_edge_litert.interpreter",),
            "ai-edge-litert",
            "pip install ai-edge-litert",
            "runs .tflite, fast (XNNPACK)",
        ),
        EngineInfo(
            "litert-reference",
            ".tflite",
            ("ai_edge_litert.interpreter",),
            "ai-edge-litert",
            "pip install ai-edge-litert",
            "runs .tflite, the oracle for int8",
        ),
        EngineInfo(
            "tflm",
            ".tflite",
            ("tflite_micro", "ai_edge_litert.interpreter"),
            "tflite-micro",
            "pip install 'sordino[export]' (Linux on x86-64 only)",
            "runs .tflite as firmware would",
            refuses=("tflite-fp16", "tflite-int8w"),
        ),
        EngineInfo(
            "native",
            ".c",
            (),
            "",
            "sudo apt install gcc (any C compiler will do)",
            "runs generated C, compiled here; it runs what the file says, so trust its source",
        ),
    )
}


def missing(name: str) -> EngineMissing:
    """The error to raise when what engine ``name`` needs is not installed."""
    info = ENGINES[name]
    needed = f"the package {info.distribution}" if info.distribution else "a C compiler"
    return EngineMissing(
        f"The engine {name} needs {needed}, which is not installed here.",
        hint=f"{info.install}; `sordino doctor` lists what this machine has.",
    )


def unreadable(name: str, error: Exception) -> ModelRefused:
    """The error to raise when engine ``name`` refuses the bytes of a model."""
    lines = str(error).strip().splitlines()
    reason = lines[0][:160] if lines else type(error).__name__
    return ModelRefused(
        f"The engine {name} cannot load this model ({reason}).",
        hint="It is damaged or uses operators the engine lacks: export it again.",
    )


def engine_names(artefact: Artefact) -> list[str]:
    """Engines that run this kind of model, the default first."""
    suffix = artefact.path.suffix.lower()
    names = [
        info.name
        for info in ENGINES.values()
        if info.suffix == suffix and artefact.sidecar.target not in info.refuses
    ]
    if not names:
        raise InputError(
            f"No engine runs {artefact.path.name}.", hint="Name a .tflite, .onnx or .c file."
        )
    return names


def engine_name(artefact: Artefact, name: str | None) -> str:
    """``name``, checked, or the default for this kind of model.

    Raises InputError for an unknown engine or one that does not run this format.
    """
    fitting = engine_names(artefact)
    if name is None:
        return fitting[0]
    if name not in ENGINES:
        raise InputError(f"No engine is called {name!r}.", hint=f"Known: {', '.join(ENGINES)}.")
    if name not in fitting:
        alike = ENGINES[name].suffix == artefact.path.suffix.lower()
        kind = artefact.sidecar.target if alike else artefact.path.suffix
        raise InputError(
            f"The engine {name} does not run {kind} models.",
            hint=f"For {artefact.path.name} use {' or '.join(fitting)}.",
        )
    return name


def engine_from_bytes(name: str, model: bytes) -> Engine:
    """Load a model into the engine called ``name`` (one of ``ENGINES``).

    The bytes may come from anyone: they are checked before native code sees them. Raises
    EngineMissing, or InputError when the model is damaged or cannot be loaded.
    """
    if not ENGINES[name].modules:
        raise InputError(
            f"The engine {name} needs all files of a model.", hint="Open it by its path."
        )
    check_model(model, ENGINES[name].suffix)
    return load_engine(name, model)


def load_engine(name: str, model: bytes) -> Engine:
    """The same for bytes that have been checked already."""
    if name == "onnxruntime":
        from runtime.engines.onnx import OnnxEngine

        return OnnxEngine(model)
    if name == "tflm":
        from runtime.engines.tflm import TflmEngine

        return TflmEngine(model)
    from runtime.engines.litert import LiteRtEngine

    return LiteRtEngine(model, reference=name == "litert-reference")


def open_engine(artefact: Artefact, name: str | None = None) -> Engine:
    """Load an artefact into an engine, by default the fast one for its format. C is compiled and
    run: only from a source you trust.

    Raises InputError for an unknown or unsuitable engine, a model that is not the one the sidecar
    describes, or one the engine cannot load; EngineMissing where its package is not installed.
    """
    chosen = engine_name(artefact, name)
    model = checked_bytes(artefact)
    engine = _native(artefact) if chosen == "native" else _rehearsed(artefact, chosen, model)
    _check_ports(artefact, engine.inputs, artefact.sidecar.inputs)
    _check_ports(artefact, engine.outputs, artefact.sidecar.outputs)
    return engine


def _rehearsed(artefact: Artefact, name: str, model: bytes) -> Engine:
    from runtime.engines.rehearsal import rehearse

    rehearse(name, model, artefact.sidecar.model.sha256, artefact.path.name)
    return load_engine(name, model)


def _native(artefact: Artefact) -> Engine:
    from runtime.engines.native import open_native
    from runtime.engines.rehearsal import rehearse_loaded

    engine = open_native(artefact)
    files = (artefact.sidecar.model, *artefact.sidecar.sources)
    rehearse_loaded(engine, " ".join(file.sha256 for file in files), artefact.path.name)
    return engine


def _check_ports(
    artefact: Artefact, ports: tuple[Port, ...], specs: tuple[TensorSpec, ...]
) -> None:
    """The model must have the tensors its sidecar lists, in that order."""
    agree = len(ports) == len(specs) and all(
        port.name in (None, spec.name) and port.shape == spec.shape and port.dtype == spec.dtype
        for port, spec in zip(ports, specs, strict=True)
    )
    if not agree:
        raise ModelRefused(
            f"{artefact.path.name} has other inputs or outputs than its sidecar lists.",
            hint="The two do not belong together: export the model again.",
        )
