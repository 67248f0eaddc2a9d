"""ONNX through ``torch.onnx`` and onnxsim: one file, static shapes, float32.

The network's own ``step`` is traced, so that this route shares nothing with the step graph and
its agreement with the TFLite files proves both.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from export.step_graph import StepGraph
from export.students import Student
from targets.errors import GateFailed


def write_onnx(student: Student) -> bytes:
    """The ONNX file of one step; inputs, outputs and states are named as in the step graph.

    Raises GateFailed when onnxsim's own comparison finds that simplifying changed the function.
    """
    import onnxsim

    graph = student.graph
    with _quiet():
        program = torch.onnx.export(
            student.step.eval(),
            tuple(torch.zeros(tensor.shape) for tensor in graph.inputs),
            dynamo=True,
            input_names=[tensor.name for tensor in graph.inputs],
            output_names=[tensor.name for tensor in graph.outputs],
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export returned no program")
        # The model is taken from memory: saving by path would put the weights in a second file.
        model, same = onnxsim.simplify(program.model_proto)
    if not same:
        raise GateFailed(
            "Simplifying the ONNX model changed what it computes.",
            hint="Please report this with the versions of onnx and onnxsim.",
        )
    del model.metadata_props[:]  # onnxsim's log of what it did
    for name, value in step_metadata(graph).items():
        model.metadata_props.add(key=name, value=value)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def step_metadata(graph: StepGraph) -> dict[str, str]:
    """What a file says about itself: which output is which input of the next step."""
    states = {state.input.name: state.output.name for state in graph.states}
    return {"schema": "sordino-step/1", "states": json.dumps(states)}


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about packages that have nothing to do with this model."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
