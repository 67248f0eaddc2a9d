"""What in a network will not stream or will not quantize, by the path of the layer.

Modules are looked at, and the network is tried: functional code hides from a look, and what a
normalisation spans depends on the layout of its input. See :mod:`distill.tracing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from distill.operators import Severity, trouble_with
from distill.tracing import CHANGED, Example, Trace, TracedCall, trace
from distill.unet import UNet
from runtime.stft import FEATURE_CHANNELS, StftContract

Rule = Literal[
    "time-normalisation",
    "bidirectional",
    "attention",
    "whole-sequence",
    "look-ahead",
    "time-rate",
    "operator",
    "unfolded-norm",
    "not-run",
]

_NORMS = (_InstanceNorm, _BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
_ATTENTION = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
# What a batch norm or a clamp right behind it becomes a part of.
_FOLDING = frozenset({"convolution", "addmm", "mm"})
_NORM_OPERATORS = ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")


@dataclass(frozen=True)
class Finding:
    """``layer`` is a module path, empty for the network's own code.

    ``error``: will not stream or quantize as it is. ``warning``: will, at a price that the message
    names. ``unknown``: could not be told.
    """

    layer: str
    rule: Rule
    severity: Severity
    message: str
    hint: str


def lint(network: nn.Module, example: Example | None = None) -> list[Finding]:
    """Findings on any network, those that keep it from streaming first.

    ``example`` makes the inputs for a number of frames; without it the network is given the
    features of a contract ``[1, 3, frames, bins]``. Weights and training flags stay as they were.
    """
    try:
        traced = trace(network, example or _features_of(network))
    except Exception as error:  # whatever a foreign forward raises
        reason = str(error).partition("\n")[0] or type(error).__name__
        unrun = Finding(
            "",
            "not-run",
            "unknown",
            f"the network could not be run on the example input ({reason}), so its layers were "
            "only looked at",
            "Give the shape of its input.",
        )
        return [unrun, *_looked_at(network)]
    return _ordered([*_streaming(network, traced), *_quantizing(traced)])


def errors(findings: list[Finding]) -> list[Finding]:
    """Those that keep the network from being streamed or quantized as it is."""
    return [finding for finding in findings if finding.severity == "error"]


def _features_of(network: nn.Module) -> Example:
    bins = network.config.bins if isinstance(network, UNet) else StftContract().bins
    return lambda frames: (torch.empty(1, FEATURE_CHANNELS, frames, bins),)


def _ordered(findings: list[Finding]) -> list[Finding]:
    rank = {"error": 0, "warning": 1, "unknown": 2}
    return sorted(dict.fromkeys(findings), key=lambda finding: rank[finding.severity])


def _streaming(network: nn.Module, traced: Trace) -> Iterator[Finding]:
    for call in traced.root.walk():
        if not call.inner and call.time and call.time_out and call.time.rate != call.time_out.rate:
            yield _rate_finding(call)
    spanning = {call.path: call for call in traced.root.walk() if _spans_time(call)}
    for call in spanning.values():
        yield _future_finding(replace(call, lag_in=0, lag_out=CHANGED), 0)
    if traced.root.time_out is None:
        yield Finding(
            "",
            "not-run",
            "unknown",
            "the output has no axis that grows with the input, so look-ahead cannot be measured",
            "Give an example input whose output has one entry per frame.",
        )
        return
    if (traced.root.lag_out or 0) > 0:
        declared = network.config.look_ahead if isinstance(network, UNet) else 0
        for call in _sources(traced.root):
            if call.path not in spanning:
                yield _future_finding(call, declared)


def _spans_time(call: TracedCall) -> bool:
    """Whether type and layout alone say that an output needs the whole sequence.

    Behind one such layer the trial finds no other: everything knows the future already.
    """
    module, time = call.module, call.time
    if time is None:
        return False
    match module:
        case nn.RNNBase():
            return module.bidirectional and time.axis == int(module.batch_first)
        case _InstanceNorm() | nn.GroupNorm():
            return time.axis >= 2 and not getattr(module, "track_running_stats", False)
        case _BatchNorm():
            return not module.track_running_stats and time.axis != 1
        case nn.LayerNorm() | nn.RMSNorm():
            return time.axis >= time.dims - len(module.normalized_shape)
    return False


def _sources(call: TracedCall) -> list[TracedCall]:
    """The innermost calls whose output knows more of the future than their input."""
    inside = [source for inner in call.inner for source in _sources(inner)]
    if inside:
        return inside
    loses_time = not call.inner and call.time is not None and call.time_out is None
    known = call.lag_in is not None and call.lag_out is not None
    gains = known and (call.lag_out or 0) > max(0, call.lag_in or 0)
    return [call] if gains or loses_time else []


def _future_finding(call: TracedCall, declared: int) -> Finding:
    module, frames = call.module, (call.lag_out or 0) - max(0, call.lag_in or 0)
    whole = call.lag_out is None or call.lag_out >= CHANGED
    span = "the whole sequence" if whole else f"{frames} frame{'s' * (frames > 1)} ahead"

    def finding(rule: Rule, message: str, hint: str) -> Finding:
        return Finding(call.path, rule, "error", message, hint)

    if isinstance(module, nn.RNNBase) and module.bidirectional:
        return finding(
            "bidirectional",
            "runs backwards through time, so every output needs the whole sequence",
            "Make it unidirectional; keep backward recurrence for teachers.",
        )
    if isinstance(module, _NORMS):
        return finding(
            "time-normalisation",
            f"{type(module).__name__} takes its statistics over time (it sees {span})",
            "Use batch norm with running statistics, or normalise within the frame.",
        )
    if isinstance(module, (*_ATTENTION, nn.Softmax)):
        return finding(
            "attention",
            f"attends to the future ({span})",
            "Mask the future and bound the past, or use a recurrent layer.",
        )
    if whole:
        where = "this layer" if not call.inner else "the code around its layers"
        return finding(
            "whole-sequence",
            f"an output needs the whole sequence: {where} mixes all frames (a mean, norm or "
            "attention over time)",
            "Use a causal recursion, or statistics kept from training.",
        )
    if frames == declared:
        return Finding(
            call.path,
            "look-ahead",
            "warning",
            f"looks {span}, as declared: the device delays its output by as much",
            "Set look_ahead to 0 where every hop of delay counts.",
        )
    return finding(
        "look-ahead",
        f"sees {span}: padding on the right, or a shift against time",
        "Pad the past only (kernel_time − 1 frames), or delay the output by as many frames.",
    )


def _rate_finding(call: TracedCall) -> Finding:
    assert call.time is not None
    assert call.time_out is not None
    ratio = call.time_out.rate / call.time.rate
    change = f"1 frame out for {1 / ratio:g} in" if ratio < 1 else f"{ratio:g} frames out for 1 in"
    return Finding(
        call.path,
        "time-rate",
        "error",
        f"{type(call.module).__name__} changes the rate along time ({change}): a step is one frame "
        "in and one out",
        "Stride and upsample along frequency only.",
    )


def _quantizing(traced: Trace) -> Iterator[Finding]:
    modules = {call.path: call for call in traced.root.walk()}
    for use in traced.uses:
        folds = use.after in _FOLDING
        trouble = trouble_with(use.operator, use.computed, fuses=folds)
        if trouble is not None:
            yield Finding(use.layer, "operator", trouble.severity, trouble.message, trouble.hint)
        norm = isinstance(modules[use.layer].module, _BatchNorm)
        if use.operator in _NORM_OPERATORS and norm and not folds:
            yield Finding(
                use.layer,
                "unfolded-norm",
                "warning",
                f"{type(modules[use.layer].module).__name__} does not follow a convolution or "
                "linear layer directly, so it cannot be folded into weights",
                "Put it right behind the convolution, before the activation.",
            )
    for call in modules.values():
        if isinstance(call.module, nn.RNNBase):
            yield from _recurrence(call)


def _recurrence(call: TracedCall) -> Iterator[Finding]:
    module = call.module
    assert isinstance(module, nn.RNNBase)
    if isinstance(module, nn.LSTM):
        yield Finding(
            call.path,
            "operator",
            "warning",
            "an LSTM is not among the layers that sordino writes out for devices",
            "Use a GRU: it is written out as matrix products.",
        )
    if call.time is not None and call.time.axis != int(module.batch_first):
        yield Finding(
            call.path,
            "operator",
            "warning",
            "recurs along another axis than time: on a device it is unrolled, step by step",
            "Use convolutions along frequency.",
        )


def _looked_at(network: nn.Module) -> Iterator[Finding]:
    """What a look at the modules alone can suspect."""

    def suspicion(path: str, rule: Rule, message: str) -> Finding:
        return Finding(path, rule, "warning", message, "Give the shape of the input to be certain.")

    for path, module in network.named_modules():
        if isinstance(module, nn.RNNBase) and module.bidirectional:
            yield suspicion(path, "bidirectional", "recurs both ways: not over time, if it streams")
        elif isinstance(module, _NORMS) and not (
            isinstance(module, _BatchNorm) and module.track_running_stats
        ):
            yield suspicion(
                path,
                "time-normalisation",
                f"{type(module).__name__} may take its statistics over time",
            )
        elif isinstance(module, _ATTENTION):
            yield suspicion(path, "attention", "may attend to the future")
        elif isinstance(module, nn.Conv1d | nn.Conv2d) and _pads_time(module):
            yield suspicion(path, "look-ahead", "pads the end of its first axis: time, perhaps")


def _pads_time(module: nn.Conv1d | nn.Conv2d) -> bool:
    if isinstance(module.padding, str):
        return module.padding == "same" and module.kernel_size[0] > 1
    return module.padding[0] > 0 and module.kernel_size[0] > 1
