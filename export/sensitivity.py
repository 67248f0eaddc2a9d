"""Which tensors' 8 bits the output suffers from, measured one at a time in the float graph.

A kernel reads and writes one width, so a tensor is only seen in 16 bits where both its own unit
and the reader's are wide. Noise therefore belongs to pairs (unit read, unit written): each pair is
measured by rounding to int8 just what the operators of the one read of the other, states carried,
everything else in float. The energies of the pairs add up well enough to order layers by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.calibration import Calibration
from export.executor import Array, StepExecutor
from export.precision import reading
from export.quantization import Affine, QuantizedGraph, quantize_graph
from export.simulation import RoundingExecutor, with_stored_weights
from export.step_graph import Moving, Operator, Requantize, StepGraph, Tensor, sources
from export.widening_cost import Unit

OUTPUT = -1  # in place of a reader: the mask itself
STREAMS, FRAMES = 6, 100  # enough for the order, and seconds instead of minutes


@dataclass(frozen=True)
class Link:
    """Noise energy, relative to the output's, of unit ``source`` seen in int8 by ``reader``."""

    source: int
    reader: int
    noise: float


@dataclass(frozen=True)
class Sensitivity:
    """Every link between units, and what int8 weights add in any mix."""

    links: tuple[Link, ...]
    weights: float

    def noise(self, wide: Sequence[bool]) -> float:
        """Expected noise energy, relative to the output's, of a mix (wide or not, by unit)."""
        heard = (link.noise for link in self.links if not self._quiet(link, wide))
        return self.weights + sum(heard)

    def share(self, unit: int) -> float:
        """Noise of all links from or to a unit, over that of all links and the weights."""
        own = sum(link.noise for link in self.links if unit in (link.source, link.reader))
        return own / max(self.weights + sum(link.noise for link in self.links), 1e-30)

    @staticmethod
    def _quiet(link: Link, wide: Sequence[bool]) -> bool:
        return wide[link.source] and (link.reader == OUTPUT or wide[link.reader])


def measure_sensitivity(
    graph: StepGraph,
    calibration: Calibration,
    parts: Sequence[Unit],
    stacked: Array,
    progress: Callable[[float], None] | None = None,
) -> Sensitivity:
    """Links of all units over features ``[streams, frames, bins, 3]``, cut to a few streams.

    The error is that of the mask, weighted by the compressed magnitude it is applied to: what a
    listener hears of it, roughly, and cheap.
    """
    heard = stacked[:STREAMS, :FRAMES]
    weight = np.square(heard[..., :1])
    reference = StepExecutor(graph).masks(heard)
    energy = float(np.sum(weight * np.square(reference), dtype=np.float64))

    def noise(changed: StepGraph, grids: dict[str, Affine]) -> float:
        difference = RoundingExecutor(changed, grids).masks(heard) - reference
        return float(np.sum(weight * np.square(difference), dtype=np.float64)) / max(energy, 1e-30)

    narrow = quantize_graph(graph, calibration)
    pairs = _pairs(graph, parts)
    links = []
    for index, (source, reader) in enumerate(pairs):
        changed, grids = _seen_in_int8(graph, narrow, parts[source], reader, parts)
        links.append(Link(source, reader, noise(changed, grids)))
        if progress is not None:
            progress((index + 1) / len(pairs))
    return Sensitivity(tuple(links), noise(with_stored_weights(narrow), {}))


def _pairs(graph: StepGraph, parts: Sequence[Unit]) -> list[tuple[int, int]]:
    """(source, reader) by index of unit, each once, in the order of execution."""
    unit = {name: index for index, part in enumerate(parts) for name in part.tensors}
    found = [
        (unit[source.name], unit[operator.output.name])
        for operator in graph.operators
        if not isinstance(operator, Moving)
        for source in sources(operator)
    ]
    return list(dict.fromkeys([*found, (unit[graph.mask.name], OUTPUT)]))


def _seen_in_int8(
    graph: StepGraph, narrow: QuantizedGraph, source: Unit, reader: int, parts: Sequence[Unit]
) -> tuple[StepGraph, dict[str, Affine]]:
    """The float graph in which one unit reads another rounded, and the grids to round to."""
    if reader == OUTPUT:
        return graph, {graph.mask.name: narrow.activations[graph.mask.name]}
    operators: list[Operator] = []
    grids: dict[str, Affine] = {}
    for operator in graph.operators:
        renamed: dict[str, Tensor] = {}
        if not isinstance(operator, Moving) and operator.output.name in parts[reader].tensors:
            for tensor in sources(operator):
                if tensor.name in source.tensors:
                    twin = Tensor(f"{tensor.name}/seen by {operator.output.name}", tensor.shape)
                    operators.append(Requantize(twin, tensor))
                    grids[twin.name] = narrow.activations[tensor.name]
                    renamed[tensor.name] = twin
        operators.append(reading(operator, renamed))
    return replace(graph, operators=tuple(operators)), grids
