"""Microphone to loudspeaker: the streaming denoiser in the callback of an audio device."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact
from runtime.denoiser import StreamingDenoiser
from runtime.devices.children import ToolMissing
from runtime.engines import open_engine
from runtime.figures import Figure, Provenance
from runtime.profiling.labels import labels
from runtime.profiling.machine import processor
from runtime.stft import FloatArray
from targets.errors import GateUnavailable

RECENT_SECONDS = 2.0  # what the shown load and levels are taken from
REMEMBERED = 200_000  # blocks whose time is kept for the summary: 53 minutes at 16 ms
SILENCE_DB = -120.0
WARM_UP_HOPS = 20
Latency = Literal["low", "high"]


class Status(BaseModel):
    """The state of a live session. Loads are shares of a block's duration."""

    model_config = ConfigDict(frozen=True)

    seconds: float  # heard so far
    blocks: int
    load: float  # mean of the last two seconds
    peak_load: float  # greatest of the last two seconds
    xruns: int  # blocks lost or late, as the audio system counts them
    device_ms: float  # latency of input and output as PortAudio states it
    algorithmic_ms: float
    input_db: float  # RMS of the last block, dB below full scale
    output_db: float
    bypassed: bool
    limit_db: float | None


class LiveSummary(BaseModel):
    """A live session that has ended: what was heard, and its figures."""

    model_config = ConfigDict(frozen=True)

    model: str
    model_sha256: str
    engine: str
    sample_rate: int
    block: int  # samples
    seconds: float
    xruns: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Devices:
    """What to open. Names and numbers are those of `sordino live --devices`."""

    input: str | int | None = None
    output: str | int | None = None
    latency: Latency | float = "low"


class LiveSession:
    """What happens to each block. It owns the denoiser; the audio device calls :meth:`process`.

    ``block`` is a multiple of the hop, in samples. Every block that comes in is answered by one
    that trails it by the contract's ``output_delay``, bypassed or not.
    """

    def __init__(
        self, artefact: Artefact, *, engine: str | None, block_hops: int, limit_db: float | None
    ) -> None:
        contract = artefact.sidecar.contract
        opened = open_engine(artefact, engine)
        self.contract = contract
        (self.model,), self.engine = labels([artefact]), opened.name
        self._sha256 = artefact.sidecar.model.sha256
        self.block = block_hops * contract.hop
        self._denoiser = StreamingDenoiser(artefact.sidecar, opened, limit_db)
        self._limit_db = limit_db
        self._bypassed = False
        self._times: deque[float] = deque(maxlen=REMEMBERED)
        self._blocks = self._xruns = 0
        self._levels = SILENCE_DB, SILENCE_DB
        self._failure: Exception | None = None
        for _ in range(WARM_UP_HOPS):  # the first steps of an engine are slow
            self._denoiser.push(np.zeros(self.block, dtype=np.float32))
        self._denoiser.reset()

    def process(self, block: FloatArray, lost: bool = False) -> FloatArray:
        """Denoise ``[block]`` samples. ``lost`` says that the device dropped some before these.

        Never raises: this runs in the device's thread. A model that fails is heard as silence, and
        :meth:`check` tells.
        """
        started = time.perf_counter()
        self._xruns += lost
        try:
            out = self._denoiser.push(block)
        except Exception as error:  # the device's thread could only print it
            self._failure = error
            out = np.zeros_like(block)
        self._blocks += 1
        self._levels = _level(block), _level(out)
        self._times.append(time.perf_counter() - started)
        return out

    def check(self) -> None:
        """Raise the error of a block that failed, if one did."""
        if self._failure:
            raise self._failure

    def toggle_bypass(self) -> None:
        """Let the noisy signal through, with the same delay, or denoise again."""
        self._bypassed = not self._bypassed
        self._denoiser.limit_attenuation(0.0 if self._bypassed else self._limit_db)

    def limit_attenuation(self, limit_db: float | None) -> None:
        """Lower noise by at most ``limit_db``, None for no limit."""
        self._limit_db = limit_db
        if not self._bypassed:
            self._denoiser.limit_attenuation(limit_db)

    @property
    def limit_db(self) -> float | None:
        return self._limit_db

    def status(self, device_seconds: float) -> Status:
        """How it goes; ``device_seconds`` is the latency the device states."""
        duration = self.block / self.contract.sample_rate
        count = max(1, round(RECENT_SECONDS / duration))
        recent = np.asarray(list(islice(reversed(self._times), count)) or [0.0]) / duration
        return Status(
            seconds=self._blocks * duration,
            blocks=self._blocks,
            load=float(recent.mean()),
            peak_load=float(recent.max()),
            xruns=self._xruns,
            device_ms=1e3 * device_seconds,
            algorithmic_ms=self.contract.milliseconds(self.contract.algorithmic_delay),
            input_db=self._levels[0],
            output_db=self._levels[1],
            bypassed=self._bypassed,
            limit_db=self._limit_db,
        )

    def summary(self, device_seconds: float) -> LiveSummary:
        """The figures of a session that has ended."""
        duration = self.block / self.contract.sample_rate
        loads = 100.0 * np.asarray(self._times or [0.0]) / duration
        tool = f"{self.engine}, in the callback of the audio device"
        over = f"{processor()}, {len(self._times)} blocks of {1e3 * duration:g} ms"
        host = Provenance.MEASURED_HOST

        def load(rank: str, value: float) -> Figure:
            return Figure(
                name=f"load, {rank}",
                value=value,
                unit="%",
                provenance=host,
                tool=tool,
                conditions=over,
            )

        ranks = zip(("median", "p99"), np.percentile(loads, (50, 99)), strict=True)
        device = Figure(
            name="device latency",
            value=1e3 * device_seconds,
            unit="ms",
            provenance=host,
            tool="PortAudio",
            conditions="both directions, as PortAudio states it; without converters and cables",
        )
        return LiveSummary(
            model=self.model,
            model_sha256=self._sha256,
            engine=self.engine,
            sample_rate=self.contract.sample_rate,
            block=self.block,
            seconds=self._blocks * duration,
            xruns=self._xruns,
            figures=(*(load(rank, float(value)) for rank, value in ranks), device),
        )


@contextmanager
def open_stream(session: LiveSession, devices: Devices) -> Iterator[Any]:
    """A running duplex stream that feeds ``session``; its ``latency`` is that of both directions.

    Raises ToolMissing without sounddevice or PortAudio, GateUnavailable where there is no such
    device or it does not take the rate of the model.
    """
    sounddevice = _sounddevice()

    def callback(heard: FloatArray, said: FloatArray, frames: int, at: Any, status: Any) -> None:
        lost = bool(status.input_overflow or status.output_underflow)
        said[:, 0] = session.process(heard[:, 0].copy(), lost)

    with ExitStack() as stack:
        try:
            stream = sounddevice.Stream(
                samplerate=session.contract.sample_rate,
                blocksize=session.block,
                device=(devices.input, devices.output),
                channels=1,
                dtype="float32",
                latency=devices.latency,
                callback=callback,
            )
            stack.enter_context(stream)
        except (sounddevice.PortAudioError, ValueError, OverflowError) as error:
            raise _refused(str(error).partition("\n")[0], session) from error
        yield stream


def _refused(reason: str, session: LiveSession) -> GateUnavailable:
    listed = "`sordino live --devices` lists what there is"
    if reason.endswith("device -1"):  # PortAudio's number of the device that is not there
        return GateUnavailable(
            "This machine has no usual audio device for both directions.",
            hint=f"{listed}: name two with --input and --output.",
        )
    return GateUnavailable(
        f"The audio device cannot be opened: {reason}.",
        hint=f"{listed}; it has to take mono at {session.contract.sample_rate} Hz: a device named "
        "default, pulse or pipewire converts rates.",
    )


def check_running(stream: Any) -> None:
    """Raise GateUnavailable where the device has stopped, as one does whose cable is pulled."""
    if not stream.active:
        raise GateUnavailable(
            "The audio device stopped.", hint="Is it still connected? Then start again."
        )


def device_table() -> list[dict[str, Any]]:
    """Every audio device: index, name, host interface, channels in and out, and usual rate."""
    sounddevice = _sounddevice()
    interfaces = sounddevice.query_hostapis()
    return [
        {
            "index": index,
            "name": device["name"],
            "interface": interfaces[device["hostapi"]]["name"],
            "inputs": device["max_input_channels"],
            "outputs": device["max_output_channels"],
            "sample_rate": device["default_samplerate"],
        }
        for index, device in enumerate(sounddevice.query_devices())
    ]


def stream_seconds(stream: Any) -> float:
    """The latency of both directions of a stream, as PortAudio states it."""
    both = stream.latency
    return float(sum(both)) if isinstance(both, tuple) else float(both)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise ToolMissing(
            "Live audio needs the package sounddevice, which is not installed here.",
            hint="pip install 'sordino[live]'",
        ) from error
    except OSError as error:  # the package is there, the library it wraps is not
        raise ToolMissing(
            "Live audio needs PortAudio, which is not installed here.",
            hint="sudo apt install libportaudio2",
        ) from error
    return sounddevice


def _level(block: FloatArray) -> float:
    power = float(np.mean(np.square(block)))
    return max(SILENCE_DB, 10.0 * float(np.log10(power))) if power > 0 else SILENCE_DB
