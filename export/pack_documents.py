"""The words of a pack: instructions for the firmware engineer, and where the model comes from."""

from __future__ import annotations

from importlib import resources
from string import Template

from runtime.artefact import Sidecar
from runtime.pack_format import canonical_json
from runtime.stft import StftContract

EXACT = ", bit for bit with reference kernels; optimised kernels may differ by one step"
CLOSE = " within {tolerance:g}"
REAL = "It is a real gain"
COMPLEX = "The two channels are\n   the real and the imaginary part of a gain"


def readme(sidecar: Sidecar, frames: int, tolerance: float, *, has_sources: bool) -> bytes:
    """``README.md``: call order, state feedback, reset and quantization."""
    contract = sidecar.contract
    states = ", ".join(f"`{state.output}` to `{state.input}`" for state in sidecar.states)
    text = Template(_text("README.md.in")).substitute(
        name=sidecar.name,
        target=sidecar.target,
        source_rows=_text("sources.md.in") if has_sources else "",
        example=_text("example.md.in") if has_sources else "",
        frames=frames,
        hop=contract.hop,
        hop_ms=f"{contract.milliseconds(contract.hop):g}",
        rate=contract.sample_rate,
        window=contract.window_length,
        analysis=_analysis_formula(contract),
        synthesis=_synthesis_formula(contract),
        kept=_kept(contract),
        fft=f"{contract.fft_size} points{_zeros(contract)}",
        scale=f"{contract.scale:.9g}",
        bins=contract.bins,
        compression=f"{contract.compression:g}",
        features_name=sidecar.inputs[0].name,
        mask_name=sidecar.outputs[0].name,
        channels=REAL if sidecar.outputs[0].shape[-1] == 1 else COMPLEX,
        states=states or "no states",
        delay=contract.output_delay,
        algorithmic=contract.algorithmic_delay,
        algorithmic_ms=f"{contract.milliseconds(contract.algorithmic_delay):g}",
        exactness=CLOSE.format(tolerance=tolerance) if tolerance else EXACT,
    )
    return text.encode()


def _analysis_formula(contract: StftContract) -> str:
    fall = contract.synthesis_length // 2
    rise = contract.window_length - fall
    if rise == fall:
        return f"`sqrt(0.5 - 0.5 cos(2 pi n / {contract.window_length}))`"
    return (
        f"`w[n] = sqrt(0.5 - 0.5 cos(pi n / {rise}))` up to n = {rise - 1}, from there on\n"
        f"   `w[n] = sqrt(0.5 + 0.5 cos(pi (n - {rise}) / {fall}))`"
    )


def _synthesis_formula(contract: StftContract) -> str:
    length, share = contract.synthesis_length, 2.0 / contract.overlap
    if length == contract.window_length:
        times = "" if share == 1.0 else f" times {share:g}"
        return f"(the analysis window{times})"
    return (
        f"`{0.5 * share:g} (1 - cos(2 pi k / {length})) / w[{contract.window_length - length} + k]`"
    )


def _kept(contract: StftContract) -> str:
    """Which samples of the inverse transform are used, empty when all of them are."""
    if contract.synthesis_length == contract.fft_size:
        return ""
    first = contract.window_length - contract.synthesis_length
    return f" take samples {first} to {contract.window_length - 1} (k = 0, 1, …),"


def _zeros(contract: StftContract) -> str:
    padding = contract.fft_size - contract.window_length
    return f" ({padding} zeros follow the window)" if padding else ""


def licence() -> bytes:
    """The Apache License 2.0, under which the generated sources stand."""
    return _text("LICENSE.in").encode()


def licences(sidecar: Sidecar) -> bytes:
    """``licences.json``: what is known of the model's origin, and the licence of the sources."""
    # Of the training data; what the export calibrated on is stated under a name of its own.
    stated = any(key.startswith("licence:") for key in sidecar.provenance)
    return canonical_json(
        {
            "model": dict(sidecar.provenance),
            "training_data_licences": "stated under licence:"
            if stated
            else "unknown: ask who trained it",
            "generated_sources": "Apache-2.0",
        }
    )


def _text(name: str) -> str:
    return (resources.files("export") / "pack_texts" / name).read_text("utf-8")
