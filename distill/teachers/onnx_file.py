"""An ONNX file opened with care: its tensors by name, its outside data checked, more outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from runtime.artefact import sha256_of
from targets.errors import InputError

Array = npt.NDArray[Any]
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_FATAL_ONLY = 4
_OUTSIDE_DATA = "session.model_external_initializers_file_folder_path"


class OnnxFile:
    """A model in memory. Sessions for other outputs are made of the same protocol buffer.

    Raises InputError for a file that is missing, no ONNX, or takes data from outside its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._onnx = _package()
        self._model = _read(self._onnx, path)
        self._outside = {
            location: sha256_of(path.parent / location)
            for location in sorted(set(_outside_data(self._onnx, self._model, path)))
        }
        self._sha256 = sha256_of(path)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the model and of each file of weights beside it."""
        return {"model": self._sha256, **self._outside}

    @property
    def parameters(self) -> int:
        """Numbers stored as floating-point weights."""
        floats = {
            self._onnx.TensorProto.FLOAT,
            self._onnx.TensorProto.FLOAT16,
            self._onnx.TensorProto.DOUBLE,
        }
        weights = [t for t in self._model.graph.initializer if t.data_type in floats]
        return sum(int(np.prod(t.dims)) for t in weights)

    @property
    def tensors(self) -> list[str]:
        """Every tensor that a node of the graph makes, outputs first."""
        outputs = [output.name for output in self._model.graph.output]
        made = [name for node in self._model.graph.node for name in node.output if name]
        return list(dict.fromkeys(outputs + made))

    def open(self, tensors: Sequence[str] = ()) -> Session:
        """A session whose outputs are the model's, and ``tensors`` beside them.

        Raises InputError where ONNX Runtime refuses the model.
        """
        import onnxruntime

        model = self._onnx.ModelProto()
        model.CopyFrom(self._model)
        present = {output.name for output in model.graph.output}
        for name in tensors:
            if name not in present:
                model.graph.output.add(name=name)  # its type is inferred on loading
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry(_OUTSIDE_DATA, str(self.path.parent.resolve()))
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no narrower base
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"ONNX Runtime cannot load {self.path}: {reason}.",
                hint="Export the model again, with operators that ONNX Runtime knows.",
            ) from error
        return Session(session)


class Session:
    """Runs a model by names; inputs take the type that the model states."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs: dict[str, tuple[list[Any], str]] = {
            port.name: (list(port.shape), port.type) for port in session.get_inputs()
        }
        self.outputs: list[str] = [port.name for port in session.get_outputs()]

    def dtype(self, name: str) -> str:
        kind = self.inputs[name][1]
        if kind not in _DTYPES:
            raise InputError(
                f"The input {name!r} of the ONNX teacher is {kind}, which cannot be fed.",
                hint="Inputs are tensors of floating-point numbers, integers or booleans.",
            )
        return _DTYPES[kind]

    def run(self, outputs: Sequence[str], feed: Mapping[str, Array]) -> dict[str, Array]:
        """Raises InputError where the model refuses its input."""
        try:
            values = self._session.run(list(outputs), dict(feed))
        except Exception as error:  # its exceptions share no narrower base
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feed.items())
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"The ONNX teacher failed on {shapes}: {reason}.",
                hint="Check `input`, `input_layout`, `states` and `contract` of its signature.",
            ) from error
        return dict(zip(outputs, values, strict=True))


def _package() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            "An ONNX teacher needs the package onnx.", hint="pip install 'sordino[export]'"
        ) from error
    module: ModuleType = onnx
    return module


def _read(onnx: ModuleType, path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"No ONNX file at {path}.", hint="`teacher.onnx.model` names one.")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's own, which is no dependency to name
        raise _no_model(path) from error
    if not model.graph.output:
        raise _no_model(path)
    return model


def _no_model(path: Path) -> InputError:
    return InputError(
        f"{path} is no ONNX model, or a truncated one.", hint="Copy or export it again."
    )


def _outside_data(onnx: ModuleType, model: Any, path: Path) -> Iterator[str]:
    """Names of the files beside the model that hold weights.

    Raises InputError for one that is missing or lies outside the model's folder, links followed.
    """
    folder = path.parent.resolve()
    for tensor in _all_tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        target = (folder / location).resolve()
        if Path(location).is_absolute() or not target.is_relative_to(folder):
            raise InputError(
                f"{path} takes weights from {location!r}, outside its own folder.",
                hint="Only files beside the model are read; do not trust this one.",
            )
        if not target.is_file():
            raise InputError(
                f"{path} keeps weights in {location!r}, which is missing.",
                hint="Copy that file beside the model.",
            )
        yield location


def _all_tensors(message: Any) -> Iterator[Any]:
    """Every tensor anywhere in a model: initializers, attributes, subgraphs, functions."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        # A list of messages, or a single one.
        for item in value if _repeated(value) else (value,):
            if item.DESCRIPTOR.name == "TensorProto":
                yield item
            else:
                yield from _all_tensors(item)


def _repeated(value: Any) -> bool:
    return not hasattr(value, "ListFields")
