"""An hour of audio must not take more memory than a minute."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.tiny_models import write_artefact

ROOT = Path(__file__).resolve().parents[2]
RATE = 48_000
MEBIBYTE = 1 << 20

# Denoises argv[2] with the model argv[1]; prints by how much the peak memory grew over what it
# was after one minute of the recording.
CHILD = """
import sys
from pathlib import Path
from runtime.artefact import load_artefact
from runtime.denoiser import denoise_file

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

after_a_minute = []

def progress(done, total):
    if done >= 60 * 48_000 and not after_a_minute:
        after_a_minute.append(peak())

denoise_file(
    load_artefact(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), progress=progress
)
print(peak() - after_a_minute[0])
"""


def write_sparse_wav(path: Path, seconds: int) -> None:
    """Silence that takes no room on the disk: a header, then a hole."""
    size = seconds * RATE * 2
    header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt "
    header += (16).to_bytes(4, "little") + (1).to_bytes(2, "little") + (1).to_bytes(2, "little")
    header += RATE.to_bytes(4, "little") + (2 * RATE).to_bytes(4, "little")
    header += (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    header += b"data" + size.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    source, clean = tmp_path / "hour.wav", tmp_path / "clean.flac"
    write_sparse_wav(source, 3600)
    model = write_artefact(tmp_path, "tflite-int8").path
    child = subprocess.run(
        [sys.executable, "-c", CHILD, model, source, clean],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) < 4 * MEBIBYTE  # the hour itself is 330 MiB on disk, 660 as float
