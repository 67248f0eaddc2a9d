"""``denoise`` as a person meets it: any recording works, any mistake ends in a clear sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.artefact import sidecar_path
from runtime.cli import denoise
from tests.runtime.fakes import Outcome, invoke, needs_tflm
from tests.runtime.tiny_models import Kernel, write_artefact

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return write_artefact(folder, "tflite-fp32").path


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    return record(tmp_path / "noisy.wav")


def tone(frames: int, rate: int, channels: int = 1) -> np.ndarray:
    """Tones below 3 kHz, another in each channel."""
    at = np.arange(frames) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * 300 * (c + 1) * at) for c in range(channels)], axis=1)


def record(path: Path, rate: int = 16_000, channels: int = 1, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, tone(rate // 2 + 13, rate, channels), rate, subtype)
    return path


class Workplace:
    """One folder, one model, one recording; ``failing`` checks that nothing was left behind."""

    def __init__(self, capfd: pytest.CaptureFixture[str], model: Path, folder: Path) -> None:
        self.capfd, self.model, self.folder = capfd, model, folder
        self.clean = folder / "clean.wav"

    def run(self, *args: object) -> Outcome:
        return invoke(self.capfd, denoise, *args, "--model", self.model)

    def failing(self, *args: object) -> str:
        """What is said on stderr; the folder must be as before."""
        before = {path: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        outcome = self.run(*args)
        after = {path: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        assert outcome.status == 2
        assert outcome.out == ""
        assert outcome.err.startswith("Error: ")
        assert "\nHint: " in outcome.err
        assert "Traceback" not in outcome.err
        assert after == before
        return outcome.err


@pytest.fixture
def place(capfd: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> Workplace:
    return Workplace(capfd, model, tmp_path)


@pytest.mark.parametrize(
    ("rate", "channels"), [(8_000, 1), (16_000, 1), (16_000, 2), (44_100, 2), (48_000, 6)]
)
def test_rate_length_channels_and_place_are_kept(
    place: Workplace, tmp_path: Path, rate: int, channels: int
) -> None:
    source = record(tmp_path / "noisy.wav", rate, channels)
    assert place.run(source, place.clean).status == 0
    before, _ = soundfile.read(source, always_2d=True)
    after, rate_after = soundfile.read(place.clean, always_2d=True)
    assert (rate_after, after.shape) == (rate, before.shape)
    inner = slice(rate // 20, -rate // 20)  # resampling rings where a tone is cut
    assert np.abs(after[inner] - before[inner]).max() < 1e-3


@pytest.mark.parametrize(
    "engine", ["litert", "litert-reference", pytest.param("tflm", marks=needs_tflm)]
)
def test_engines_are_chosen_by_name(place: Workplace, noisy: Path, engine: str) -> None:
    outcome = place.run(noisy, place.clean, "--engine", engine, "--json")
    summary = json.loads(outcome.out)
    assert summary["engine"] == engine
    assert summary["frames"] == 8013
    assert summary["sample_rate"] == 16_000
    assert summary["subtype"] == "PCM_16"


def test_the_attenuation_limit_reaches_the_sound(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, noisy: Path
) -> None:
    folder = tmp_path / "mute"
    folder.mkdir()
    mute = write_artefact(folder, "tflite-fp32", Kernel(bias=(0.0, 0.0))).path
    clean = tmp_path / "clean.wav"
    args = ("--model", mute, "--attenuation-limit", 6.0206)
    assert invoke(capfd, denoise, noisy, clean, *args).status == 0
    before, after = soundfile.read(noisy)[0], soundfile.read(clean)[0]
    assert np.abs(after - 0.5 * before).max() < 1e-4


@pytest.mark.parametrize("samples", [np.zeros(5000), np.sign(tone(5000, 16_000))[:, 0]])
def test_silence_and_clipping_pass(place: Workplace, tmp_path: Path, samples: np.ndarray) -> None:
    soundfile.write(tmp_path / "noisy.wav", samples, 16_000)
    assert place.run(tmp_path / "noisy.wav", place.clean).status == 0
    after, _ = soundfile.read(place.clean)
    assert len(after) == 5000
    # The network sees all but the highest bin, so that a square wave may differ a little.
    assert np.abs(after - samples).max() < 0.05


def test_a_gain_beyond_full_scale_saturates_and_is_told(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "loud"
    folder.mkdir()
    loud = write_artefact(folder, "tflite-fp32", Kernel(bias=(5.0, 0.0))).path
    source, clean = record(tmp_path / "noisy.wav"), tmp_path / "clean.wav"
    outcome = invoke(capfd, denoise, source, clean, "--model", loud)
    assert "samples beyond full scale were saturated" in outcome.err
    before, after = soundfile.read(source)[0], soundfile.read(clean)[0]
    assert np.abs(after - np.clip(5 * before, -1, 1)).max() < 0.01


@pytest.mark.parametrize(
    ("name", "container", "subtype"),
    [("a.mp3", "MP3", "MPEG_LAYER_III"), ("a.ogg", "OGG", "OPUS"), ("a.flac", "FLAC", "PCM_24")],
)
def test_compressed_recordings_are_read(
    place: Workplace, tmp_path: Path, name: str, container: str, subtype: str
) -> None:
    if not soundfile.check_format(container, subtype):
        pytest.skip(f"this libsndfile has no {subtype}")
    soundfile.write(tmp_path / name, tone(24_000, 48_000), 48_000, subtype, format=container)
    assert place.run(tmp_path / name, place.clean).status == 0
    assert soundfile.info(place.clean).frames == soundfile.info(tmp_path / name).frames


def test_a_single_sample_is_a_recording(place: Workplace, tmp_path: Path) -> None:
    for rate in (8_000, 16_000, 96_000):
        soundfile.write(tmp_path / "noisy.wav", [0.25], rate)
        assert place.run(tmp_path / "noisy.wav", place.clean).status == 0
        assert soundfile.info(place.clean).frames == 1


def test_a_missing_file(place: Workplace, tmp_path: Path) -> None:
    assert "No file at" in place.failing(tmp_path / "gone.wav", place.clean)


def test_a_folder_instead_of_a_file(place: Workplace, tmp_path: Path) -> None:
    assert "is a folder, not a recording" in place.failing(tmp_path, place.clean)


def test_text_renamed_to_wav(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "noisy.wav").write_text("dear diary\n" * 100)
    assert "is not an audio file" in place.failing(tmp_path / "noisy.wav", place.clean)


def test_an_empty_file(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "noisy.wav").touch()
    assert "is an empty file" in place.failing(tmp_path / "noisy.wav", place.clean)


def test_a_wav_without_samples(place: Workplace, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noisy.wav", np.zeros(0), 16_000)
    assert "holds no samples" in place.failing(tmp_path / "noisy.wav", place.clean)


def test_nan_far_into_the_file_keeps_an_existing_output(place: Workplace, tmp_path: Path) -> None:
    samples = tone(16_000 * 5, 16_000)
    samples[70_000] = np.nan
    soundfile.write(tmp_path / "noisy.wav", samples, 16_000, "FLOAT")
    place.clean.write_bytes(b"an earlier result")
    assert "NaN or infinite samples (first at 4.375 s)" in place.failing(
        tmp_path / "noisy.wav", place.clean
    )


def test_a_missing_output_folder(place: Workplace, noisy: Path, tmp_path: Path) -> None:
    assert "does not exist" in place.failing(noisy, tmp_path / "gone" / "clean.wav")


def test_an_output_folder_that_may_not_be_written(
    place: Workplace, noisy: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    # Root may write anywhere, but not into /proc.
    folder = Path("/proc") if os.geteuid() == 0 else locked
    assert "cannot be written" in place.failing(noisy, folder / "clean.wav")


def test_output_that_is_the_input(place: Workplace, noisy: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.wav"
    link.symlink_to(noisy)
    for same in (noisy, link):
        assert "are the same file" in place.failing(noisy, same)


def test_output_that_is_a_folder(place: Workplace, noisy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder.wav"
    folder.mkdir()
    assert "is not a file" in place.failing(noisy, folder)


def test_output_of_an_unknown_format(place: Workplace, noisy: Path, tmp_path: Path) -> None:
    assert "No audio format" in place.failing(noisy, tmp_path / "clean.xyz")


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_truncated_model(place: Workplace, noisy: Path, keep: int) -> None:
    place.model.write_bytes(place.model.read_bytes()[:keep])
    assert "is not the file its sidecar describes" in place.failing(noisy, place.clean)


def test_a_flipped_bit_in_the_model(place: Workplace, noisy: Path) -> None:
    content = bytearray(place.model.read_bytes())
    content[len(content) // 2] ^= 4
    place.model.write_bytes(content)
    assert "is not the file its sidecar describes" in place.failing(noisy, place.clean)


def test_a_model_without_sidecar(place: Workplace, noisy: Path) -> None:
    sidecar_path(place.model).unlink()
    assert "has no sidecar" in place.failing(noisy, place.clean)


def test_a_sidecar_that_is_not_one(place: Workplace, noisy: Path) -> None:
    sidecar_path(place.model).write_text('{"schema": "other"}')
    assert "is not a valid sordino sidecar" in place.failing(noisy, place.clean)


def test_a_missing_model(place: Workplace, noisy: Path, tmp_path: Path) -> None:
    place.model = tmp_path / "gone.tflite"
    assert "No model at" in place.failing(noisy, place.clean)


def test_an_unknown_engine(place: Workplace, noisy: Path) -> None:
    assert "No engine is called 'warp'" in place.failing(noisy, place.clean, "--engine", "warp")


def test_an_engine_of_another_format(place: Workplace, noisy: Path) -> None:
    said = place.failing(noisy, place.clean, "--engine", "onnxruntime")
    assert "does not run .tflite models" in said


def test_an_engine_that_is_not_installed(
    place: Workplace, noisy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    said = place.failing(noisy, place.clean, "--engine", "tflm")
    assert "needs the package tflite-micro" in said
    assert "pip install 'sordino[export]'" in said


def test_a_negative_attenuation_limit(place: Workplace, noisy: Path) -> None:
    said = place.failing(noisy, place.clean, "--attenuation-limit", "-3")
    assert "must not be negative" in said


def test_half_a_pipe(place: Workplace, noisy: Path) -> None:
    assert "- for input and output alike" in place.failing(noisy, "-")


@pytest.mark.parametrize("name", ["clean.wav", "clean.flac"])
def test_a_full_disk_leaves_the_old_file(place: Workplace, tmp_path: Path, name: str) -> None:
    source = tmp_path / "noisy.wav"
    soundfile.write(source, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000)
    (tmp_path / name).write_bytes(b"an earlier result")
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{limited} runpy.run_module('runtime', run_name='__main__')",
            "denoise",
            str(source),
            str(tmp_path / name),
            "--model",
            str(place.model),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 2
    assert child.stderr.startswith("Error: Writing")
    assert (tmp_path / name).read_bytes() == b"an earlier result"
    assert not list(tmp_path.glob(".*.part"))


def test_ctrl_c_leaves_the_folder_as_it_was(place: Workplace, tmp_path: Path) -> None:
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(16_000 * 900, dtype=np.int16), 16_000)
    place.clean.write_bytes(b"an earlier result")
    child = subprocess.Popen(
        [sys.executable, "-m", "runtime", "denoise", long, place.clean, "--model", place.model],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30.0
    while not list(tmp_path.glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.glob(".*.part")), "the child never began to write"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "Traceback" not in said
    assert not list(tmp_path.glob(".*.part"))
    assert place.clean.read_bytes() == b"an earlier result"
