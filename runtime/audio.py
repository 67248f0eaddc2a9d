"""Audio files: block by block in, block by block out, nothing half-written left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from runtime.stft import FloatArray
from targets.errors import InputError

if TYPE_CHECKING:
    import soundfile

MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz; outside it a header is damaged rather than unusual
RIFF_LIMIT = 2**32 - 2**20  # bytes a plain WAV can hold, with room for its header
FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}  # suffix → container to write
# Subtypes written as the source has them; any other becomes the default of its container.
KEPT_SUBTYPES = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
    "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
    "OGG": ("VORBIS", "OPUS"),
}
DEFAULT_SUBTYPES = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS"}
BYTES_PER_SAMPLE = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "DOUBLE": 8}
# Subtypes of more than 16 bits, for which FLAC has 24.
WIDE_SUBTYPES = ("PCM_24", "PCM_32", "FLOAT", "DOUBLE")


@dataclass(frozen=True)
class AudioInfo:
    """What a file is: ``rate`` in Hz, ``frames`` in samples per channel."""

    rate: int
    channels: int
    frames: int
    container: str
    subtype: str

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


@dataclass(frozen=True)
class Audio:
    """A whole recording: ``samples`` is float32 ``[frames, channels]``, ``rate`` in Hz."""

    samples: FloatArray
    rate: int


class AudioReader:
    """A file opened for reading in blocks; use as a context manager.

    Raises InputError when the file is missing, is not audio, or holds no samples.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a recording.", hint="Name one audio file.")
        if not path.is_file():
            raise InputError(f"No file at {path}.", hint="Check the path of the recording.")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is an empty file.", hint="Record or copy it again.")
        self.path = path
        self._file = _open_for_reading(path)
        self.info = AudioInfo(
            rate=int(self._file.samplerate),
            channels=int(self._file.channels),
            frames=int(self._file.frames),
            container=str(self._file.format),
            subtype=str(self._file.subtype),
        )
        try:
            self._check_header()
        except InputError:
            self._file.close()
            raise

    def _check_header(self) -> None:
        if self.info.frames == 0:
            raise InputError(f"{self.path} holds no samples.", hint="Record or copy it again.")
        if not MIN_RATE <= self.info.rate <= MAX_RATE:
            raise InputError(
                f"{self.path} claims a sample rate of {self.info.rate} Hz.",
                hint=f"Rates from {MIN_RATE} to {MAX_RATE} Hz are read: is the header damaged?",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def blocks(self, frames: int) -> Iterator[FloatArray]:
        """Yield float32 blocks ``[≤ frames, channels]``, full scale ±1, in order to the end.

        Raises InputError at the first NaN or infinite sample, and where the file is damaged.
        """
        done = 0
        while len(block := self._read(frames)):
            finite = np.isfinite(block)
            if not finite.all():
                at = (done + int(np.argmin(finite.all(axis=1)))) / self.info.rate
                raise InputError(
                    f"{self.path} holds NaN or infinite samples (first at {at:.3f} s).",
                    hint="Repair the recording, or export it as integer PCM.",
                )
            done += len(block)
            yield block
        # Other containers either correct the count themselves or only estimate it.
        if self.info.container == "FLAC" and done < self.info.frames:
            raise self._damaged(done)

    def _read(self, frames: int) -> FloatArray:
        import soundfile

        at = self._file.tell()
        try:
            block: FloatArray = self._file.read(frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise self._damaged(at) from error
        return block

    def _damaged(self, frame: int) -> InputError:
        return InputError(
            f"{self.path} is damaged or cut off after {frame / self.info.rate:.3f} s.",
            hint="Copy it again, or convert what can be read into a new file.",
        )


def _open_for_reading(path: Path) -> soundfile.SoundFile:
    import soundfile

    try:
        return soundfile.SoundFile(str(path))
    except PermissionError as error:
        raise InputError(f"{path} may not be read.", hint="Check its permissions.") from error
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not an audio file that can be read.",
            hint="wav, flac, ogg and mp3 are read; convert other formats first.",
        ) from error


def read_audio(path: Path) -> Audio:
    """Read a whole recording; for long ones read ``AudioReader(path).blocks(…)`` instead.

    Raises InputError as :class:`AudioReader` does.
    """
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(reader.info.rate))
        return Audio(samples=np.concatenate(blocks), rate=reader.info.rate)


def resample(signal: FloatArray, source: int, target: int) -> FloatArray:
    """Resample ``[samples]`` or ``[samples, channels]`` from ``source`` Hz to ``target`` Hz."""
    if source == target:
        return signal
    import soxr

    return np.asarray(soxr.resample(signal, source, target), dtype=np.float32)


class StreamResampler:
    """Resamples ``[n, channels]`` blocks; the delay of the filter is compensated.

    At equal rates blocks pass untouched.
    """

    def __init__(self, source: int, target: int, channels: int) -> None:
        self._stream = None
        if source != target:
            import soxr

            self._stream = soxr.ResampleStream(source, target, channels, dtype="float32")

    def push(self, block: FloatArray, *, last: bool = False) -> FloatArray:
        if self._stream is None:
            return block
        contiguous = np.ascontiguousarray(block, dtype=np.float32)
        return np.asarray(self._stream.resample_chunk(contiguous, last=last), dtype=np.float32)


class AudioWriter:
    """Writes ``destination`` under a temporary name and renames it on a clean end.

    The container follows the suffix, the subtype that of the source where the container has it.
    Integer subtypes saturate: ``clipped`` counts the samples that did. When the ``with`` block
    raises, whatever stood at ``destination`` before stays.

    Raises InputError for an unknown suffix or a place that cannot be written to.
    """

    def __init__(self, destination: Path, source: AudioInfo) -> None:
        self.path = _writable_path(destination)
        self.subtype, container = output_format(destination, source)
        self.clipped = 0
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self._file = self._open(source, container)
        except BaseException:
            self._discard()
            raise

    def _open(self, source: AudioInfo, container: str) -> soundfile.SoundFile:
        import soundfile

        try:
            self._temporary.touch()  # names the trouble better than libsndfile
            return soundfile.SoundFile(
                str(self._temporary),
                "w",
                samplerate=source.rate,
                channels=source.channels,
                format=container,
                subtype=self.subtype,
            )
        except OSError as error:
            raise _unwritable(self.path, error) from error
        except (soundfile.LibsndfileError, ValueError) as error:
            raise InputError(
                f"{container} with {self.subtype} cannot hold {source.channels} channels "
                f"at {source.rate} Hz.",
                hint="Name an output that ends in .wav.",
            ) from error

    def write(self, block: FloatArray) -> None:
        """Append ``[n, channels]``, full scale ±1."""
        import soundfile

        try:
            self._file.write(self._stored(block))
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            raise self._cut_short() from error

    def _cut_short(self) -> InputError:
        return InputError(f"Writing {self.path} failed.", hint="Is the disk full?")

    def _stored(self, block: FloatArray) -> npt.NDArray[Any]:
        """The block as libsndfile shall store it: rounded to nearest and saturated by us, because
        its own float conversion with clipping rounds down."""
        if self.subtype in ("FLOAT", "DOUBLE"):
            return block
        self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
        if self.subtype in ("PCM_24", "PCM_32"):
            return _to_integer(block, 24).astype(np.int32) << 8
        if self.subtype in ("PCM_S8", "PCM_U8"):
            return (_to_integer(block, 8) << 8).astype(np.int16)
        if self.subtype == "PCM_16":
            return _to_integer(block, 16).astype(np.int16)
        return np.clip(block, -1.0, 1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                os.replace(self._temporary, self.path)
        except OSError as failure:
            raise _unwritable(self.path, failure) from failure
        except RuntimeError as failure:  # libsndfile could not write what it had buffered
            if kind is None:
                raise self._cut_short() from failure
        finally:
            self._discard()

    def _discard(self) -> None:
        with suppress(OSError):  # a read-only file system refuses even what is not there
            self._temporary.unlink()


def _to_integer(block: FloatArray, bits: int) -> npt.NDArray[np.int64]:
    """Round to nearest ``bits``-bit integers and saturate."""
    full = 1 << (bits - 1)
    return np.clip(np.rint(block * np.float64(full)), -full, full - 1).astype(np.int64)


def output_format(destination: Path, source: AudioInfo) -> tuple[str, str]:
    """Subtype and container in which ``destination`` is written.

    Raises InputError for a suffix that is not written.
    """
    container = FORMATS.get(destination.suffix.lower())
    if container is None:
        raise InputError(
            f"No audio format is written for the name {destination.name!r}.",
            hint=f"End the output in one of {', '.join(FORMATS)}.",
        )
    subtype = source.subtype
    if subtype not in KEPT_SUBTYPES[container]:
        wide = container == "FLAC" and subtype in WIDE_SUBTYPES
        subtype = "PCM_24" if wide else DEFAULT_SUBTYPES[container]
    if container == "WAV":
        container = _wav_container(source, subtype)
    return subtype, container


def _wav_container(source: AudioInfo, subtype: str) -> str:
    """Plain WAV, the extensible header for more than two channels, RF64 beyond 4 GiB."""
    size = source.frames * source.channels * BYTES_PER_SAMPLE.get(subtype, 4)
    if size > RIFF_LIMIT:
        return "RF64"
    return "WAVEX" if source.channels > 2 or source.container == "WAVEX" else "WAV"


def _writable_path(destination: Path) -> Path:
    """The file behind ``destination`` (links followed, so that a link stays a link)."""
    if not destination.parent.is_dir():
        raise InputError(
            f"The folder {destination.parent} does not exist.", hint="Make it first (mkdir -p)."
        )
    if destination.exists() and not destination.is_file():
        raise InputError(f"{destination} is not a file.", hint="Name a file to write.")
    return destination.resolve()


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written ({(error.strerror or str(error)).lower()}).",
        hint="Choose a folder that you may write to.",
    )
