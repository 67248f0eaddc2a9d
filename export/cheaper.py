"""The cheapest change of a network, before it is trained, that makes it fit a target.

Sizes are searched, one kind at a time: latents only, channels only, both alike. Of what fits, the
network is taken that keeps most: the largest product of the shares of parameters and of work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from distill.unet import PRESETS, UNet, UNetConfig
from export.budget import NetworkBudget, budget
from export.footprint import activation_peak, weight_bytes
from export.lowering import lower
from export.subjects import Subject
from runtime.contract import CONTRACTS, StftContract
from targets.fit import fit_verdict
from targets.remedies import all_mended
from targets.schema import Target
from targets.verdict import Verdict

MULTIPLE = 4  # of channels and latents: what int8 kernels take at once
STEPS = 16  # sizes are tried in sixteenths


class Change(BaseModel):
    """A network that fits better; ``verdict`` is that of the target after the change. ``preset`` is
    the largest shipped network that the target does not refuse, empty where it refuses them all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    verdict: Verdict
    network: UNetConfig
    contract: StftContract
    preset: str = ""


def cheapest_change(subject: Subject, target: Target) -> Change | None:
    """A change after which ``target`` no longer refuses the network; None where none was found."""
    network = subject.network
    if not isinstance(network, UNet):
        return None
    changed = _streaming(subject)
    limit = target.budget.algorithmic_latency_ms
    if limit is not None:
        found = _in_time(changed, limit)
        if found is None:
            return None
        changed = found
    current = budget(changed, [target])
    if current.targets[0].fit.verdict == "does not fit":
        smaller = _smaller(changed, target, current)
        if smaller is None:
            return None
        changed = smaller
        current = budget(changed, [target])
    verdict = current.targets[0].fit.verdict
    if verdict == "does not fit":
        return None
    config = _config(changed)
    return Change(
        text=_text(network.config, config, subject.contract, changed.contract),
        verdict=verdict,
        network=config,
        contract=changed.contract,
        preset=_preset_that_fits(changed, target),
    )


def _preset_that_fits(subject: Subject, target: Target) -> str:
    """The preset of most work, with the subject's contract, that the target does not refuse."""
    found = []
    for name, config in PRESETS.items():
        try:
            sized = UNetConfig.model_validate(config.model_dump() | {"bins": subject.contract.bins})
        except ValueError:  # its levels do not divide these bins
            continue
        candidate = replace(subject, network=UNet(sized))
        if budget(candidate, [target]).targets[0].fit.verdict != "does not fit":
            found.append((lower(UNet(sized).eval()).macs, name))
    return max(found, default=(0, ""))[1]


def _config(subject: Subject) -> UNetConfig:
    assert isinstance(subject.network, UNet)
    return subject.network.config


def _streaming(subject: Subject) -> Subject:
    """Without what no device can run."""
    config = _config(subject)
    if config.bottleneck == "bigru" or config.look_ahead:
        bottleneck = "gru" if config.bottleneck == "bigru" else config.bottleneck
        config = config.model_copy(update={"bottleneck": bottleneck, "look_ahead": 0})
        return replace(subject, network=UNet(config))
    return subject


def _in_time(subject: Subject, limit_ms: float) -> Subject | None:
    """The contract of longest window within the limit; of several, the one of longest hop."""

    def delay(contract: StftContract) -> float:
        return contract.milliseconds(contract.algorithmic_delay)

    if delay(subject.contract) <= limit_ms:
        return subject
    for contract in sorted(
        (known for known in CONTRACTS.values() if delay(known) <= limit_ms),
        key=lambda known: (-delay(known), -known.hop),
    ):
        sizes = _config(subject).model_dump() | {"bins": contract.bins}
        try:
            config = UNetConfig.model_validate(sizes)
        except ValueError:  # its levels do not divide these bins
            continue
        return replace(subject, network=UNet(config), contract=contract)
    return None


def _smaller(subject: Subject, target: Target, current: NetworkBudget) -> Subject | None:
    config = _config(subject)
    holds = _judge_of_sizes(subject, target, current)
    graph = lower(UNet(config).eval())
    best, best_kept = None, 0.0
    for candidate in filter(None, (_largest(sizes, holds) for sizes in _knobs(config))):
        after = lower(UNet(candidate).eval())
        kept = (after.parameters / graph.parameters) * (after.macs / graph.macs)
        if kept > best_kept:
            best, best_kept = candidate, kept
    return None if best is None else replace(subject, network=UNet(best))


def _judge_of_sizes(
    subject: Subject, target: Target, current: NetworkBudget
) -> Callable[[UNetConfig], bool]:
    """Whether a network of other sizes mends every budget that ``subject`` exceeds.

    What does not shrink with the network stays as it is: the structure of the file and of the
    arena.
    """
    found = current.targets[0]
    graph = lower(UNet(_config(subject)).eval())
    item = 4 if found.needs.format.endswith("fp32") else 1  # bytes

    def holds(config: UNetConfig) -> bool:
        smaller = lower(UNet(config).eval())
        weights = weight_bytes(smaller, item) - weight_bytes(graph, item)
        activations = activation_peak(smaller, item) - activation_peak(graph, item)
        needs = found.needs.model_copy(
            update={
                "parameters": smaller.parameters,
                "macs_per_step": smaller.macs,
                "constant_bytes": _added(found.needs.constant_bytes, weights),
                "static_ram_bytes": _added(found.needs.static_ram_bytes, activations),
                "arena_bytes": _added(found.needs.arena_bytes, activations),
            }
        )
        return all_mended(found.fit, fit_verdict(target, needs))

    return holds


def _added(size: int | None, more: int) -> int | None:
    return None if size is None else max(0, size + more)


def _knobs(config: UNetConfig) -> Iterator[list[UNetConfig]]:
    """Ever smaller networks, by latents, by channels, and by both."""
    for latents, channels in ((True, False), (False, True), (True, True)):
        sizes: list[UNetConfig] = []
        for step in range(STEPS - 1, 0, -1):
            share = step / STEPS
            update: dict[str, object] = {}
            if latents:
                update["hidden"] = _scaled(config.hidden, share)
                update["full_band"] = _scaled(config.full_band, share)
            if channels:
                update["widths"] = tuple(_scaled(width, share) for width in config.widths)
            candidate = config.model_copy(update=update)
            if candidate not in (config, *sizes[-1:]):
                sizes.append(candidate)
        yield sizes


def _scaled(size: int, share: float) -> int:
    return min(size, max(MULTIPLE, round(size * share / MULTIPLE) * MULTIPLE))


def _largest(sizes: list[UNetConfig], holds: Callable[[UNetConfig], bool]) -> UNetConfig | None:
    """The first that holds, sizes falling: found by halving."""
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        if holds(sizes[middle]):
            high = middle
        else:
            low = middle + 1
    return sizes[low] if low < len(sizes) else None


def _text(
    before: UNetConfig, after: UNetConfig, contract: StftContract, other: StftContract
) -> str:
    parts = []
    if other != contract:
        name = next(name for name, known in CONTRACTS.items() if known == other)
        parts.append(f"contract: {name}")
    for field in ("bottleneck", "look_ahead", "widths", "hidden", "full_band"):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            old, new = (list(x) if isinstance(x, tuple) else x for x in (old, new))
            parts.append(f"{field}: {new} (instead of {old})")
    return ", ".join(parts)
