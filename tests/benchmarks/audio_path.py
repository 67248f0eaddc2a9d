"""How near the audio path in C is to numpy on real sound.

    python -m tests.benchmarks.audio_path RECORDING… --artefacts DIR

Run from the project's root. DIR holds folders of exported C; each is run over the recordings, which
have the contract's rate, by its generated audio path and by the same network under numpy. Prints
Markdown: SNR of the sound, and how many of the stored features and masks differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from runtime.artefact import Artefact, load_artefact
from runtime.denoiser import StreamingDenoiser
from runtime.engines import Array, Engine, open_engine
from runtime.engines.native_audio import open_audio
from runtime.stft import FloatArray


class Listener:
    """An engine that keeps what the last step took and gave."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.inputs, self.outputs = engine.name, engine.inputs, engine.outputs
        self.features: Array = np.empty(0)
        self.mask: Array = np.empty(0)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        results = self._engine.run(inputs)
        self.features, self.mask = inputs[0], results[0]
        return results


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING")
    options.add_argument("--artefacts", type=Path, required=True)
    chosen = options.parse_args()
    print("| | SNR dB, worst | features that differ | masks that differ | by at most |")
    print("|---|---:|---:|---:|---:|")
    for folder in sorted(chosen.artefacts.iterdir()):
        if (folder / "model.c").is_file():
            artefact = load_artefact(folder)
            print(f"| {artefact.sidecar.target} {_row(artefact, chosen.recordings)}")


def _row(artefact: Artefact, recordings: Sequence[Path]) -> str:
    worst, largest = np.inf, 0.0
    differing = np.zeros(4, dtype=np.int64)  # features, of how many; masks, of how many
    for recording in recordings:
        error = signal = 0.0
        for wanted, found, listener, features, mask in _compared(artefact, _read(recording)):
            signal += float(np.sum(wanted.astype(np.float64) ** 2))
            error += float(np.sum((found.astype(np.float64) - wanted) ** 2))
            apart = features.reshape(-1) != listener.features.reshape(-1)
            masks = np.abs(mask.astype(np.float64) - listener.mask.reshape(-1))
            largest = max(largest, float(masks.max()))
            counts = [np.count_nonzero(apart), apart.size, np.count_nonzero(masks), masks.size]
            differing += np.array(counts)
        worst = min(worst, 10.0 * np.log10(signal / error) if error else np.inf)
    unit = "" if artefact.sidecar.target == "c-fp32" else " LSB"
    shares = f"{differing[0] / differing[1]:.1e} | {differing[2] / differing[3]:.1e}"
    return f"| {worst:.1f} | {shares} | {largest:.2g}{unit} |"


def _compared(
    artefact: Artefact, sound: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray, Listener, Array, Array]]:
    """Per hop: sound of numpy and of C, what numpy's network took and gave, and the C's."""
    listener = Listener(open_engine(artefact))
    python, audio = StreamingDenoiser(artefact.sidecar, listener), open_audio(artefact)
    hop = artefact.sidecar.contract.hop
    for start in range(0, len(sound) - hop + 1, hop):
        block = sound[start : start + hop]
        yield python.push(block), audio.push(block), listener, audio.features, audio.mask


def _read(recording: Path) -> FloatArray:
    sound, _ = soundfile.read(recording, dtype="float32", always_2d=True)
    first: FloatArray = sound[:, 0]
    return first


if __name__ == "__main__":
    main()
