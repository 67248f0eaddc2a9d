"""A quantized step graph in torch, with gradients: fake quantization of weights and activations.

Rounding has the gradient of the identity inside the range and none outside (the straight-through
estimator: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3). Sequences run in the stages of
:mod:`export.schedule`, so that only recurrences loop over frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from export.quantization import SMALLEST_SPAN, WEIGHT_LIMIT, Affine, QuantizedGraph
from export.schedule import Stage, stages
from export.simulation import LIMITS
from export.step_graph import (
    Conv2d,
    Moving,
    Operator,
    State,
    StepGraph,
    TransposeConv2d,
    Weighted,
    Weights,
    sources,
)
from export.torch_operators import Weighing, compute

Sequences = dict[str, Tensor]  # by tensor name: [streams, frames, time, frequency, channels]


class TorchExecutor(nn.Module):
    """Runs a step graph over sequences; its weights and biases are parameters.

    With ``quantized``, what was made of ``graph``, it rounds: weights per channel, activations to
    the grids of ``quantized``. Parameters are in units of their channel's largest weight and, for
    biases, of the output's range: one learning rate then suits channels of any size.
    """

    def __init__(self, graph: StepGraph, quantized: QuantizedGraph | None = None) -> None:
        super().__init__()
        self.graph = graph if quantized is None else quantized.graph
        self._float = graph
        self._grids: Mapping[str, Affine] = {} if quantized is None else quantized.activations
        self._stages = stages(self.graph)
        self._looped = {state.input.name for stage in self._stages for state in stage.states}
        self._place = {op.output.name: place for place, op in enumerate(graph.weighted)}
        self._units = [self._units_of(operator) for operator in graph.weighted]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for operator, (weight, bias) in zip(graph.weighted, self._units, strict=True):
            self.weights.append(torch.from_numpy(operator.weight) / weight)
            self.biases.append(torch.from_numpy(operator.bias) / bias)

    def forward(self, features: Tensor, states: Mapping[str, Tensor] | None = None) -> Sequences:
        """Every tensor of every frame of features ``[streams, frames, bins, 3]``.

        ``states`` are the values before the first frame by input name ``[streams, …]``; zeros by
        default.
        """
        streams, frames, bins, channels = features.shape
        before = states if states is not None else self.initial_states(streams)
        weighings = {name: self._weighing(name) for name in self._place}
        name = self.graph.features.name
        values = {name: self._rounded(name, features.view(streams, frames, 1, bins, channels))}
        for stage in self._stages:
            if stage.looped:
                self._delay(stage.operators, values, before)
                self._loop(stage, values, before, weighings)
                continue
            for operator in stage.operators:
                self._delay([operator], values, before)
                read = {
                    source.name: values[source.name].flatten(0, 1) for source in sources(operator)
                }
                result = self._compute(operator, read, weighings)
                values[operator.output.name] = result.unflatten(0, (streams, frames))
        return values

    def initial_states(self, streams: int) -> dict[str, Tensor]:
        """Zeros ``[streams, …]`` by input name."""
        return {
            state.input.name: torch.zeros(streams, *state.input.shape[1:])
            for state in self.graph.states
        }

    def last_states(self, values: Sequences) -> dict[str, Tensor]:
        """States after the last frame, cut off from their past, by input name."""
        return {
            state.input.name: values[state.output.name][:, -1].detach()
            for state in self.graph.states
        }

    def recurrent(self) -> tuple[State, ...]:
        """The states that are carried on a cycle, and are no mere delays."""
        return tuple(state for state in self.graph.states if state.input.name in self._looped)

    def trained_graph(self) -> StepGraph:
        """The float graph with the weights as they are now."""
        return replace(
            self._float, operators=tuple(self._trained(one) for one in self._float.operators)
        )

    def _trained(self, operator: Operator) -> Operator:
        if not isinstance(operator, Conv2d | TransposeConv2d):
            return operator
        weight, bias = self._real(operator.output.name)
        return replace(operator, weight=_array(weight), bias=_array(bias))

    def _units_of(self, operator: Weighted) -> Weighing:
        """Powers of two, so that nothing is rounded on the way in and out."""
        reach = torch.from_numpy(operator.weight).abs().amax(dim=(1, 2, 3), keepdim=True)
        grid = self._grids.get(operator.output.name)
        span = 1.0 if grid is None else grid.scale * (1.0 + LIMITS[grid.precision][1])
        return _power_of_two(reach.clamp_min(SMALLEST_SPAN)), _power_of_two(torch.tensor(span))

    def _real(self, name: str) -> Weighing:
        """Weight and bias as they are now."""
        place = self._place[name]
        weight, bias = self._units[place]
        return self.weights[place] * weight, self.biases[place] * bias

    def _delay(
        self, operators: Sequence[Operator], values: Sequences, before: Mapping[str, Tensor]
    ) -> None:
        """Make the sequences of the delays that operators read: one frame later than their
        source."""
        read = {source.name for operator in operators for source in sources(operator)}
        for state in self.graph.states:
            name = state.input.name
            if name in read and name not in values and name not in self._looped:
                source = values[state.output.name]
                values[name] = torch.cat((before[name][:, None], source[:, :-1]), dim=1)

    def _loop(
        self,
        stage: Stage,
        values: Sequences,
        before: Mapping[str, Tensor],
        weighings: Mapping[str, Weighing],
    ) -> None:
        read = {source.name for operator in stage.operators for source in sources(operator)}
        outer = {name: values[name].unbind(1) for name in read & set(values)}
        carried = {state.input.name: before[state.input.name] for state in stage.states}
        kept: dict[str, list[Tensor]] = {operator.output.name: [] for operator in stage.operators}
        kept |= {name: [] for name in carried}
        for frame in range(values[self.graph.features.name].shape[1]):
            now = {name: sequence[frame] for name, sequence in outer.items()} | carried
            for operator in stage.operators:
                now[operator.output.name] = self._compute(operator, now, weighings)
            for name, sequence in kept.items():
                sequence.append(now[name])
            carried = {state.input.name: now[state.output.name] for state in stage.states}
        values.update({name: torch.stack(sequence, dim=1) for name, sequence in kept.items()})

    def _compute(
        self, operator: Operator, values: Mapping[str, Tensor], weighings: Mapping[str, Weighing]
    ) -> Tensor:
        result = compute(operator, values, weighings.get(operator.output.name))
        if isinstance(operator, Moving):
            return result  # on the grid of what it moves
        return self._rounded(operator.output.name, result)

    def _weighing(self, name: str) -> Weighing:
        """Weight and bias as the file would store them."""
        weight, bias = self._real(name)
        if not self._grids:
            return weight, bias
        reach = weight.detach().abs().amax(dim=(1, 2, 3))
        scales = reach.clamp_min(SMALLEST_SPAN) / WEIGHT_LIMIT
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        limits = -WEIGHT_LIMIT, WEIGHT_LIMIT
        return torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, *limits), bias

    def _rounded(self, name: str, values: Tensor) -> Tensor:
        grid = self._grids.get(name)
        if grid is None:
            return values
        limits = LIMITS[grid.precision]
        return torch.fake_quantize_per_tensor_affine(values, grid.scale, grid.zero_point, *limits)


def _power_of_two(size: Tensor) -> Tensor:
    return torch.exp2(torch.round(torch.log2(size)))


def _array(parameter: Tensor) -> Weights:
    array: Weights = parameter.detach().numpy().copy()
    return array
