"""The live pipe: hop in, hop out, and the tail at the end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.artefact import Artefact
from runtime.live import denoise_pipe
from runtime.stft import CONTRACTS
from tests.runtime.tiny_models import write_artefact

ROOT = Path(__file__).resolve().parents[2]
HOP, DELAY = 256, 256
LIVE = (sys.executable, "-m", "runtime", "denoise", "-", "-", "--model")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_artefact(tmp_path_factory.mktemp("model"), "tflite-fp32")


@pytest.fixture(scope="module")
def hearing_aid(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    folder = tmp_path_factory.mktemp("model")
    return write_artefact(folder, "tflite-fp32", contract=CONTRACTS["hearing-aid"])


def pcm(frames: int, channels: int = 1) -> np.ndarray:
    at = np.arange(frames)[:, np.newaxis] / 16_000
    tones = 8_000 * np.sin(2 * np.pi * 440 * (1 + np.arange(channels)) * at)
    return np.rint(tones).astype("<i2")


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(0, 1500), channels=st.integers(1, 3), stray=st.integers(0, 1))
def test_the_output_trails_by_the_delay_and_ends_with_the_tail(
    artefact: Artefact, frames: int, channels: int, stray: int
) -> None:
    source = pcm(frames, channels)
    out = io.BytesIO()
    stream = io.BytesIO(source.tobytes() + b"\x01" * stray)
    summary = denoise_pipe(artefact, stream, out, channels=channels)
    clean = np.frombuffer(out.getvalue(), "<i2").reshape(-1, channels)
    assert (summary.frames, summary.output_delay) == (frames, DELAY)
    assert len(clean) == frames + DELAY
    # The network sees all but the highest bin, which the abrupt ends of the tone touch.
    assert np.abs(clean[DELAY:].astype(int) - source).max(initial=0) <= 40


@pytest.mark.parametrize("frames", [0, 1, 63, 64, 1000])
def test_a_hearing_aid_answers_in_4_ms_and_trails_by_as_much(
    hearing_aid: Artefact, frames: int
) -> None:
    source = pcm(frames)
    out = io.BytesIO()
    summary = denoise_pipe(hearing_aid, io.BytesIO(source.tobytes()), out)
    clean = np.frombuffer(out.getvalue(), "<i2")
    assert (summary.output_delay, len(clean)) == (64, frames + 64)
    # The highest bin, twice as wide here, is silenced.
    assert np.abs(clean[64:].astype(int) - source[:, 0]).max(initial=0) <= 80


def test_each_hop_is_answered_before_the_next_is_read(artefact: Artefact) -> None:
    """A pipe that waited for more than a hop would hang here."""
    command = [*LIVE, str(artefact.path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        received = bytearray()
        source = pcm(3 * HOP)
        for at in range(0, len(source), HOP):
            child.stdin.write(source[at : at + HOP].tobytes())
            wanted = len(received) + 2 * HOP
            while len(received) < wanted:
                received += os.read(child.stdout.fileno(), wanted - len(received))
        child.stdin.close()
        received += child.stdout.read()
        assert child.wait(30) == 0
    clean = np.frombuffer(received, "<i2")
    assert len(clean) == 3 * HOP + DELAY
    assert np.abs(clean[DELAY:].astype(int) - source[:, 0]).max() <= 40


def test_a_listener_who_leaves_ends_the_pipe_quietly(artefact: Artefact) -> None:
    command = [*LIVE, str(artefact.path)]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()
    _, said = child.communicate(pcm(20 * HOP).tobytes(), timeout=30)
    assert child.returncode == 141
    assert said == b""
