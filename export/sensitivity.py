"""Which tensors' 8 bits the output suffers from, measured one at a time in the float graph.

A kernel reads and writes one width, so a tensor is only seen in 16 bits where both its own unit
and the reader's are wide. Noise therefore belongs to pairs (unit read, unit written): each pair is
measured by rounding to int8 just what the operators of the one read of the other, states carried,
everything else in float. The energies of the pairs add up well enough to order layers by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.calibration import Calibration
from export.executor import Array, StepExecutor, compute
from export.quantization import Affine, quantize_graph
from export.simulation import rounded, with_stored_weights
from export.step_graph import Moving, Operator, StepGraph, sources
from export.widening_cost import Unit

OUTPUT = -1  # in place of a reader: the mask itself
STREAMS, FRAMES = 6, 100  # enough for the order, and seconds instead of minutes
AT_ONCE = 16  # links that run side by side


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
        """A unit's part of the noise of all links and the weights; two units share a link."""
        own = sum(
            link.noise * (0.5 if link.reader not in (link.source, OUTPUT) else 1.0)
            for link in self.links
            if unit in (link.source, link.reader)
        )
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
    energy = max(float(np.sum(weight * np.square(reference), dtype=np.float64)), 1e-30)

    def noise(masks: Array) -> float:
        return float(np.sum(weight * np.square(masks - reference), dtype=np.float64)) / energy

    narrow = quantize_graph(graph, calibration)
    pairs = _pairs(graph, parts)
    links = []
    for first in range(0, len(pairs), AT_ONCE):
        batch = pairs[first : first + AT_ONCE]
        masks = _Seeing(graph, narrow.activations, parts, batch, len(heard)).masks(
            np.concatenate([heard] * len(batch))
        )
        apart = masks.reshape(len(batch), *reference.shape)
        links += [Link(*pair, noise(one)) for pair, one in zip(batch, apart, strict=True)]
        if progress is not None:
            progress(len(links) / len(pairs))
    stored = StepExecutor(with_stored_weights(narrow)).masks(heard)
    return Sensitivity(tuple(links), noise(stored))


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


class _Seeing(StepExecutor):
    """The float graph on several links at once: streams ``[links · streams, …]``, and in those of
    a link the operators of its reader see its source rounded."""

    def __init__(
        self,
        graph: StepGraph,
        grids: Mapping[str, Affine],
        parts: Sequence[Unit],
        links: Sequence[tuple[int, int]],
        streams: int,
    ) -> None:
        super().__init__(graph)
        self._grids = grids
        self._unit = {name: index for index, part in enumerate(parts) for name in part.tensors}
        self._rows = {
            link: slice(place * streams, (place + 1) * streams) for place, link in enumerate(links)
        }

    def tensors(self, inputs: Sequence[Array]) -> dict[str, Array]:
        named = zip(self.graph.inputs, inputs, strict=True)
        values = {tensor.name: array for tensor, array in named}
        for operator in self.graph.operators:
            values[operator.output.name] = compute(operator, self._seen(operator, values))
        mask = self.graph.mask.name
        values[mask] = self._rounded(mask, OUTPUT, values[mask])
        return values

    def _seen(self, operator: Operator, values: dict[str, Array]) -> Mapping[str, Array]:
        if isinstance(operator, Moving):
            return values
        reader = self._unit[operator.output.name]
        return {
            source.name: self._rounded(source.name, reader, values[source.name])
            for source in sources(operator)
        }

    def _rounded(self, name: str, reader: int, values: Array) -> Array:
        rows = self._rows.get((self._unit[name], reader))
        if rows is None:
            return values
        changed = values.copy()
        changed[rows] = rounded(values[rows], self._grids[name])
        return changed
