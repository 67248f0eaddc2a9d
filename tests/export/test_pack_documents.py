"""What a pack tells firmware about its STFT: the formulas, computed as they are printed."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

import runtime.profiling.arena
from export.pack import write_pack
from export.pack_documents import readme
from export.pack_golden import held_out_signal
from runtime.benchmark import Arena
from runtime.pack import verify_pack
from runtime.pack_format import MODEL_HEADER
from runtime.stft import CONTRACTS, StftContract
from tests.runtime.packs import files_of, noise
from tests.runtime.tiny_models import tiny_sidecar, write_artefact

SHORT = StftContract(
    window="asymmetric_sqrt_hann", window_length=200, hop=32, synthesis_length=128, fft_size=256
)
CHOSEN = {**CONTRACTS, "padded": SHORT}


def text_of(contract: StftContract, mask_channels: int = 2) -> str:
    sidecar = tiny_sidecar(contract, "tflite-int8", mask_channels=mask_channels)
    return readme(sidecar, 128, 0.0, has_sources=False).decode()


def computed(formula: str, **names: object) -> float:
    """A printed formula as Python: ``2 pi n / 512`` gets its signs of multiplication."""
    formula = re.sub(r"(?<=[\w)\]]) (?=[a-z(])", " * ", formula.partition("= ")[2] or formula)
    return float(eval(formula, {"sqrt": math.sqrt, "cos": math.cos, "pi": math.pi, **names}))


@pytest.mark.parametrize("contract", CHOSEN.values(), ids=CHOSEN)
def test_the_printed_formulas_give_the_windows(contract: StftContract) -> None:
    text = text_of(contract)
    parts = re.split(r"\n(?=\d\. )|\n\n", text)
    steps = [part for part in parts if part.startswith(("1. ", "7. "))]
    formulas = [re.findall(r"`([^`]+)`", step) for step in steps]
    rise = contract.window_length - contract.synthesis_length // 2
    window = [
        computed(formulas[0][0 if n < rise else -1], n=n) for n in range(contract.window_length)
    ]
    assert np.abs(window - contract.analysis_window()).max() < 1e-6
    kept = np.array(window[-contract.synthesis_length :])
    if formulas[1]:
        times = [computed(formulas[1][0], k=k, w=window) for k in range(contract.synthesis_length)]
    else:
        share = re.search(r"analysis window times ([\d.]+)", steps[1])
        times = list(kept * (float(share[1]) if share else 1.0))
    assert np.abs(times - contract.synthesis_window()).max() < 1e-6
    first = re.search(r"take samples (\d+) to (\d+)", steps[1])
    span = (int(first[1]), int(first[2])) if first else (0, contract.fft_size - 1)
    length, window_length = contract.synthesis_length, contract.window_length
    assert span == (window_length - length, window_length - 1)


def test_delays_padding_and_kind_of_mask_are_stated() -> None:
    hearing_aid = text_of(CONTRACTS["hearing-aid"])
    assert "trail the input by 64 samples; the algorithmic delay is 128 samples\n   (8 ms)" in (
        hearing_aid
    )
    assert "256 points (56 zeros follow the window)" in text_of(SHORT)
    assert "a real gain" in text_of(SHORT, mask_channels=1)
    assert "real and the imaginary part" in hearing_aid


def test_a_pack_for_a_hearing_aid_verifies_and_names_its_synthesis_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = Arena(total_bytes=5000, head_bytes=4000, tail_bytes=1000)
    monkeypatch.setattr(runtime.profiling.arena, "measure_arena", lambda artefact: fixed)
    contract = CONTRACTS["hearing-aid"].model_copy(update={"bins": 16})
    artefact = write_artefact(tmp_path, "tflite-int8", contract=contract)
    summary = write_pack(artefact, tmp_path / "pack", signal=noise())
    assert {gate.verdict for gate in verify_pack(tmp_path / "pack")} == {"pass"}
    assert b"#define SORDINO_SYNTHESIS_LENGTH 128\n" in files_of(tmp_path / "pack")[MODEL_HEADER]
    report = next(fit for fit in summary.fits if fit.target == "hearing-aid")
    latency = next(line for line in report.lines if line.budget == "algorithmic latency")
    assert (latency.verdict, latency.needs) == ("fits", 8.0)


def test_golden_speech_lasts_a_second_however_short_the_hop() -> None:
    assert len(held_out_signal(CONTRACTS["hearing-aid"], None).samples) == 16_000
