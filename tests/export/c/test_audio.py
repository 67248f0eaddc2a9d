"""The audio path in C: golden spectra, the numbers of numpy, and nothing a signal could break."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.c.audio.generator import audio_path
from export.c.audio.tables import has_fft
from export.c.naming import Names
from runtime.contract import CONTRACTS, StftContract
from runtime.engines.native import find_compiler
from runtime.engines.native_audio import NativeAudio
from runtime.stepper import quantize
from runtime.stft import StreamingAnalyser, StreamingSynthesiser, apply_mask, features
from runtime.verification.c_audio import c_audio
from runtime.verification.c_source import c_compiles
from targets.errors import InputError
from tests.export.c.audio_support import Stub, port, stub, tone
from tests.export.c.support import HOST_COMPILERS, STRICT, compile_c, write

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
GOLDEN = Path(__file__).parents[2] / "golden" / "spectra.npz"
TOLERANCE = 1e-5  # relative to full scale
ALL_BINS = {
    name: one.model_copy(update={"bins": one.frequencies}) for name, one in CONTRACTS.items()
}
ODD_ONES = {
    "zeros behind a window of 384": StftContract(
        window="asymmetric_sqrt_hann", window_length=384, hop=64, fft_size=512
    ),
    "odd window": StftContract(
        window="asymmetric_sqrt_hann", window_length=301, hop=50, fft_size=512, bins=70
    ),
    "smallest": StftContract(window_length=8, hop=2, bins=5),
    "long hop": StftContract(window_length=128, hop=64, compression=1.0, scale=1.0),
    "many frames": StftContract(window_length=1024, hop=128, sample_rate=48_000),
}

FEATURES = [
    ("phone", "int8"),
    ("phone", "float32"),
    ("mcu", "int16"),
    ("hearing-aid", "int8"),
    *zip(ODD_ONES, ("int8", "int16", "float32", "int8", "float32"), strict=True),
]


def opened(made: Stub) -> NativeAudio:
    return NativeAudio(made.sources, made.sidecar)


def processed(audio: NativeAudio, hops: np.ndarray) -> np.ndarray:
    return np.concatenate([audio.push(hop) for hop in hops])


def expected_identity(contract: StftContract, hops: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """What numpy makes of the signal when the network's mask is 1."""
    mask = np.ones((len(hops), contract.bins, 1), dtype=np.float32)
    spectra = StreamingAnalyser(contract).push_many(hops.reshape(-1))
    return StreamingSynthesiser(contract).push_many(apply_mask(contract, spectra, mask, floor))


def decibels(error: np.ndarray, signal: np.ndarray) -> float:
    return float(10 * np.log10((np.sum(error**2) + 1e-30) / np.sum(signal**2)))


# --- against what is known ------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("name", CONTRACTS)
def test_golden_spectra_and_resynthesis(name: str) -> None:
    golden = np.load(GOLDEN)
    contract = ALL_BINS[name]
    spectra = golden[f"{name}_spectra"]
    hops = np.zeros((len(spectra), contract.hop), np.float32)
    hops.reshape(-1)[: len(golden["signal"])] = golden["signal"]
    frames, bins = np.arange(len(spectra))[:, None], np.arange(contract.frequencies)[None, :]
    gain = (
        0.5 + 0.4 * np.cos(0.3 * frames + 0.05 * bins) + 0.3j * np.sin(0.2 * frames - 0.03 * bins)
    )
    gain[:, -1] = 0.0
    audio = opened(stub(contract))
    audio.mask.reshape(-1, 2)[:] = (1.0, 0.0)
    out = []
    for hop, wanted, factor in zip(hops, spectra, gain, strict=True):
        found = audio.analyse(hop)
        assert np.abs(found - wanted).max() < TOLERANCE
        out.append(audio.synthesise((found * factor).astype(np.complex64)))
    signal = np.concatenate(out)[contract.output_delay :][: len(golden["signal"])]
    assert np.abs(signal - golden[f"{name}_masked"][: len(signal)]).max() < TOLERANCE


@needs_compiler
@pytest.mark.parametrize(("name", "dtype"), FEATURES)
def test_features_and_sound_are_those_of_numpy(name: str, dtype: str) -> None:
    contract = {**CONTRACTS, **ODD_ONES}[name]
    channels = 1 + (contract.hop + len(dtype)) % 2
    made = stub(contract, dtype, channels)
    audio, hops = opened(made), tone(contract, 40)
    analyser = StreamingAnalyser(contract)
    spec = made.sidecar.inputs[0]
    out, differing, total = [], 0, 0
    for hop in hops:
        wanted = quantize(features(contract, analyser.push_many(hop)), spec)[0]
        out.append(audio.push(hop))
        gap = np.abs(audio.features.astype(float) - wanted)
        assert gap.max() <= (2e-5 if dtype == "float32" else 1)
        differing, total = differing + int(np.count_nonzero(gap)), total + gap.size
    if dtype == "int8":
        assert differing <= 1e-3 * total
    expected = expected_identity(contract, hops)
    assert decibels(np.concatenate(out) - expected, expected) < -110.0


@st.composite
def contracts(draw: st.DrawFn) -> StftContract:
    hop, overlap = draw(st.integers(1, 70)), draw(st.integers(2, 5))
    synthesis = hop * (overlap + (hop * overlap) % 2)
    more = draw(st.sampled_from([0, 1, 37, 64]))
    length = synthesis + more
    fft_size = max(8, 1 << (length - 1).bit_length()) << draw(st.integers(0, 1))
    return StftContract(
        window="asymmetric_sqrt_hann" if more else "sqrt_hann_periodic",
        window_length=length,
        hop=hop,
        synthesis_length=synthesis,
        fft_size=fft_size,
        bins=draw(st.integers(1, fft_size // 2 + 1)),
        compression=draw(st.floats(0.1, 1.0)),
    )


@needs_compiler
@settings(deadline=None, max_examples=8)
@given(contract=contracts(), floor=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 9))
def test_any_contract_of_a_power_of_two(contract: StftContract, floor: float, seed: int) -> None:
    made = stub(contract)
    audio, hops = opened(made), tone(contract, 12, seed)
    audio.limit_attenuation(floor)
    expected = expected_identity(contract, hops, floor)
    analyser = StreamingAnalyser(contract)
    out = []
    for hop in hops:
        wanted = features(contract, analyser.push_many(hop))[0]
        out.append(audio.push(hop))
        np.testing.assert_allclose(audio.features, wanted, rtol=1e-4, atol=3e-5)
    error = np.concatenate(out) - expected
    assert np.abs(error).max() < 1e-6 * max(1.0, np.abs(hops).max())


# --- behaviour ------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("channels", [1, 2])
def test_the_attenuation_limit_is_aligned_with_the_delay(channels: int) -> None:
    contract = CONTRACTS["hearing-aid"]
    audio, hops = opened(stub(contract, "float32", channels)), tone(contract, 30)
    audio.limit_attenuation(1.0)  # passes the sound, delayed
    out = processed(audio, hops)
    delay = contract.output_delay
    assert np.abs(out[delay:] - hops.reshape(-1)[:-delay]).max() < 1e-6
    for beyond, as_if in ((-1.0, 0.0), (7.0, 1.0), (float("nan"), 0.0)):
        audio.reset()
        audio.limit_attenuation(beyond)
        expected = expected_identity(contract, hops, as_if)
        assert np.abs(processed(audio, hops) - expected).max() < 1e-6


@needs_compiler
def test_reset_is_a_fresh_start_but_for_the_limit() -> None:
    audio, hops = opened(stub(CONTRACTS["phone"], "int8")), tone(CONTRACTS["phone"], 6)
    audio.limit_attenuation(0.5)
    first = processed(audio, hops)
    audio.reset()
    assert np.array_equal(processed(audio, hops), first)


@needs_compiler
def test_strange_samples_count_as_zero_and_are_forgotten() -> None:
    contract = CONTRACTS["phone"]
    audio, hops = opened(stub(contract, "int8")), tone(contract, 12)
    spoilt, cleaned = hops.copy(), hops.copy()
    strange = [np.nan, np.inf, -np.inf, 3e38, -(2.0**20), 1e-40, -1e-30]
    places = np.arange(len(strange)) * 31
    spoilt[4, places], cleaned[4, places] = strange, 0.0
    out = processed(audio, spoilt)
    assert np.isfinite(out).all()
    audio.reset()
    assert np.array_equal(out, processed(audio, cleaned))


@needs_compiler
def test_the_loudest_samples_leave_finite_sound() -> None:
    contract = CONTRACTS["mcu"]
    audio = opened(stub(contract))
    loud = np.where(tone(contract, 8) > 0, 1.0, -1.0).astype(np.float32) * np.float32(2.0**20 - 1)
    out = processed(audio, loud)
    assert np.isfinite(out).all()
    assert np.isfinite(audio.features).all()


TWO_EARS = """
#include "model_audio.h"

int main(void)
{
    static model_audio_t left, right, alone;
    static float sound[2][MODEL_AUDIO_HOP], out[MODEL_AUDIO_HOP], place[MODEL_AUDIO_HOP];
    model_audio_init(&left);
    model_audio_init(&right);
    model_audio_init(&alone);
    for (int hop = 0; hop < 9; ++hop) {
        for (int i = 0; i < MODEL_AUDIO_HOP; ++i) {
            sound[0][i] = place[i] = (float)((i * 37 + hop * 11) % 101 - 50) / 60.0f;
            sound[1][i] = (float)((i * 13 + hop * 7) % 89 - 44) / 50.0f;
        }
        model_audio_process(&left, sound[0], out);
        model_audio_process(&right, sound[1], sound[1]);
        model_audio_process(&alone, place, place); /* in place */
        for (int i = 0; i < MODEL_AUDIO_HOP; ++i) {
            if (out[i] != place[i]) {
                return 1;
            }
        }
    }
    return 0;
}
"""


@needs_compiler
def test_two_instances_are_independent_and_in_may_be_out(tmp_path: Path) -> None:
    made = stub(CONTRACTS["phone"], "int8")
    write(dict(made.sources) | {"main.c": TWO_EARS.encode()}, tmp_path)
    compile_c(HOST_COMPILERS[0], tmp_path, *STRICT, "main.c", "model.c", "model_audio.c", "-o", "x")
    assert subprocess.run([tmp_path / "x"], timeout=60, check=False).returncode == 0


# --- numbers --------------------------------------------------------------------------------------

NUMBERS = """
#include <stdio.h>
#include "sordino_audio.h"

int main(void)
{
    const sordino_exponent by = {EXPONENT};
    float in, out;
    while (fread(&in, sizeof in, 1, stdin) == 1) {
        out = sordino_power(sordino_log2(in), by);
        fwrite(&out, sizeof out, 1, stdout);
    }
    return 0;
}
"""


@needs_compiler
@pytest.mark.parametrize("compression", [0.3, 0.5, 1.0])
def test_powers_are_within_the_stated_error(compression: float, tmp_path: Path) -> None:
    """Over the powers of 120 dB below full scale to 2^60 above, and around powers of two."""
    made = stub(StftContract(compression=compression))
    text = made.sources["model_audio.c"].decode()
    rng = np.random.default_rng(0)
    near = 2.0 ** np.arange(-39, 60)[:, None] * (1 + np.arange(-40, 41) * 2.0**-23)
    root = 2.0 ** (np.arange(-39, 60)[:, None] + 0.5) * (1 + np.arange(-40, 41) * 2.0**-23)
    spread = 2.0 ** rng.uniform(np.log2(1e-12), 60, 200_000)
    bases = np.concatenate((near.ravel(), root.ravel(), spread)).astype(np.float32)
    for label, exponent in (("level", compression / 2), ("gain", (compression - 1) / 2)):
        printed = text.split(f"_{label} = ")[1].split(";")[0]
        source = NUMBERS.replace("{EXPONENT}", printed)
        write(dict(made.sources) | {"main.c": source.encode()}, tmp_path)
        compile_c(HOST_COMPILERS[0], tmp_path, "-std=c99", "-O2", "main.c", "-o", label)
        done = subprocess.run(
            [tmp_path / label], input=bases.tobytes(), capture_output=True, timeout=60, check=True
        )
        found = np.frombuffer(done.stdout, np.float32).astype(np.float64)
        exact = bases.astype(np.float64) ** exponent
        assert np.abs(found / exact - 1.0).max() < 5e-7


QUANTIZING = """
#include <stdio.h>
#include "sordino_audio.h"

int main(void)
{
    float in;
    int32_t out;
    while (fread(&in, sizeof in, 1, stdin) == 1) {
        sordino_quantize(&in, 1, 0.0125f, 5, -128, 127, &out);
        fwrite(&out, sizeof out, 1, stdout);
    }
    return 0;
}
"""


@needs_compiler
def test_values_are_stored_exactly_as_the_stepper_stores_them(tmp_path: Path) -> None:
    made = stub(CONTRACTS["phone"], "int8")
    spec = made.sidecar.inputs[0]
    halves = (np.arange(-140, 141) + 0.5) * np.float32(0.0125)
    around = np.nextafter(halves.astype(np.float32), np.float32(np.inf))
    spread = np.random.default_rng(0).uniform(-3, 3, 50_000)
    values = np.concatenate(
        (halves, around, spread, [0.0, -0.0, 6e4, -6e4, 1e30, -1e30, 1e36, -1e36, np.inf, -np.inf])
    ).astype(np.float32)
    write(dict(made.sources) | {"main.c": QUANTIZING.encode()}, tmp_path)
    compile_c(HOST_COMPILERS[0], tmp_path, "-std=c99", "-O2", "main.c", "-o", "x")
    done = subprocess.run(
        [tmp_path / "x"], input=values.tobytes(), capture_output=True, timeout=60, check=True
    )
    assert np.array_equal(np.frombuffer(done.stdout, np.int32), quantize(values, spec))


# --- the text -------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_it_compiles_without_a_warning_and_needs_no_library(dtype: str, tmp_path: Path) -> None:
    made = stub(CONTRACTS["hearing-aid"], dtype, 1 + (dtype == "int8"))
    assert c_compiles(made.sources).verdict == "pass"
    write(made.sources, tmp_path)
    flags = ["-std=c99", "-O2", "-ffreestanding", "-fno-math-errno", "-c", "model_audio.c"]
    compile_c(HOST_COMPILERS[0], tmp_path, *flags)
    symbols = subprocess.run(
        ["nm", "-u", "model_audio.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    wanted = {line.split()[-1] for line in symbols.stdout.splitlines()}
    allowed = {"memcpy", "memmove", "memset", "model_init", "model_step", "_GLOBAL_OFFSET_TABLE_"}
    assert wanted <= allowed | {"__stack_chk_fail"}


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no arm-none-eabi-gcc")
@pytest.mark.parametrize(
    "flags",
    [
        ["-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
        ["-mcpu=cortex-m55", "-mfloat-abi=hard"],
        ["-mcpu=cortex-m0plus"],
    ],
    ids=["M4", "M55", "M0+"],
)
def test_it_compiles_for_microcontrollers(flags: list[str], tmp_path: Path) -> None:
    write(stub(CONTRACTS["mcu"], "int8").sources, tmp_path)
    compile_c("arm-none-eabi-gcc", tmp_path, *STRICT, "-O3", *flags, "-c", "model_audio.c")


DRIVER = """
#include <stdio.h>
#include "model_audio.h"

int main(void)
{
    static model_audio_t ear;
    float sound[MODEL_AUDIO_HOP];
    model_audio_init(&ear);
    model_audio_attenuation(&ear, 0.2f);
    while (fread(sound, sizeof sound, 1, stdin) == 1) {
        model_audio_process(&ear, sound, sound);
        fwrite(sound, sizeof sound, 1, stdout);
    }
    return 0;
}
"""


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("compiler", HOST_COMPILERS)
@pytest.mark.parametrize(("name", "dtype"), FEATURES)
def test_any_bits_are_sound_to_it_under_sanitizers(
    name: str, dtype: str, compiler: str, tmp_path: Path
) -> None:
    """Random bits are NaN, infinite, denormal or of any size; what comes out is finite."""
    contract = {**CONTRACTS, **ODD_ONES}[name]
    write(dict(stub(contract, dtype).sources) | {"driver.c": DRIVER.encode()}, tmp_path)
    flags = ["-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if compiler == "clang":
        flags.append("-fsanitize=float-cast-overflow")
    compile_c(compiler, tmp_path, *flags, "driver.c", "model.c", "model_audio.c", "-o", "x")
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 32, (300, contract.hop), dtype=np.uint32)
    fed = np.concatenate((bits.view(np.float32), tone(contract, 50)))
    done = subprocess.run(
        [tmp_path / "x"], input=fed.tobytes(), capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.isfinite(np.frombuffer(done.stdout, np.float32)).all()


# --- the gate, and what it must see ---------------------------------------------------------------

MISTAKES = {
    "window": ("model_audio.c", "model_audio_analysis, ", "model_audio_synthesis, "),
    "scale": ("model_audio.c", "a->heard + MODEL_AUDIO_HOP", "a->heard + MODEL_AUDIO_HOP - 1"),
    "twiddles": (
        "sordino_audio.h",
        "x1[k] * w1[k] - y1[k] * v1[k]",
        "x1[k] * w1[k] + y1[k] * v1[k]",
    ),
    "Nyquist": ("sordino_audio.h", "2.0f * (even - odd)", "2.0f * (odd - even)"),
    "exponent": ("sordino_audio.h", "ratio * t + 1.44269478f", "ratio * t + 1.4f"),
    "rounding": ("sordino_audio.h", "/ scale + SORDINO_SHIFTER", "/ scale + 12582913.0f"),
    "floor": ("sordino_audio.h", "gr = floor + (1.0f", "gr = (1.0f"),
    "overlap": ("model_audio.c", "memset(a->begun + MODEL", "(void)(a->begun + MODEL"),
}


@needs_compiler
def test_the_gate_passes_what_is_right() -> None:
    made = stub(ALL_BINS["phone"], "int8")
    gate = c_audio(made.sources, made.sidecar)
    assert (gate.verdict, gate.name) == ("pass", "c-audio")
    assert "of 77100 stored features differ" in gate.detail


@needs_compiler
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_gate_sees_a_mistake(mistake: str) -> None:
    file, right, wrong = MISTAKES[mistake]
    made = stub(ALL_BINS["mcu"], "int8")
    text = made.sources[file].decode()
    assert right in text
    gate = c_audio({**made.sources, file: text.replace(right, wrong).encode()}, made.sidecar)
    assert gate.verdict == "fail"
    assert "another contract" in gate.likely


@needs_compiler
def test_the_gate_refuses_another_contract() -> None:
    made = stub(CONTRACTS["mcu"])
    gate = c_audio(made.sources, stub(CONTRACTS["phone"]).sidecar)
    assert (gate.verdict, gate.measured) == ("fail", "does not run")


def test_without_a_compiler_it_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    made = stub(CONTRACTS["phone"])
    assert c_audio(made.sources, made.sidecar).verdict == "unavailable"


# --- what has no audio path -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "taken"), [(8, True), (512, True), (65536, True), (4, False), (384, False)]
)
def test_an_fft_is_a_power_of_two(size: int, taken: bool) -> None:
    contract = StftContract(window_length=4, hop=2, fft_size=size)
    assert has_fft(contract) == taken
    if not taken:
        with pytest.raises(InputError, match=f"no FFT of {size} samples"):
            stub(contract)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ([(1, 1, 256, 3)], [(1, 1, 256, 3)], "no mask"),
        ([(1, 1, 255, 3)], [(1, 1, 256, 2)], "its input is not"),
        ([(1, 1, 256, 3)] * 2, [(1, 1, 256, 2)], "2 inputs"),
        ([(1, 1, 256, 3)], [], "0 outputs"),
    ],
)
def test_a_model_that_is_no_denoiser_is_refused(
    inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], words: str
) -> None:
    names = Names(
        "model",
        tuple(port(f"in{n}", shape, "int8") for n, shape in enumerate(inputs)),
        tuple(port(f"out{n}", shape, "int8") for n, shape in enumerate(outputs)),
        (),
    )
    with pytest.raises(InputError, match=words):
        audio_path(names, CONTRACTS["phone"])
