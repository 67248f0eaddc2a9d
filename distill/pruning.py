"""Structured pruning of a U-Net: whole channels and latents go, and a smaller U-Net is left.

What is added up or passed on must be cut alike. The channels of a level are the outputs of its
encoder, the inputs of the next one and of its decoder, and the outputs of the decoder below it;
those of the deepest level also enter and leave the bottleneck, or run through all blocks of one of
dual paths. The latents are the hidden units of the bottleneck, one group for each recurrent unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.bottlenecks import TCN_DILATIONS
from distill.unet import UNet, UNetConfig
from targets.errors import InputError

MULTIPLE = 4  # of channels and latents kept: what int8 kernels take at once
LATENTS = "latents"
FULL_BAND = "full band"
GRU_GATES, MIN_GRU_GATES = 3, 2


@dataclass(frozen=True)
class Member:
    """One axis of one tensor of the state dict.

    Channel ``c`` lies at ``k · channels + c`` for every ``k`` below ``blocks``: gates of a GRU,
    bins of a flattened frame, phases of a sub-pixel convolution.
    """

    tensor: str
    axis: int
    blocks: int = 1


@dataclass(frozen=True)
class Group:
    """Channels that stay or go together; scaling ``gains`` at ``c`` scales all of channel ``c``."""

    name: str
    channels: int
    members: tuple[Member, ...]
    gains: tuple[Member, ...]


def level_name(index: int) -> str:
    return f"level {index}"


def block_latents(index: int) -> str:
    """The units of one block of dual paths: each block loses its own."""
    return f"{LATENTS} {index}"


def groups(config: UNetConfig) -> list[Group]:
    """One group for each level, shallowest first, then the latents.

    Raises InputError for a bottleneck that is not pruned.
    """
    if config.bottleneck == "bigru":
        raise InputError(
            "A network with the bottleneck `bigru` cannot be pruned: it does not stream.",
            hint="Prune a student with `bottleneck: gru`, `tcn` or `dual`.",
        )
    return [*(_level(config, index) for index in range(len(config.widths))), *_latents(config)]


def _level(config: UNetConfig, index: int) -> Group:
    last = len(config.widths) - 1
    members = [
        Member(f"encoder.{index}.conv.weight", 0),
        Member(f"decoder.{last - index}.conv.weight", 1),
    ]
    gains = [Member(f"encoder.{index}.norm.{name}", 0) for name in ("weight", "bias")]
    members += _norm(f"encoder.{index}.norm")
    if index < last:
        below, phases = f"decoder.{last - index - 1}", config.strides[index + 1]
        members += [
            Member(f"encoder.{index + 1}.conv.weight", 1),
            Member(f"{below}.conv.weight", 0, phases),
            *_norm(f"{below}.norm", phases),
        ]
        gains += [Member(f"{below}.norm.{name}", 0, phases) for name in ("weight", "bias")]
    else:
        passed, added = _through_bottleneck(config)
        members += passed
        gains += added
    return Group(level_name(index), config.widths[index], tuple(members), tuple(gains))


def _through_bottleneck(config: UNetConfig) -> tuple[list[Member], list[Member]]:
    """What the bottleneck computes of or for the deepest channels, and their gains there."""
    match config.bottleneck:
        case "gru":
            return _whole_frames("bottleneck", "gru.weight_ih_l0", "expand", config)
        case "dual":
            members, gains = _dual_channels(config)
            if config.full_band:
                path = "bottleneck.full_band"
                more = _whole_frames(path, "recurrence.gates.weight", "leave", config)
                members, gains = members + more[0], gains + more[1]
            return members, gains
        case _:
            return _whole_frames("bottleneck", "enter.weight", "expand", config)


def _whole_frames(
    path: str, entry: str, exit_: str, config: UNetConfig
) -> tuple[list[Member], list[Member]]:
    """Flattened frames in at the weight ``entry``, and out at the layer ``exit_``."""
    bins = _deepest_bins(config)
    exits = [Member(f"{path}.{exit_}.{name}", 0, bins) for name in ("weight", "bias")]
    return [Member(f"{path}.{entry}", 1, bins), *exits], exits


def _dual_channels(config: UNetConfig) -> tuple[list[Member], list[Member]]:
    """What every block adds to a channel; products along frequency leave channels apart."""
    members, gains = [], []
    for block in range(config.blocks):
        path = f"bottleneck.blocks.{block}"
        leave = [Member(f"{path}.leave.{name}", 0) for name in ("weight", "bias")]
        members += [Member(f"{path}.recurrence.gates.weight", 1), *leave]
        members += [Member(f"{path}.enter.weight", axis) for axis in (0, 1)]
        members += _norm(f"{path}.norm")
        gains += [*leave, *(Member(f"{path}.norm.{name}", 0) for name in ("weight", "bias"))]
    return members, gains


def _deepest_bins(config: UNetConfig) -> int:
    bins = config.resolution
    for stride in config.strides:
        bins //= stride
    return bins


def _norm(path: str, blocks: int = 1) -> list[Member]:
    names = ("weight", "bias", "running_mean", "running_var")
    return [Member(f"{path}.{name}", 0, blocks) for name in names]


def _latents(config: UNetConfig) -> list[Group]:
    match config.bottleneck:
        case "gru":
            return [_gru_units(config)]
        case "dual":
            blocks = [
                _min_gru_units(block_latents(block), config.hidden, f"bottleneck.blocks.{block}")
                for block in range(config.blocks)
            ]
            if config.full_band:
                blocks.append(_min_gru_units(FULL_BAND, config.full_band, "bottleneck.full_band"))
            return blocks
        case _:
            return [_convolved(config)]


def _gru_units(config: UNetConfig) -> Group:
    """The gains of a GRU's unit are its ways out: what it computes has no scale of its own."""
    path = "bottleneck.gru"
    out, recurrent = Member("bottleneck.expand.weight", 1), Member(f"{path}.weight_hh_l0", 1)
    rows = [
        Member(f"{path}.{tensor}_l0", 0, GRU_GATES)
        for tensor in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    return Group(LATENTS, config.hidden, (*rows, recurrent, out), (out, recurrent))


def _min_gru_units(name: str, hidden: int, path: str) -> Group:
    """As of a GRU, but a unit hears no other."""
    out = Member(f"{path}.leave.weight", 1)
    rows = [
        Member(f"{path}.recurrence.gates.{tensor}", 0, MIN_GRU_GATES)
        for tensor in ("weight", "bias")
    ]
    return Group(name, hidden, (*rows, out), (out,))


def _convolved(config: UNetConfig) -> Group:
    """The channels of temporal convolutions, which all blocks add up."""
    out = Member("bottleneck.expand.weight", 1)
    members = [Member(f"bottleneck.enter.{name}", 0) for name in ("weight", "bias")]
    gains = list(members)
    for block in range(len(TCN_DILATIONS)):
        path = f"bottleneck.blocks.{block}"
        members += [Member(f"{path}.conv.weight", axis) for axis in (0, 1)]
        members += _norm(f"{path}.norm")
        gains += [Member(f"{path}.norm.{name}", 0) for name in ("weight", "bias")]
    return Group(LATENTS, config.hidden, (*members, out), tuple(gains))


def per_channel(values: Tensor, member: Member, channels: int) -> Tensor:
    """Sums ``[channels]`` of a tensor of the member's shape over all that belongs to a channel."""
    rows = values.movedim(member.axis, 0).reshape(member.blocks, channels, -1)
    return rows.sum(dim=(0, 2))


def smaller(config: UNetConfig, keep: float) -> UNetConfig:
    """Sizes with the share ``keep`` of channels and latents, to the nearest multiple of four.

    All of them stay as they are where ``keep`` is 1.
    """
    if not 0.0 < keep <= 1.0:
        raise InputError(f"Cannot keep a share of {keep:g}.", hint="Choose between 0 and 1.")

    if keep == 1.0:
        return config

    def kept(size: int) -> int:
        return min(size, max(MULTIPLE, round(size * keep / MULTIPLE) * MULTIPLE))

    update = {
        "widths": tuple(map(kept, config.widths)),
        "hidden": kept(config.hidden),
        "full_band": kept(config.full_band),
    }
    return config.model_copy(update=update)


def strongest(importance: Mapping[str, Tensor], sizes: UNetConfig) -> dict[str, list[int]]:
    """The channels to keep of every group, ascending: the most important ones for ``sizes``."""
    counts = {group.name: group.channels for group in groups(sizes)}
    return {
        name: sorted(torch.argsort(values, descending=True, stable=True)[: counts[name]].tolist())
        for name, values in importance.items()
    }


def prune(network: UNet, kept: Mapping[str, Sequence[int]]) -> UNet:
    """A new network with only the ``kept`` channels (ascending) of every group, by its name; the
    blocks of dual paths keep equally many units.

    Where all that goes has weight zero, it computes the same function.
    """
    config = network.config
    weights = dict(network.state_dict())
    for group in groups(config):
        chosen = torch.tensor(kept[group.name], dtype=torch.long)
        for member in group.members:
            value = weights[member.tensor]
            blocks = torch.arange(member.blocks)[:, None] * group.channels
            index = (blocks + chosen).flatten().to(value.device)
            weights[member.tensor] = value.index_select(member.axis, index)
    latents = block_latents(0) if config.bottleneck == "dual" else LATENTS
    sizes: dict[str, object] = {
        "widths": tuple(len(kept[level_name(index)]) for index in range(len(config.widths))),
        "hidden": len(kept[latents]),
    }
    if FULL_BAND in kept:
        sizes["full_band"] = len(kept[FULL_BAND])
    pruned = UNet(config.model_copy(update=sizes))
    pruned.load_state_dict(weights)
    return pruned.eval()
