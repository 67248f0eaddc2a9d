"""A live pipe: raw 16-bit PCM in, denoised PCM out, hop by hop."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact
from runtime.denoiser import StreamingDenoiser
from runtime.engines import open_engine
from runtime.stft import FloatArray

SAMPLE = np.dtype("<i2")
FULL_SCALE = 32_768.0


class LiveSummary(BaseModel):
    """What went through the pipe."""

    model_config = ConfigDict(frozen=True)

    model: str
    model_sha256: str
    engine: str
    sample_rate: int
    channels: int
    frames: int  # samples per channel that came in
    seconds: float
    output_delay: int  # samples by which the output trails


def denoise_pipe(
    artefact: Artefact,
    source: BinaryIO,
    destination: BinaryIO,
    *,
    engine_name: str | None = None,
    channels: int = 1,
    attenuation_limit_db: float | None = None,
) -> LiveSummary:
    """Denoise interleaved s16le at the contract's rate from ``source`` to ``destination``.

    Every hop read is answered by one hop, flushed at once, so the output trails the input by
    ``output_delay`` samples. At the end of ``source`` the tail is flushed: in all, the output is
    ``output_delay`` samples longer than the input. An incomplete last sample is dropped.

    Raises InputError as :func:`runtime.engines.open_engine` does, and BrokenPipeError when the
    reader of ``destination`` goes away.
    """
    contract = artefact.sidecar.contract
    engine = open_engine(artefact, engine_name)
    denoisers = [
        StreamingDenoiser(artefact.sidecar, engine, attenuation_limit_db) for _ in range(channels)
    ]
    frame_bytes = channels * SAMPLE.itemsize
    frames = 0
    while True:
        raw = _read_fully(source, contract.hop * frame_bytes)
        count = len(raw) // frame_bytes
        frames += count
        if count < contract.hop:
            break
        _write(destination, _denoise(denoisers, _decode(raw, channels)))
    last = np.zeros((contract.hop + contract.output_delay, channels), dtype=np.float32)
    last[:count] = _decode(raw[: count * frame_bytes], channels)
    hops = [last[at : at + contract.hop] for at in range(0, len(last), contract.hop)]
    tail = np.concatenate([_denoise(denoisers, hop) for hop in hops])
    _write(destination, tail[: count + contract.output_delay])
    return LiveSummary(
        model=artefact.path.name,
        model_sha256=artefact.sidecar.model.sha256,
        engine=engine.name,
        sample_rate=contract.sample_rate,
        channels=channels,
        frames=frames,
        seconds=frames / contract.sample_rate,
        output_delay=contract.output_delay,
    )


def _read_fully(source: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer only at the end: a pipe may deliver any number at a time."""
    parts = bytearray()
    while len(parts) < size and (part := source.read(size - len(parts))):
        parts += part
    return bytes(parts)


def _decode(raw: bytes, channels: int) -> FloatArray:
    samples = np.frombuffer(raw, dtype=SAMPLE).reshape(-1, channels)
    return (samples / np.float32(FULL_SCALE)).astype(np.float32)


def _denoise(denoisers: list[StreamingDenoiser], hop: FloatArray) -> FloatArray:
    return np.stack(
        [denoiser.push(hop[:, channel]) for channel, denoiser in enumerate(denoisers)], axis=1
    )


def _write(destination: BinaryIO, block: FloatArray) -> None:
    limits = np.iinfo(SAMPLE)
    stored = np.clip(np.rint(block * FULL_SCALE), limits.min, limits.max)
    destination.write(stored.astype(SAMPLE).tobytes())
    destination.flush()
