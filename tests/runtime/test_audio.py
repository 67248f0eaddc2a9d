"""Audio files in and out: formats, saturation, damage, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.audio import (
    AudioInfo,
    AudioReader,
    AudioWriter,
    StreamResampler,
    output_format,
    read_audio,
    resample,
)
from targets.errors import InputError

SINE = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)[:, np.newaxis]


def info(**changes: object) -> AudioInfo:
    known: dict[str, object] = {
        "rate": 16_000, "channels": 1, "frames": 16_000, "container": "WAV", "subtype": "PCM_16",
    }  # fmt: skip
    return AudioInfo(**{**known, **changes})  # type: ignore[arg-type]


def written(path: Path, block: np.ndarray, **source: object) -> AudioWriter:
    with AudioWriter(path, info(channels=block.shape[1], **source)) as writer:
        writer.write(block)
    return writer


@pytest.mark.parametrize(
    ("suffix", "container", "subtype", "expected"),
    [
        (".wav", "WAV", "PCM_24", "PCM_24"),
        (".wav", "FLAC", "PCM_16", "PCM_16"),
        (".wav", "WAV", "FLOAT", "FLOAT"),
        (".wav", "WAV", "ULAW", "ULAW"),
        (".wav", "OGG", "VORBIS", "PCM_16"),
        (".wav", "MP3", "MPEG_LAYER_III", "PCM_16"),
        (".flac", "WAV", "PCM_24", "PCM_24"),
        (".flac", "WAV", "FLOAT", "PCM_24"),
        (".flac", "WAV", "PCM_U8", "PCM_16"),
        (".ogg", "WAV", "PCM_16", "VORBIS"),
        (".OGG", "OGG", "OPUS", "OPUS"),
    ],
)
def test_the_subtype_is_kept_where_the_format_has_it(
    suffix: str, container: str, subtype: str, expected: str
) -> None:
    source = info(container=container, subtype=subtype)
    assert output_format(Path(f"out{suffix}"), source)[0] == expected


def test_wav_headers_follow_channels_and_size() -> None:
    assert output_format(Path("a.wav"), info())[1] == "WAV"
    assert output_format(Path("a.wav"), info(channels=6))[1] == "WAVEX"
    assert output_format(Path("a.wav"), info(frames=3_000_000_000))[1] == "RF64"


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.wav.txt"])
def test_an_unknown_suffix_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="No audio format") as error:
        output_format(Path(name), info())
    assert ".wav, .flac, .ogg" in error.value.hint


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
def test_integers_saturate_and_never_wrap(tmp_path: Path, subtype: str) -> None:
    block = np.array([[1.5], [-1.5], [0.5], [1.0], [-1.0]], dtype=np.float32)
    writer = written(tmp_path / "a.wav", block, subtype=subtype)
    samples, _ = soundfile.read(tmp_path / "a.wav")
    assert np.allclose(samples, [1, -1, 0.5, 1, -1], atol=0.01)
    assert writer.clipped == 2


def test_floats_keep_what_lies_beyond_full_scale(tmp_path: Path) -> None:
    block = np.array([[1.5], [-2.5]], dtype=np.float32)
    assert written(tmp_path / "a.wav", block, subtype="FLOAT").clipped == 0
    assert read_audio(tmp_path / "a.wav").samples[:, 0].tolist() == [1.5, -2.5]


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_every_integer_sample_survives(tmp_path: Path, subtype: str, bits: int) -> None:
    full = 1 << (bits - 1)
    stored = np.random.default_rng(0).integers(-full, full, 5000)
    soundfile.write(tmp_path / "a.wav", (stored << (32 - bits)).astype(np.int32), 16_000, subtype)
    written(tmp_path / "b.wav", read_audio(tmp_path / "a.wav").samples, subtype=subtype)
    again, _ = soundfile.read(tmp_path / "b.wav", dtype="int32")
    assert np.array_equal(again >> (32 - bits), stored)


def test_rounding_has_no_offset(tmp_path: Path) -> None:
    """libsndfile's own conversion with clipping rounds down, by half a step on average."""
    fine = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 1)).astype(np.float32)
    written(tmp_path / "a.wav", fine)
    error = read_audio(tmp_path / "a.wav").samples - fine
    assert abs(float(error.mean())) * 32_768 < 0.02


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_each_format_is_written_and_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    written(path, 0.5 * np.repeat(SINE, 2, axis=1))
    audio = read_audio(path)
    assert audio.samples.shape == (16_000, 2)
    assert np.abs(audio.samples - 0.5 * SINE).max() < 0.1


def test_reading_in_blocks_loses_nothing(tmp_path: Path) -> None:
    written(tmp_path / "a.wav", 0.5 * SINE)
    with AudioReader(tmp_path / "a.wav") as reader:
        blocks = list(reader.blocks(1000))
    assert [len(block) for block in blocks] == [1000] * 16
    assert np.array_equal(np.concatenate(blocks), read_audio(tmp_path / "a.wav").samples)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_located(tmp_path: Path, value: float) -> None:
    samples = 0.5 * SINE.copy()
    samples[12_000] = value
    soundfile.write(tmp_path / "a.wav", samples, 16_000, "FLOAT")
    with pytest.raises(InputError, match=r"NaN or infinite samples \(first at 0\.750 s\)"):
        read_audio(tmp_path / "a.wav")


def test_a_flac_cut_off_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 64_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_audio(path)


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    old = tmp_path / "a.wav"
    old.write_bytes(b"precious")

    def interrupted(failure: BaseException) -> None:
        with AudioWriter(old, info()) as writer:
            writer.write(SINE)
            raise failure

    for failure in (InputError("x"), KeyboardInterrupt()):
        with pytest.raises(type(failure)):
            interrupted(failure)
    assert old.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [old]


def test_an_impossible_header_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot hold"):
        AudioWriter(tmp_path / "a.flac", info(channels=20))
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link, real = tmp_path / "link.wav", tmp_path / "real.wav"
    link.symlink_to(real)
    written(link, SINE)
    assert link.is_symlink()
    assert len(read_audio(real).samples) == 16_000


@pytest.mark.parametrize("rates", [(48_000, 16_000), (8_000, 16_000), (44_100, 16_000)])
def test_streamed_resampling_equals_that_of_the_whole(rates: tuple[int, int]) -> None:
    signal = np.random.default_rng(0).standard_normal((20_011, 2)).astype(np.float32)
    stream = StreamResampler(*rates, 2)
    parts = [stream.push(signal[at : at + 777]) for at in range(0, len(signal), 777)]
    parts.append(stream.push(signal[:0], last=True))
    whole = resample(signal, *rates)
    streamed = np.concatenate(parts)
    shared = min(len(whole), len(streamed))
    assert abs(len(whole) - len(streamed)) <= 1
    assert np.abs(streamed[:shared] - whole[:shared]).max() < 1e-4
