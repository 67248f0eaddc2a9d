"""Where the time of a hop goes: the parts of the streaming path, in numpy and in generated C.

    python -m tests.benchmarks.streaming ARTEFACT… [--rounds 40]

Run from the project's root on a quiet machine. All artefacts take turns, 25 hops each; every part
is timed by itself, in the order in which a hop needs it. Prints Markdown, medians in µs; what is
called streaming is the whole hop less the network. Of a C artefact with an audio path a second row
is the whole hop in C and its network alone, both with the clock in C.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.artefact import Artefact, load_artefact, source_files
from runtime.denoiser import StreamingDenoiser
from runtime.devices.host_c import timed_hops, timed_steps
from runtime.engines import Array, Engine, open_engine
from runtime.stepper import dequantize, quantize, zero_of
from runtime.stft import (
    FloatArray,
    StreamingAnalyser,
    StreamingSynthesiser,
    apply_mask,
    features,
)
from runtime.verification.c_audio import has_audio
from runtime.verification.frames import noise

HOPS = 25  # of one artefact before the next one's turn
PARTS = ("analysis", "features", "to stored", "network", "from stored", "mask", "synthesis")
COLUMNS = (*PARTS, "whole hop", "streaming", "share")


class InPython:
    """The numpy path of an artefact, taken apart."""

    def __init__(self, artefact: Artefact, engine: Engine) -> None:
        self.title = f"{artefact.sidecar.target} [{engine.name}], numpy"
        self._sidecar, self._engine = artefact.sidecar, engine
        self._analyser = StreamingAnalyser(artefact.sidecar.contract)
        self._synthesiser = StreamingSynthesiser(artefact.sidecar.contract)
        self._whole = StreamingDenoiser(artefact.sidecar, engine)
        self._states = [zero_of(spec) for spec in artefact.sidecar.inputs[1:]]

    def hop(self, block: FloatArray) -> list[float]:
        """Seconds of each part, then of a whole hop of the denoiser."""
        sidecar, clock = self._sidecar, time.perf_counter
        contract, entry, exit_ = sidecar.contract, sidecar.inputs[0], sidecar.outputs[0]
        times = [clock()]
        spectra = self._analyser.push_many(block)
        times.append(clock())
        heard = features(contract, spectra)
        times.append(clock())
        stored = quantize(heard, entry).reshape(entry.shape)
        times.append(clock())
        results = self._engine.run([stored, *self._states])
        times.append(clock())
        mask = dequantize(results[0], exit_).reshape(1, contract.bins, -1)
        times.append(clock())
        masked = apply_mask(contract, spectra, mask)
        times.append(clock())
        self._synthesiser.push_many(masked)
        times.append(clock())
        self._states = self._following(results)
        begun = clock()
        self._whole.push(block)
        return [*np.diff(times), clock() - begun]

    def _following(self, results: list[Array]) -> list[Array]:
        places = {spec.name: place for place, spec in enumerate(self._sidecar.outputs)}
        after = {state.input: places[state.output] for state in self._sidecar.states}
        return [results[after[spec.name]] for spec in self._sidecar.inputs[1:]]


class InC:
    """The whole hop in C and its network alone, timed from within."""

    def __init__(self, artefact: Artefact, blocks: list[FloatArray]) -> None:
        self.title = f"{artefact.sidecar.target}, audio path in C"
        spectra = StreamingAnalyser(artefact.sidecar.contract).push_many(np.concatenate(blocks))
        heard = features(artefact.sidecar.contract, spectra)
        self._steps = timed_steps(artefact, quantize(heard, artefact.sidecar.inputs[0]))
        hops = timed_hops(artefact, blocks)
        assert hops is not None
        self._hops = hops

    def hop(self, _: FloatArray) -> list[float]:
        parts = [np.nan] * len(PARTS)
        parts[PARTS.index("network")] = 1e-9 * self._steps(1)[0]
        return [*parts, 1e-9 * self._hops(1)[0]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("artefacts", nargs="+", type=Path, metavar="ARTEFACT")
    options.add_argument("--rounds", type=int, default=40)
    chosen = options.parse_args()
    rows: list[tuple[InPython | InC, list[FloatArray]]] = []
    for path in chosen.artefacts:
        artefact = load_artefact(path)
        contract = artefact.sidecar.contract
        sound = noise(contract, (HOPS + 1) * contract.hop / contract.sample_rate)
        blocks = list(sound[: HOPS * contract.hop].reshape(HOPS, contract.hop))
        rows.append((InPython(artefact, open_engine(artefact)), blocks))
        if artefact.path.suffix == ".c" and has_audio(source_files(artefact)):
            rows.append((InC(artefact, blocks), blocks))
    taken: list[list[list[float]]] = [[] for _ in rows]
    for number in range(chosen.rounds + 1):
        for (path_, blocks), kept in zip(rows, taken, strict=True):
            timed = [path_.hop(block) for block in blocks]
            if number:  # the first round warms up
                kept += timed
    print(f"| |{'|'.join(COLUMNS)}|\n|---{'|---:' * len(COLUMNS)}|")
    for (path_, _), kept in zip(rows, taken, strict=True):
        print(f"|{path_.title}|{'|'.join(_cells(np.array(kept)))}|")


def _cells(taken: npt.NDArray[np.float64]) -> list[str]:
    """Medians of the parts and of what is not the network, hop by hop."""
    network, whole = taken[:, PARTS.index("network")], taken[:, -1]
    streaming = np.median(whole) - np.median(network)
    figures = [*(1e6 * np.median(taken, axis=0)), 1e6 * streaming]
    shown = ["" if np.isnan(one) else f"{one:.1f}" for one in figures]
    return [*shown, f"{100 * streaming / np.median(whole):.0f} %"]


if __name__ == "__main__":
    main()
