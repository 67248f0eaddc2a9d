"""What each operator of a model takes on this host, for engines that tell."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact
from runtime.devices.artefacts import labels_of
from runtime.devices.host_c import operator_durations
from runtime.engines import Array
from runtime.modelfile.check import checked_bytes
from runtime.modelfile.onnx_schema import SCHEMA
from runtime.modelfile.protobuf import read_protobuf

WARM_UP: Final = 20  # frames that are not looked at
REASONS: Final = {
    "litert": "LiteRT's Python interface has no profiler; its benchmark binary has one",
    "litert-reference": "LiteRT's Python interface has no profiler; its benchmark binary has one",
    "tflm": "tflite-micro's Python interface has no profiler; a microcontroller's build has one",
}
ONNX_NOTE: Final = (
    "ONNX Runtime's profiler, whole µs, what it takes itself included: compare operators with each "
    "other, not with the step; the graph is the one it made of the file's"
)
C_NOTE: Final = "hook of the generated C, two readings of the clock included"
_RENAMED: Final = re.compile(r"(_nchwc|_token_\d+)+$")  # what ONNX Runtime appends to names


class OperatorTime(BaseModel):
    """Nanoseconds that one operator took in each frame; of ONNX Runtime they are whole µs."""

    model_config = ConfigDict(frozen=True)

    step: int
    kind: str
    output: str
    shape: tuple[int, ...] = ()
    macs: int = 0
    median_us: float
    least_us: float
    greatest_us: float


def c_operators(artefact: Artefact, features: Array) -> list[OperatorTime]:
    """Every numbered operator of generated C, over the frames of stored ``features``."""
    labels = labels_of(artefact.path.read_bytes())
    width = 1 + max((label.step for label in labels), default=0)
    micros = operator_durations(artefact, features, width) / 1_000.0
    return [
        _row(label.step, label.kind, label.output, micros[:, label.step], macs=label.macs)
        for label in labels
    ]


def onnx_operators(artefact: Artefact, inputs: Sequence[Sequence[Array]]) -> list[OperatorTime]:
    """Every node that ONNX Runtime executes, in its order, over frames of stored ``inputs``."""
    import onnxruntime

    from runtime.engines.onnx import PROVIDERS, session_options

    with tempfile.TemporaryDirectory(prefix="sordino-profile-") as place:
        options = session_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(place) / "profile")
        options.optimized_model_filepath = str(Path(place) / "executed.onnx")
        session = onnxruntime.InferenceSession(
            checked_bytes(artefact), options, providers=PROVIDERS
        )
        names = [port.name for port in session.get_inputs()]
        for frame in (*inputs[:WARM_UP], *inputs):
            session.run(None, dict(zip(names, frame, strict=True)))
        events = json.loads(Path(session.end_profiling()).read_bytes())
        executed = (Path(place) / "executed.onnx").read_bytes()
    return _of_events(events, _outputs(executed), len(inputs))


def _of_events(
    events: Sequence[dict[str, Any]], outputs: dict[str, str], frames: int
) -> list[OperatorTime]:
    """One row per node, in the order in which nodes first ran, over the last ``frames`` runs.

    ``outputs`` names the tensor that each node writes, by the name of the node.
    """
    taken: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            taken.setdefault(name.removesuffix("_kernel_time"), []).append(event)
    rows = []
    for step, (node, those) in enumerate(taken.items()):
        about = those[0]["args"]
        micros = np.asarray([float(event["dur"]) for event in those])[-frames:]
        shapes = [shape for kind in about["output_type_shape"] for shape in kind.values()]
        output = _RENAMED.sub("", outputs.get(node, node))
        shape = tuple(shapes[0]) if shapes else ()
        rows.append(_row(step, about["op_name"], output, micros, shape=shape))
    return rows


def _outputs(model: bytes) -> dict[str, str]:
    """Node → the first tensor it writes, of an .onnx file that ONNX Runtime wrote itself."""
    graph = read_protobuf(model, SCHEMA, "Model")["graph"]
    return {  # it calls a node without a name by its kind and place
        node["name"] or f"{node['op_type']}_{place}": node["output"][0]
        for place, node in enumerate(graph["node"])
    }


def _row(
    step: int,
    kind: str,
    output: str,
    micros: Any,
    *,
    shape: tuple[int, ...] = (),
    macs: int = 0,
) -> OperatorTime:
    return OperatorTime(
        step=step,
        kind=kind,
        output=output,
        shape=shape,
        macs=macs,
        median_us=float(np.median(micros)),
        least_us=float(micros.min()),
        greatest_us=float(micros.max()),
    )
