"""The torch network behind the canonical step interface: channels last, states in order."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from distill.unet import UNet


class StepModule(nn.Module):
    """``features, *states`` to ``mask, *states``, each ``[1, time, frequency, channels]``.

    ``states`` are the names in the order of the step graph.
    """

    def __init__(self, network: UNet, states: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.states = tuple(states)

    def forward(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(self.states, map(_channels_first, self.states, states), strict=True))
        output = self.network.step(features.permute(0, 3, 1, 2), named)
        following = (_channels_last(name, output.states[name]) for name in self.states)
        return output.mask.permute(0, 2, 3, 1), *following


def _channels_first(name: str, state: Tensor) -> Tensor:
    return state[:, 0, 0] if name == "gru" else state.permute(0, 3, 1, 2)


def _channels_last(name: str, state: Tensor) -> Tensor:
    return state[:, None, None] if name == "gru" else state.permute(0, 2, 3, 1)
