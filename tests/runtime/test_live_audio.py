"""Live audio: what comes out of the device is what the streaming denoiser makes of what goes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import live_audio
from runtime.artefact import Artefact
from runtime.denoiser import StreamingDenoiser
from runtime.devices.children import ToolMissing
from runtime.engines import open_engine
from runtime.engines.native import find_compiler
from runtime.live_audio import Devices, LiveSession, open_stream
from runtime.live_cli import act, live, status_table
from targets.errors import GateUnavailable, InputError
from tests.runtime.fakes import invoke
from tests.runtime.tiny_c import write_c_artefact
from tests.runtime.tiny_models import Kernel, write_artefact

ROOT = Path(__file__).resolve().parents[2]
HOP, DELAY = 256, 256
HALF = Kernel(bias=(0.5, 0.0))
# Two devices of ALSA that are files: one is heard, to the other is said.
ASOUNDRC = """
pcm.heard {{ type file; slave.pcm "null"; file "/dev/null"; infile "{folder}/heard.raw"
             format "raw"; hint {{ show on }} }}
pcm.said {{ type file; slave.pcm "null"; file "{folder}/said.raw"; format "raw"
            hint {{ show on }} }}
"""


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """A model that halves whatever it hears."""
    return write_artefact(tmp_path_factory.mktemp("model"), "tflite-fp32", kernel=HALF)


def _session(artefact: Artefact, hops: int = 1, limit_db: float | None = None) -> LiveSession:
    return LiveSession(artefact, engine=None, block_hops=hops, limit_db=limit_db)


def _signal(samples: int) -> np.ndarray:
    at = np.arange(samples) / 16_000
    return (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)


def _through(session: LiveSession, signal: np.ndarray) -> np.ndarray:
    return np.concatenate([session.process(block) for block in signal.reshape(-1, session.block)])


@settings(deadline=None, max_examples=10)
@given(hops=st.integers(1, 8), blocks=st.integers(1, 6))
def test_blocks_of_any_size_give_what_the_denoiser_gives(
    artefact: Artefact, hops: int, blocks: int
) -> None:
    signal = _signal(hops * blocks * HOP)
    alone = StreamingDenoiser(artefact.sidecar, open_engine(artefact, None))
    expected = np.concatenate([alone.push(hop) for hop in signal.reshape(-1, HOP)])
    np.testing.assert_array_equal(_through(_session(artefact, hops), signal), expected)


def test_bypass_keeps_the_delay_and_comes_back(artefact: Artefact) -> None:
    session, signal = _session(artefact), _signal(40 * HOP)
    session.toggle_bypass()
    assert session.status(0.0).bypassed
    passed = _through(session, signal[: 20 * HOP])
    # The highest bin is cut by the mask alone, which bypass does not apply: all passes.
    np.testing.assert_allclose(passed[DELAY:], signal[: 20 * HOP - DELAY], atol=1e-6)
    session.toggle_bypass()
    halved = _through(session, signal[20 * HOP :])[4 * HOP :]
    np.testing.assert_allclose(halved, signal[24 * HOP - DELAY : -DELAY] / 2, atol=1e-3)


def test_the_limit_changes_while_it_runs(artefact: Artefact) -> None:
    session, signal = _session(artefact, limit_db=0.0), _signal(30 * HOP)
    np.testing.assert_allclose(
        _through(session, signal)[DELAY:], signal[:-DELAY], atol=1e-6
    )  # 0 dB: nothing is taken away
    act(session, "+")
    assert session.limit_db == 3.0
    gain = 0.5 + 0.5 * 10 ** (-3 / 20)  # floor + (1 − floor) / 2
    lowered = _through(session, signal)[4 * HOP :]
    ratio = np.sqrt(np.mean(lowered**2) / np.mean(signal[4 * HOP - DELAY : -DELAY] ** 2))
    assert ratio == pytest.approx(gain, rel=1e-3)


def test_keys_move_the_limit_and_toggle(artefact: Artefact) -> None:
    session = _session(artefact)

    def limit_after(keys: str) -> float | None:
        for key in keys:
            act(session, key)
        return session.limit_db

    assert limit_after("-") == 40.0
    assert limit_after("-" * 20) == 0.0
    assert limit_after("+" * 15) is None
    act(session, "b")
    act(session, "x")
    assert session.status(0.0).bypassed


def test_lost_blocks_are_counted_and_shown(artefact: Artefact) -> None:
    session = _session(artefact)
    session.process(_signal(HOP), lost=True)
    session.process(_signal(HOP))
    status = session.status(0.020)
    assert (status.xruns, status.blocks) == (1, 2)
    assert status.device_ms == pytest.approx(20.0)
    assert status.algorithmic_ms == 32.0
    assert 0.0 < status.load <= status.peak_load
    assert status.input_db == pytest.approx(-13.5, abs=0.1)  # 0.3 / √2
    table = status_table(status)
    assert table.row_count == 5
    summary = session.summary(0.020)
    assert summary.xruns == 1
    assert {str(figure.provenance) for figure in summary.figures} == {"measured-host"}


def test_a_model_that_fails_is_silent_and_told(artefact: Artefact) -> None:
    session = _session(artefact)
    out = session.process(np.full(HOP, np.nan, dtype=np.float32))
    assert not out.any()
    with pytest.raises(InputError, match="not finite"):
        session.check()


def test_a_defect_in_the_device_s_thread_reaches_the_command(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _session(artefact)

    def fail(denoiser: StreamingDenoiser, block: np.ndarray) -> np.ndarray:
        raise RuntimeError("broken")

    monkeypatch.setattr(StreamingDenoiser, "push", fail)
    assert not session.process(_signal(HOP)).any()
    with pytest.raises(RuntimeError, match="broken"):
        session.check()


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_figures_name_their_source_and_c_its_folder(tmp_path: Path) -> None:
    summary = _session(write_c_artefact(tmp_path / "student-c-int8")).summary(0.03)
    assert summary.model == "student-c-int8"
    assert {figure.name: figure.tool for figure in summary.figures}["device latency"] == "PortAudio"


class _Refusing:
    """A sounddevice whose devices cannot be opened."""

    class PortAudioError(Exception):
        pass

    @classmethod
    def Stream(cls, **settings: Any) -> Any:
        raise cls.PortAudioError("Error opening Stream: Invalid sample rate [PaErrorCode -9997]")


def test_a_device_that_refuses_is_no_defect(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_audio, "_sounddevice", lambda: _Refusing)
    with (
        pytest.raises(GateUnavailable, match="Invalid sample rate") as caught,
        open_stream(_session(artefact), Devices()),
    ):
        pass
    assert "16000 Hz" in caught.value.hint


def test_a_machine_without_audio_says_so(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    class None_(_Refusing):
        @classmethod
        def Stream(cls, **settings: Any) -> Any:
            raise cls.PortAudioError("Error querying device -1")

    monkeypatch.setattr(live_audio, "_sounddevice", lambda: None_)
    with pytest.raises(GateUnavailable, match="no usual audio device") as caught:
        open_stream(_session(artefact), Devices()).__enter__()
    assert "--devices" in caught.value.hint


def test_a_device_that_is_pulled_ends_the_session(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def stream(session: LiveSession, devices: Devices) -> Iterator[Any]:
        yield SimpleNamespace(latency=0.01, active=False)

    monkeypatch.setattr(live_audio, "open_stream", stream)
    outcome = invoke(capfd, live, "--model", str(artefact.path))
    assert outcome.status == 3
    assert "The audio device stopped." in outcome.err


@pytest.mark.parametrize("option", ["--seconds", "--attenuation-limit"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "some"])
def test_numbers_that_are_none(
    artefact: Artefact, option: str, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(capfd, live, "--model", str(artefact.path), option, value)
    assert outcome.status == 2
    assert f"Invalid value for '{option}'" in outcome.err


@pytest.mark.parametrize(
    ("error", "hint"), [(ImportError, "sordino[live]"), (OSError, "libportaudio2")]
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], hint: str
) -> None:
    class Finder:
        def find_spec(self, name: str, path: Any, target: Any = None) -> None:
            if name == "sounddevice":
                raise error("not here")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(ToolMissing) as caught:
        live_audio.device_table()
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


def test_the_command_runs_a_session_and_sums_it_up(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def stream(session: LiveSession, devices: Devices) -> Iterator[Any]:
        assert devices == Devices("mic", 3, 0.05)
        _through(session, _signal(10 * HOP))
        yield SimpleNamespace(latency=(0.01, 0.02), active=True)

    monkeypatch.setattr(live_audio, "open_stream", stream)
    arguments = ["--model", str(artefact.path), "--seconds", "0.1", "--input", "mic"]
    arguments += ["--output", "3", "--latency", "50", "--bypass", "--json"]
    outcome = invoke(capfd, live, *arguments)
    assert outcome.status == 0, outcome.err
    record = json.loads(outcome.out)
    assert record["seconds"] == pytest.approx(0.16)
    device = next(part for part in record["figures"] if part["name"] == "device latency")
    assert device["value"] == pytest.approx(30.0)


@pytest.mark.parametrize("latency", ["soon", "-5", "0", "nan"])
def test_latencies_that_are_none(
    artefact: Artefact, latency: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(capfd, live, "--model", str(artefact.path), "--latency", latency)
    assert outcome.status == 2
    assert "is no latency" in outcome.err


def _portaudio() -> bool:
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        return False
    return sys.platform == "linux"


@pytest.mark.skipif(not _portaudio(), reason="sounddevice or PortAudio is not installed")
def test_through_portaudio_to_the_bit(artefact: Artefact, tmp_path: Path) -> None:
    """The real audio library, with files for devices."""
    (tmp_path / ".asoundrc").write_text(ASOUNDRC.format(folder=tmp_path))
    signal = _signal(50 * HOP)
    signal[: 10 * HOP] *= np.linspace(0, 1, 10 * HOP, dtype=np.float32)
    signal.tofile(tmp_path / "heard.raw")
    command = [sys.executable, "-m", "runtime", "live", "--model", str(artefact.path)]
    command += ["--input", "heard", "--output", "said", "--seconds", "0.5", "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seconds"] > 0.8
    said = np.fromfile(tmp_path / "said.raw", dtype=np.float32)
    denoiser = StreamingDenoiser(artefact.sidecar, open_engine(artefact, None))
    expected = np.concatenate([denoiser.push(hop) for hop in signal.reshape(-1, HOP)])
    shifts = range(
        0, len(said) - len(expected), HOP
    )  # PortAudio begins with some blocks of silence
    assert any(np.array_equal(said[at : at + len(expected)], expected) for at in shifts)
