"""A student of every contract becomes an int8 file that denoises in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from distill import stft
from distill.checkpoint import load_checkpoint
from distill.unet import UNetConfig
from export.formats import Format
from export.material import Material
from export.pipeline import verified_models, write_artefacts
from export.quality import snr_db
from export.trained import of_checkpoint
from runtime.artefact import load_artefact
from runtime.denoiser import denoise_signal
from runtime.stft import CONTRACTS, StftContract

pytestmark = [
    pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro: Linux x86-64 only"),
    pytest.mark.usefixtures("short_probe"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mcu", "hearing-aid"])
def test_the_int8_file_does_what_the_network_does_in_this_contract(
    name: str, run_folder: Path, material: Material, tmp_path: Path
) -> None:
    preset = CONTRACTS[name]
    # The network of the fixture opens with level: louder spectra take the place of training.
    contract = preset.model_copy(update={"bins": 64, "scale": 3.0 * preset.scale})
    loaded = load_checkpoint(run_folder)
    record = loaded.record.model_copy(update={"contract": contract})
    checkpoint = replace(loaded, record=record)
    models = verified_models(
        of_checkpoint(checkpoint), ["tflite-int8"], material, lambda stage, done: None
    )
    (written,) = write_artefacts(models, tmp_path / "out")
    artefact = load_artefact(written.path)
    assert artefact.sidecar.contract == contract
    assert {gate.verdict for gate in artefact.sidecar.gates} == {"pass"}
    noisy = material.held_out[0].noisy
    with torch.no_grad():
        spectra = stft.analyse(contract, torch.from_numpy(noisy)[None])
        mask = checkpoint.network(stft.features(contract, spectra)).mask
        masked = stft.apply_mask(contract, spectra, mask)
        expected = stft.synthesise(contract, masked, len(noisy))[0].numpy()
    denoised = denoise_signal(artefact, None, noisy)
    assert snr_db(expected, denoised) > 20.0
    assert snr_db(expected, np.roll(denoised, 1)) < 20.0  # a sample out of place is seen


@pytest.mark.slow
def test_a_short_delay_over_a_long_window_passes_all_gates(
    save_kind: Callable[[UNetConfig], Path], material: Material
) -> None:
    """One frame at a time, remembered by each bin and by all of them together."""
    config = UNetConfig(
        bins=64,
        widths=(6, 8, 10),
        hidden=12,
        bottleneck="dual",
        blocks=1,
        kernel_time=1,
        full_band=8,
    )
    preset = StftContract(
        window="asymmetric_sqrt_hann", window_length=512, hop=64, synthesis_length=128
    )
    contract = preset.model_copy(update={"bins": 64, "scale": 3.0 * preset.scale})
    loaded = load_checkpoint(save_kind(config))
    record = loaded.record.model_copy(update={"contract": contract})
    formats: list[Format] = ["tflite-int8", "tflite-int16x8", "c-int8"]
    models = verified_models(
        of_checkpoint(replace(loaded, record=record)), formats, material, lambda stage, done: None
    )
    assert [model.sidecar.target for model in models] == formats
    for model in models:
        assert model.sidecar.contract == contract
        states = [spec.name for spec in model.sidecar.inputs[1:]]
        assert states == ["dual0_in", "full_in"]
        assert {gate.verdict for gate in model.sidecar.gates} == {"pass"}
