"""Activations read from inside a network by module path, in one layout for every method.

A tap is a module path as ``named_modules`` spells it, optionally with the layout of what that
module returns: ``encoder.2:bctf``. Letters: ``b`` batch, ``t`` time, ``f`` frequency, ``c``
channels; ``b`` and ``t`` must be there. Without one, four axes are read as ``bctf`` and three as
``btc``, which is what this project's networks return.

What comes out is always ``[batch, time, frequency, channels]``; a missing axis has length one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill import stft
from distill.views import TapShape
from runtime.stft import StftContract
from targets.errors import InputError

CANONICAL = "btfc"
_USUAL = {3: "btc", 4: "bctf"}
_LISTED = 20  # paths an error message lists
_DRY_FRAMES = 8


class Tap(NamedTuple):
    """A module path (or tensor name) and the layout given with it, empty where none was."""

    path: str
    layout: str


def parse_tap(text: str) -> Tap:
    """Split ``path:layout``. A suffix of other letters belongs to the name (``output:0``).

    Raises InputError for a layout with a letter twice or without batch or time.
    """
    path, _, layout = text.rpartition(":")
    if not path or not layout or set(layout) - set(CANONICAL):
        return Tap(text, "")
    if len(set(layout)) < len(layout) or not {"b", "t"} <= set(layout):
        raise InputError(
            f"The tap {text!r} has a wrong layout behind the colon.",
            hint="Name each axis once: b batch, t time, f frequency, c channels; b and t always.",
        )
    return Tap(path, layout)


def canonical(activation: Tensor, tap: str) -> Tensor:
    """``activation`` as ``[batch, time, frequency, channels]``, by the layout of ``tap``."""
    path, layout = parse_tap(tap)
    layout = layout or _USUAL.get(activation.dim(), "")
    if len(layout) != activation.dim():
        raise InputError(
            f"The tap {tap!r} gives {activation.dim()} axes {tuple(activation.shape)}"
            + (f", its layout names {len(layout)}." if layout else "."),
            hint=f"Name the axes behind the path, as in '{path}:bct'.",
        )
    present = [letter for letter in CANONICAL if letter in layout]
    value = activation.permute([layout.index(letter) for letter in present])
    for axis, letter in enumerate(CANONICAL):
        if letter not in present:
            value = value.unsqueeze(axis)
    return value


def tap_paths(network: nn.Module) -> list[str]:
    """Every module path of ``network`` that can be tapped, in the order of definition."""
    return [path for path, _ in network.named_modules() if path]


def require_tap(tap: str, known: Sequence[str], owner: str) -> None:
    """Raise InputError, listing what there is, where ``owner`` has no such path."""
    path = parse_tap(tap).path
    if path not in known:
        raise InputError(
            f"The {owner} has nothing named {path!r} to tap.", hint=existing(path, known)
        )


def existing(path: str, known: Sequence[str]) -> str:
    """A sentence or two: the closest names to ``path``, then the first twenty of all."""
    if not known:
        return "It can be tapped nowhere."
    close = difflib.get_close_matches(path, known, n=1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"{guess}There are: {', '.join(known[:_LISTED])}{more}."


@contextmanager
def capture(network: nn.Module, taps: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Yields a dict that each forward pass of ``network`` fills: tap as given → activation.

    Of a module that returns several tensors the first is taken; of one that runs several times in
    a pass, the last. Gradients flow. Raises InputError for a path that does not exist.
    """
    known = tap_paths(network)
    for tap in taps:
        require_tap(tap, known, "network")
    found: dict[str, Tensor] = {}
    hooks = []
    try:
        for tap in dict.fromkeys(taps):
            module = network.get_submodule(parse_tap(tap).path)
            hooks.append(module.register_forward_hook(_store(found, tap)))
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _store(found: dict[str, Tensor], tap: str) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        found[tap] = canonical(_first_tensor(output, tap), tap)

    return hook


def _first_tensor(output: Any, tap: str) -> Tensor:
    values = list(output.values()) if isinstance(output, Mapping) else output
    while isinstance(values, list | tuple) and values:
        values = values[0]
    if not isinstance(values, Tensor):
        raise InputError(f"The module {tap!r} returns no tensor.", hint="Tap another module.")
    return values


def align_frames(activations: Mapping[str, Tensor], frames: int) -> dict[str, Tensor]:
    """The last ``frames`` frames of each activation.

    A network with look-ahead runs over as many frames more as it looks ahead, and what it knows
    at frame ``t + look_ahead`` describes frame ``t``: dropping the first ones aligns both.
    """
    for tap, value in activations.items():
        if value.shape[1] < frames:
            raise InputError(
                f"The tap {tap!r} has {value.shape[1]} frames, the spectra have {frames}.",
                hint="Tap a module that keeps the resolution in time, or name its layout.",
            )
    return {tap: value[:, value.shape[1] - frames :] for tap, value in activations.items()}


def tap_shapes(
    network: nn.Module, taps: Sequence[str], contract: StftContract
) -> dict[str, TapShape]:
    """Shapes of the activations of a network that maps features of ``contract``, by a dry run."""
    device = next(network.parameters()).device
    silence = torch.zeros(1, _DRY_FRAMES * contract.hop, device=device)
    features = stft.features(contract, stft.analyse(contract, silence))
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), capture(network, taps) as found:
            network(features)
    finally:
        network.train(training)
    return shapes_of(found, taps)


def shapes_of(activations: Mapping[str, Tensor], taps: Sequence[str]) -> dict[str, TapShape]:
    """Bins and channels of each of ``taps``; raises InputError for one that never ran."""
    for tap in taps:
        if tap not in activations:
            raise InputError(
                f"The module {tap!r} does not run in a forward pass.",
                hint="Tap the module that contains it, or one that is called itself.",
            )
    return {tap: TapShape(*activations[tap].shape[2:]) for tap in taps}
