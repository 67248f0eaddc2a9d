"""How far every tensor of an integer file is from the float graph, on real recurrent frames.

The file runs in LiteRT's reference kernels with every tensor kept. Twice: once with the float
graph's states written in before each frame, which shows what a single step loses up to each
tensor, and once with its own states carried, which shows what builds up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.executor import Array, StepExecutor
from export.precision import tied_groups
from export.quantization import Affine, QuantizedGraph, flat_beyond
from export.simulation import LIMITS
from export.step_graph import Operator, StepGraph
from export.tflite import write_quantized
from runtime.engines import missing
from runtime.engines.quiet import captured_stderr

FRAMES = 300
HIGHEST_DB = 120.0  # where the difference is nothing


@dataclass(frozen=True)
class TensorError:
    """One tensor: signal over quantization noise in dB within one step and with carried states,
    and the share of its values at the end of their range. What only a function reads that is flat
    beyond the range counts as far as the range goes."""

    name: str
    operator: str
    precision: str
    step_db: float
    carried_db: float
    saturated: float


def error_report(graph: StepGraph, quantized: QuantizedGraph, features: Array) -> list[TensorError]:
    """Tensors of ``quantized``'s file against ``graph`` over ``features`` ``[frames, bins, 3]``,
    the worst first. What the float graph has no counterpart of is left out.

    Raises EngineMissing without ai-edge-litert.
    """
    heard = features[:FRAMES]
    wanted = list(StepExecutor(graph).sequence(heard[np.newaxis]))
    content = write_quantized(quantized)
    origins = {
        operator.output.name: quantized.origins.get(operator.output.name, operator.output.name)
        for operator in quantized.graph.operators
    }
    origins = {name: origin for name, origin in origins.items() if origin in wanted[0]}
    forced = _Sums(origins, quantized)
    for frame, values in enumerate(_run(content, quantized, heard, wanted)):
        forced.add(values, wanted[frame])
    free = _Sums(origins, quantized)
    for frame, values in enumerate(_run(content, quantized, heard, None)):
        free.add(values, wanted[frame])
    rows = [
        TensorError(
            name=operator.output.name,
            operator=_kind(operator),
            precision=quantized.activations[operator.output.name].precision,
            step_db=forced.ratio_db(operator.output.name),
            carried_db=free.ratio_db(operator.output.name),
            saturated=free.saturated(operator.output.name),
        )
        for operator in quantized.graph.operators
        if operator.output.name in origins
    ]
    return sorted(rows, key=lambda row: row.carried_db)


def report_rows(report: Sequence[TensorError], limit: int | None = None) -> list[tuple[str, ...]]:
    """The report as a table's cells: tensor, operator, width, dB in a step, dB carried,
    saturated."""
    return [
        (
            row.name,
            row.operator,
            row.precision,
            f"{row.step_db:.1f}",
            f"{row.carried_db:.1f}",
            f"{100.0 * row.saturated:.2f}%",
        )
        for row in report[:limit]
    ]


def report_json(report: Sequence[TensorError]) -> list[dict[str, object]]:
    """The report for ``--json``."""
    return [asdict(row) for row in report]


class _Sums:
    """Energies of signal and error by tensor."""

    def __init__(self, origins: dict[str, str], quantized: QuantizedGraph) -> None:
        self._origins, self._grids = origins, quantized.activations
        groups = tied_groups(quantized.graph)
        bent = (group for group in groups if flat_beyond(quantized.graph, group) is not None)
        self._bent = frozenset(name for group in bent for name in group)
        self._signal = dict.fromkeys(origins, 0.0)
        self._error = dict.fromkeys(origins, 0.0)
        self._at_end = dict.fromkeys(origins, 0)
        self._seen = dict.fromkeys(origins, 0)

    def add(self, stored: dict[str, npt.NDArray[Any]], wanted: dict[str, Array]) -> None:
        for name, origin in self._origins.items():
            grid: Affine = self._grids[name]
            values = stored[name]
            real = (values.astype(np.float64) - grid.zero_point) * grid.scale
            float_values = wanted[origin].astype(np.float64)
            if name in self._bent and grid.precision == "int8":
                float_values = np.clip(float_values, *_reach(grid))
            self._signal[name] += float(np.sum(np.square(float_values)))
            self._error[name] += float(np.sum(np.square(real - float_values)))
            low, high = LIMITS[grid.precision]
            ends = (values == high) & (float_values > (high + 0.5 - grid.zero_point) * grid.scale)
            ends |= (values == low) & (float_values < (low - 0.5 - grid.zero_point) * grid.scale)
            self._at_end[name] += int(np.count_nonzero(ends))
            self._seen[name] += values.size

    def ratio_db(self, name: str) -> float:
        if self._error[name] == 0.0:
            return HIGHEST_DB
        ratio = max(self._signal[name], 1e-30) / self._error[name]
        return min(10.0 * float(np.log10(ratio)), HIGHEST_DB)

    def saturated(self, name: str) -> float:
        return self._at_end[name] / max(self._seen[name], 1)


def _reach(grid: Affine) -> tuple[float, float]:
    """The lowest and the highest real value."""
    low, high = LIMITS[grid.precision]
    return (low - grid.zero_point) * grid.scale, (high - grid.zero_point) * grid.scale


def _run(
    content: bytes,
    quantized: QuantizedGraph,
    features: Array,
    wanted: Sequence[dict[str, Array]] | None,
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Every stored tensor of every frame; the states are those of ``wanted``, or its own."""
    interpreter = _interpreter(content)
    indices = {str(one["name"]): int(one["index"]) for one in interpreter.get_tensor_details()}
    graph = quantized.graph
    stored: dict[str, npt.NDArray[Any]] = {}
    for frame, heard in enumerate(features):
        inputs = {graph.features.name: _stored(heard, quantized.activations[graph.features.name])}
        for state in graph.states:
            grid = quantized.activations[state.input.name]
            if frame == 0:
                inputs[state.input.name] = _stored(np.zeros(state.input.shape), grid)
            elif wanted is not None:
                inputs[state.input.name] = _stored(wanted[frame - 1][state.output.name], grid)
            else:
                inputs[state.input.name] = stored[state.output.name]
        for tensor in graph.inputs:
            value = inputs[tensor.name].reshape(tensor.shape)
            interpreter.set_tensor(indices[tensor.name], value)
        interpreter.invoke()
        stored = {
            operator.output.name: interpreter.get_tensor(indices[operator.output.name])
            for operator in graph.operators
        }
        yield stored


def _stored(values: npt.NDArray[Any], grid: Affine) -> npt.NDArray[Any]:
    low, high = LIMITS[grid.precision]
    steps = np.rint(values / np.float32(grid.scale)) + grid.zero_point
    return np.clip(steps, low, high).astype(grid.precision)


def _interpreter(content: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise missing("litert-reference") from error
    with captured_stderr():
        interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    return interpreter


def _kind(operator: Operator) -> str:
    kind = getattr(operator, "kind", None)
    return str(kind) if kind is not None else type(operator).__name__.lower()
