"""The words of a pack: instructions for the firmware engineer, and where the model comes from."""

from __future__ import annotations

from importlib import resources
from string import Template

from runtime.artefact import Sidecar
from runtime.pack_format import canonical_json

EXACT = ", bit for bit with reference kernels; optimised kernels may differ by one step"
CLOSE = " within {tolerance:g}"


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
        hop_ms=f"{1e3 * contract.hop / contract.sample_rate:g}",
        rate=contract.sample_rate,
        window=contract.window_length,
        fft=contract.fft_size,
        scale=f"{contract.scale:g}",
        bins=contract.bins,
        compression=f"{contract.compression:g}",
        features_name=sidecar.inputs[0].name,
        mask_name=sidecar.outputs[0].name,
        states=states or "no states",
        delay=contract.output_delay,
        algorithmic=contract.algorithmic_delay,
        exactness=CLOSE.format(tolerance=tolerance) if tolerance else EXACT,
    )
    return text.encode()


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
