"""Figures that follow from an artefact's file and sidecar alone."""

from __future__ import annotations

from runtime.artefact import Sidecar
from runtime.figures import Figure, Provenance


def exact_figures(sidecar: Sidecar) -> list[Figure]:
    """Size or memory, parameters, work, hop and delay: all exact."""
    contract, network = sidecar.contract, sidecar.network
    steps_per_second = contract.steps_per_second
    exporter = f"sidecar, sordino {sidecar.tools.get('sordino', 'of unknown version')}"
    work = network.macs_per_step
    return [
        *_sizes(sidecar),
        exact("parameters", network.parameters, "", exporter),
        exact("work per step", work, "MAC", exporter, "one hop, one channel"),
        exact(
            "work per second",
            work * steps_per_second,
            "MAC/s",
            exporter,
            f"{steps_per_second:g} steps/s",
        ),
        exact("hop", contract.milliseconds(contract.hop), "ms", "contract"),
        exact(
            "algorithmic delay",
            contract.milliseconds(contract.algorithmic_delay),
            "ms",
            "contract",
            "the synthesis window, no look-ahead",
        ),
    ]


def _sizes(sidecar: Sidecar) -> list[Figure]:
    """The file a device stores, or what C takes once compiled."""
    if not sidecar.memory:
        return [exact("model size", sidecar.model.bytes, "bytes", "file size")]
    parts = (
        ("constants", "constants", "flash, without code"),
        ("static RAM", "ram", "states and arena"),
        ("constants of the audio path", "audio_constants", "windows and tables of the FFT"),
        ("static RAM of the audio path", "audio_ram", "what is heard and overlaps; features, mask"),
    )
    return [
        exact(name, sidecar.memory[key], "bytes", "generator", what)
        for name, key, what in parts
        if key in sidecar.memory
    ]


def exact(name: str, value: float, unit: str, tool: str, conditions: str = "") -> Figure:
    """A figure that was counted."""
    return Figure(
        name=name,
        value=value,
        unit=unit,
        provenance=Provenance.EXACT,
        tool=tool,
        conditions=conditions,
    )
