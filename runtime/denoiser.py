"""Denoising through one streaming path: live frames, whole signals, files of any length."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact, Sidecar
from runtime.audio import AudioReader, AudioWriter, StreamResampler
from runtime.engines import Engine, open_engine
from runtime.stepper import Stepper
from runtime.stft import (
    FloatArray,
    StreamingAnalyser,
    StreamingSynthesiser,
    apply_mask,
    features,
)
from targets.errors import InputError

Progress = Callable[[int, int], None]  # frames done, frames in all

CHUNK_HOPS = 64  # of a recording at once: enough to be fast, little enough to stay in the cache


def attenuation_floor(limit_db: float | None) -> float:
    """Linear share of the noisy signal that is kept: 10^(−limit/20), nothing without a limit.

    Raises InputError for a negative limit.
    """
    if limit_db is None:
        return 0.0
    if not limit_db >= 0.0:
        raise InputError(
            f"The attenuation limit must not be negative (it is {limit_db:g} dB).",
            hint="12 keeps noise at most 12 dB below where it was; 0 changes nothing.",
        )
    return float(10.0 ** (-limit_db / 20.0))


class StreamingDenoiser:
    """One channel, hop by hop; the output trails the input by ``output_delay`` samples."""

    def __init__(
        self, sidecar: Sidecar, engine: Engine, attenuation_limit_db: float | None = None
    ) -> None:
        self._contract = sidecar.contract
        self.limit_attenuation(attenuation_limit_db)
        self._stepper = Stepper(sidecar, engine)
        self.reset()

    def limit_attenuation(self, limit_db: float | None) -> None:
        """From the next hop on, lower noise by at most ``limit_db``; 0 passes the noisy signal on,
        with the same delay. The windows fade from one to the other.

        Raises InputError for a negative limit.
        """
        self._floor = attenuation_floor(limit_db)

    def reset(self) -> None:
        """Forget the past, as for a new recording."""
        self._stepper.reset()
        self._analyser = StreamingAnalyser(self._contract)
        self._synthesiser = StreamingSynthesiser(self._contract)

    def push(self, block: FloatArray) -> FloatArray:
        """Denoise ``[hop]`` samples into ``[hop]`` samples, or several hops into as many.

        Raises InputError when the model returns NaN or infinite values.
        """
        contract = self._contract
        with np.errstate(over="ignore", invalid="ignore"):  # told below, in words
            spectra = self._analyser.push_many(block)
            masks = self._stepper.steps(features(contract, spectra))
            out = self._synthesiser.push_many(apply_mask(contract, spectra, masks, self._floor))
        if not np.isfinite(out).all():
            raise InputError(
                "The model returned values that are not finite.",
                hint="Its weights are damaged, or the input far exceeds full scale.",
            )
        return out


class MultichannelDenoiser:
    """Blocks of any length and any number of channels, each with its own state.

    The delay is compensated: over a recording as many samples come out as went in, in place.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        engine: Engine,
        channels: int,
        attenuation_limit_db: float | None = None,
    ) -> None:
        self._hop = sidecar.contract.hop
        self._delay = sidecar.contract.output_delay
        self._channels = [
            StreamingDenoiser(sidecar, engine, attenuation_limit_db) for _ in range(channels)
        ]
        self._waiting = np.zeros((0, channels), dtype=np.float32)
        self._to_drop = self._delay
        self._owed = 0  # samples that went in and have not come out

    def push(self, block: FloatArray) -> FloatArray:
        """Denoise ``[n, channels]``; returns what is ready, ``[m, channels]``."""
        self._owed += len(block)
        ready = self._process(block)
        self._owed -= len(ready)
        return ready

    def finish(self) -> FloatArray:
        """The rest of the recording, after the last ``push``."""
        silence = np.zeros((self._delay + self._hop, len(self._channels)), dtype=np.float32)
        rest = self._process(silence)[: self._owed]
        self._owed = 0
        return rest

    def _process(self, block: FloatArray) -> FloatArray:
        self._waiting = np.concatenate((self._waiting, block))
        hops = len(self._waiting) // self._hop
        out = np.empty((hops * self._hop, len(self._channels)), dtype=np.float32)
        chunk = CHUNK_HOPS * self._hop
        for start in range(0, len(out), chunk):
            rows = slice(start, min(start + chunk, len(out)))
            for channel, denoiser in enumerate(self._channels):
                out[rows, channel] = denoiser.push(self._waiting[rows, channel])
        self._waiting = self._waiting[len(out) :]
        dropped = min(self._to_drop, len(out))
        self._to_drop -= dropped
        return out[dropped:]


def denoise_signal(
    artefact: Artefact,
    engine_name: str | None,
    signal: FloatArray,
    attenuation_limit_db: float | None = None,
) -> FloatArray:
    """Denoise a signal ``[samples]`` at the contract's rate; same length, delay compensated."""
    engine = open_engine(artefact, engine_name)
    denoiser = MultichannelDenoiser(artefact.sidecar, engine, 1, attenuation_limit_db)
    column = np.asarray(signal, dtype=np.float32)[:, np.newaxis]
    return np.concatenate((denoiser.push(column), denoiser.finish()))[:, 0]


class DenoiseSummary(BaseModel):
    """What :func:`denoise_file` did."""

    model_config = ConfigDict(frozen=True)

    source: Path
    destination: Path
    model: str
    model_sha256: str
    engine: str
    sample_rate: int  # Hz, of both files
    model_rate: int  # Hz; above half of it nothing passes
    channels: int
    frames: int  # samples per channel
    seconds: float
    subtype: str  # as written
    clipped_samples: int  # saturated on writing
    delay_compensated: int  # samples at model_rate
    attenuation_limit_db: float | None
    elapsed_seconds: float
    realtime_factor: float  # elapsed / duration


def denoise_file(
    artefact: Artefact,
    source: Path,
    destination: Path,
    *,
    engine_name: str | None = None,
    attenuation_limit_db: float | None = None,
    progress: Progress | None = None,
) -> DenoiseSummary:
    """Denoise a recording of any rate, length and number of channels into another file.

    Works block by block: memory does not grow with the length. ``destination`` is written under a
    temporary name and renamed at the end. Raises InputError for bad input or output.
    """
    started = time.perf_counter()
    engine = open_engine(artefact, engine_name)
    with AudioReader(source) as reader:
        _check_distinct(source, destination)
        info = reader.info
        path = _FilePath(artefact.sidecar, engine, info.rate, info.channels, attenuation_limit_db)
        with AudioWriter(destination, info) as writer:
            for block in reader.blocks(info.rate):
                writer.write(path.push(block))
                if progress is not None:
                    progress(path.frames, max(info.frames, path.frames))
            writer.write(path.finish())
    elapsed = time.perf_counter() - started
    seconds = path.frames / info.rate
    return DenoiseSummary(
        source=source,
        destination=destination,
        model=artefact.path.name,
        model_sha256=artefact.sidecar.model.sha256,
        engine=engine.name,
        sample_rate=info.rate,
        model_rate=artefact.sidecar.contract.sample_rate,
        channels=info.channels,
        frames=path.frames,
        seconds=seconds,
        subtype=writer.subtype,
        clipped_samples=writer.clipped,
        delay_compensated=artefact.sidecar.contract.output_delay,
        attenuation_limit_db=attenuation_limit_db,
        elapsed_seconds=elapsed,
        realtime_factor=elapsed / seconds,
    )


class _FilePath:
    """Resample to the model's rate, denoise, resample back; as many frames out as in."""

    def __init__(
        self,
        sidecar: Sidecar,
        engine: Engine,
        rate: int,
        channels: int,
        attenuation_limit_db: float | None,
    ) -> None:
        model_rate = sidecar.contract.sample_rate
        self.frames = 0
        self._written = 0
        self._channels = channels
        self._down = StreamResampler(rate, model_rate, channels)
        self._denoiser = MultichannelDenoiser(sidecar, engine, channels, attenuation_limit_db)
        self._up = StreamResampler(model_rate, rate, channels)

    def push(self, block: FloatArray) -> FloatArray:
        self.frames += len(block)
        return self._kept(self._up.push(self._denoiser.push(self._down.push(block))))

    def finish(self) -> FloatArray:
        """The last samples. The way there and back may round the length by a sample or two."""
        nothing = np.zeros((0, self._channels), dtype=np.float32)
        rest = self._denoiser.push(self._down.push(nothing, last=True))
        rest = np.concatenate((rest, self._denoiser.finish()))
        tail = self._kept(self._up.push(rest, last=True))
        lacking = np.zeros((self.frames - self._written, self._channels), dtype=np.float32)
        return np.concatenate((tail, lacking))

    def _kept(self, out: FloatArray) -> FloatArray:
        out = out[: self.frames - self._written]
        self._written += len(out)
        return out


def _check_distinct(source: Path, destination: Path) -> None:
    if destination.exists() and destination.samefile(source):
        raise InputError(
            f"Input and output are the same file ({source}).", hint="Name another output."
        )
