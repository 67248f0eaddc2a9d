"""Mixtures of speech and noise drawn on the fly: every item depends on its seed and index alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from scipy.fft import irfft, next_fast_len, rfft

from distill.corpus import SAMPLE_RATE, SPLITS, Clip, Corpus, FloatArray, Split
from targets.errors import InputError

FRAME = 320  # 20 ms: the frame over which activity is judged
ACTIVITY_RANGE_DB = 40.0  # frames this far below the loudest one are not active
SILENCE_POWER = 1e-9  # −90 dBFS: a draw quieter than this is drawn again
REDRAWS = 20
EVALUATION_LEVEL_DBFS = (-36.0, -18.0)
EARLY_SAMPLES = SAMPLE_RATE * 50 // 1000  # of a room response: direct sound and early echoes
POOL_SEED = 0x706F6F6C  # of the items of a pool, the same for every Mixer: "pool"
FADE = 80  # samples of cross-fade where noise pieces meet: no click


class MixSettings(BaseModel):
    """How mixtures are drawn. Ranges are uniform, in dB; ``seconds`` is the length of an item."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(2.0, gt=0.0)
    snr_db: tuple[float, float] = (-6.0, 16.0)  # active speech over noise
    # RMS of the mixture. Wide: trained on −36 … −18 alone, a student made quieter input worse.
    level_dbfs: tuple[float, float] = (-50.0, -14.0)
    pause_probability: float = Field(0.3, ge=0.0, le=1.0)  # of a pause before a piece of speech
    second_noise_probability: float = Field(0.2, ge=0.0, le=1.0)
    babble_probability: float = Field(0.08, ge=0.0, le=1.0)
    reverb_probability: float = Field(0.0, ge=0.0, le=1.0)
    rir_folder: Path | None = None  # *.npy of shape [positions, ears, taps] at 16 kHz
    # Only so many distinct items, the same whatever the seed, visited in an order of the seed's:
    # several students can then share what a teacher said of each.
    pool: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> MixSettings:
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must rise: [{low}, {high}]")
        if self.reverb_probability > 0.0 and self.rir_folder is None:
            raise ValueError("reverb_probability needs rir_folder")
        return self


@dataclass(frozen=True)
class Mixture:
    """Noisy and clean signals ``[samples]`` at 16 kHz; ``noisy − clean`` is what to remove."""

    noisy: FloatArray
    clean: FloatArray
    snr_db: float
    speech: str  # names of the clips, for reports
    noise: str


def active_power(signal: FloatArray) -> float:
    """Mean power over the frames within ``ACTIVITY_RANGE_DB`` of the loudest (0 for silence)."""
    whole = len(signal) - len(signal) % FRAME
    frames = signal[:whole].reshape(-1, FRAME) if whole else signal.reshape(1, -1)
    powers = np.einsum("ij,ij->i", frames, frames) / frames.shape[1]
    loudest = float(powers.max())
    if loudest <= 0.0:
        return 0.0
    return float(powers[powers >= loudest * 10.0 ** (-ACTIVITY_RANGE_DB / 10.0)].mean())


def mean_power(signal: FloatArray) -> float:
    return float(np.dot(signal, signal)) / max(len(signal), 1)


class Mixer:
    """Draws mixtures from one split of a corpus.

    Raises InputError when the split has no speech or no noise.
    """

    def __init__(self, corpus: Corpus, split: Split, settings: MixSettings, seed: int) -> None:
        self._corpus = corpus
        self._split_id = SPLITS.index(split)
        self._settings = settings
        self._seed = seed
        self._samples = round(settings.seconds * SAMPLE_RATE)
        self._speech = corpus.speech(split)
        self._noise = corpus.noise(split)
        if not self._speech or not self._noise:
            lacking = "noise" if self._speech else "speech"
            raise InputError(
                f"The {split} split of {corpus.name} has no {lacking}.",
                hint="Scan folders with more recordings, or use another split.",
            )
        self._speech_ends = np.cumsum([clip.duration for clip in self._speech])
        self._by_speaker = _grouped(self._speech, [clip.group for clip in self._speech])
        self._by_type = _grouped(self._noise, [clip.type for clip in self._noise])
        self._types = tuple(self._by_type)
        # Between equal shares for types and for minutes: neither rare types nor long ones vanish.
        weights = [sum(c.duration for c in self._by_type[t]) ** 0.5 for t in self._types]
        self._type_ends = np.cumsum(weights)

    def item(self, index: int) -> Mixture:
        """Mixture number ``index``: depends on (seed, split, index) and the settings only.

        With a pool, the seed decides only the order in which its items come, each once an epoch.
        """
        seed, number = self._seed, index
        if (pool := self._settings.pool) is not None:
            epoch, position = divmod(index, pool)
            number = int(_visits(self._seed, self._split_id, epoch, pool)[position])
            seed = POOL_SEED
        sequence = np.random.SeedSequence([seed, self._split_id, number])
        rng = np.random.Generator(np.random.PCG64(sequence))
        for _ in range(REDRAWS):
            speech, speech_name, group = self._speech_track(rng)
            noise, noise_name = self._noise_track(rng, group)
            spoken, clean = self._in_room(rng, speech)
            speech_power, noise_power = active_power(clean), mean_power(noise)
            if speech_power > SILENCE_POWER and noise_power > SILENCE_POWER:
                break
        else:
            raise InputError(
                f"The recordings of {self._corpus.name} are silent wherever they were tried.",
                hint="Remove silent files and scan again.",
            )
        snr_db = float(rng.uniform(*self._settings.snr_db))
        level_db = float(rng.uniform(*self._settings.level_dbfs))
        noise *= np.float32(np.sqrt(speech_power / noise_power * 10.0 ** (-snr_db / 10.0)))
        noisy = spoken + noise
        peak = max(float(noisy.max()), -float(noisy.min()), float(np.abs(clean).max()))
        gain = min(10.0 ** (level_db / 20.0) / np.sqrt(mean_power(noisy)), 0.999 / peak)
        noisy *= np.float32(gain)
        clean = clean * np.float32(gain)
        return Mixture(noisy, clean, snr_db, speech_name, noise_name)

    def rows(self, first: int, count: int) -> tuple[FloatArray, FloatArray]:
        """Noisy and clean signals ``[count, samples]`` of items ``first …``."""
        noisy = np.empty((count, self._samples), dtype=np.float32)
        clean = np.empty_like(noisy)
        for row in range(count):
            mixture = self.item(first + row)
            noisy[row], clean[row] = mixture.noisy, mixture.clean
        return noisy, clean

    def batch(self, step: int, size: int) -> tuple[FloatArray, FloatArray]:
        """Noisy and clean signals ``[size, samples]`` of items ``step·size …``."""
        return self.rows(step * size, size)

    def _pick_speech(self, rng: np.random.Generator) -> Clip:
        """A clip in proportion to its length: every second of speech is equally likely."""
        point = rng.random() * self._speech_ends[-1]
        index = int(np.searchsorted(self._speech_ends, point, side="right"))
        return self._speech[min(index, len(self._speech) - 1)]

    def _speech_track(self, rng: np.random.Generator) -> tuple[FloatArray, str, str]:
        """Speech of one speaker filling an item: pieces in a row, sometimes with pauses."""
        track = np.zeros(self._samples, dtype=np.float32)
        first = clip = self._pick_speech(rng)
        position = 0
        while position < self._samples:
            if rng.random() < self._settings.pause_probability:
                position += int(rng.uniform(0.05, 0.5) * SAMPLE_RATE)
            length = min(clip.samples, self._samples - position)
            if length <= 0:
                break
            start = int(rng.integers(clip.samples - length + 1))
            track[position : position + length] = self._corpus.load(clip, start, length)
            position += length
            siblings = self._by_speaker[first.group]
            clip = siblings[int(rng.integers(len(siblings)))]
        return track, first.name, first.group

    def _noise_track(self, rng: np.random.Generator, speaker: str) -> tuple[FloatArray, str]:
        if rng.random() < self._settings.babble_probability:
            babble = self._babble(rng, speaker)
            if babble is not None:
                return babble, "babble"
        noise, name = self._one_noise(rng)
        if rng.random() < self._settings.second_noise_probability:
            other, other_name = self._one_noise(rng)
            power, other_power = mean_power(noise), mean_power(other)
            if power > SILENCE_POWER and other_power > SILENCE_POWER:
                gain_db = rng.uniform(-10.0, 0.0)
                noise += other * np.float32(np.sqrt(power / other_power) * 10 ** (gain_db / 20))
                name = f"{name} + {other_name}"
        return noise, name

    def _one_noise(self, rng: np.random.Generator) -> tuple[FloatArray, str]:
        """Noise of one type filling an item: pieces with random offsets, joined by short fades."""
        point = rng.random() * self._type_ends[-1]
        index = int(np.searchsorted(self._type_ends, point, side="right"))
        clips = self._by_type[self._types[min(index, len(self._types) - 1)]]
        track = np.zeros(self._samples, dtype=np.float32)
        first = clip = clips[int(rng.integers(len(clips)))]
        position = 0
        while position < self._samples:
            length = min(clip.samples, self._samples - position)
            start = int(rng.integers(clip.samples - length + 1))
            piece = self._corpus.load(clip, start, length)
            if position and length > FADE:
                ramp = np.linspace(0.0, 1.0, FADE, dtype=np.float32)
                piece[:FADE] *= ramp
                track[position : position + FADE] *= 1.0 - ramp
            track[position : position + length] += piece
            done = position + length >= self._samples
            position += length if done or length <= 2 * FADE else length - FADE
            clip = clips[int(rng.integers(len(clips)))]
        return track, first.name

    def _babble(self, rng: np.random.Generator, speaker: str) -> FloatArray | None:
        """Three to six other speakers at similar levels; None where there are too few."""
        wanted = int(rng.integers(3, 7))
        track = np.zeros(self._samples, dtype=np.float32)
        heard: set[str] = {speaker}
        for _ in range(4 * wanted):
            voice, _, group = self._speech_track(rng)
            power = active_power(voice)
            if group in heard or power <= SILENCE_POWER:
                continue
            heard.add(group)
            track += voice * np.float32(10.0 ** (rng.uniform(-6.0, 0.0) / 20.0) / np.sqrt(power))
            if len(heard) > wanted:
                return track
        return track if len(heard) > 3 else None

    def _in_room(
        self, rng: np.random.Generator, speech: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(what the microphone hears of the speech, the target): equal without a room.

        In a room the target is direct sound and the reflections of its first 50 ms, which help
        intelligibility; what comes later is to be removed with the noise.
        """
        if rng.random() >= self._settings.reverb_probability:
            return speech, speech
        response = self._responses[int(rng.integers(len(self._responses)))]
        size = next_fast_len(len(speech) + len(response) - 1, real=True)
        spectrum = rfft(speech, size)
        heard, target = (
            np.ascontiguousarray(irfft(spectrum * rfft(part, size), size)[: len(speech)])
            for part in (response, response[:EARLY_SAMPLES])
        )
        return heard, target

    @cached_property
    def _responses(self) -> list[FloatArray]:
        """Room responses beginning at the direct sound; every tenth one is kept from training."""
        folder = self._settings.rir_folder
        files = sorted(folder.glob("*.npy")) if folder else []
        if not files:
            raise InputError(f"No room responses (*.npy) in {folder}.", hint="Check rir_folder.")
        responses: list[FloatArray] = []
        for file in files:
            taps = np.load(file, allow_pickle=False)
            for response in taps.reshape(-1, taps.shape[-1]):
                direct = int(np.argmax(np.abs(response)))
                responses.append(np.ascontiguousarray(response[max(direct - 8, 0) :], np.float32))
        held_out = self._split_id > 0
        kept = [r for i, r in enumerate(responses) if (i % 10 == 9) == held_out]
        return kept or responses


@lru_cache(maxsize=8)
def _visits(seed: int, split_id: int, epoch: int, pool: int) -> npt.NDArray[np.int64]:
    """Order ``[pool]`` in which the items of a pool are visited in an epoch."""
    sequence = np.random.SeedSequence([seed, split_id, epoch, POOL_SEED])
    return np.random.Generator(np.random.PCG64(sequence)).permutation(pool)


def _grouped(clips: tuple[Clip, ...], keys: list[str]) -> dict[str, tuple[Clip, ...]]:
    lists: dict[str, list[Clip]] = {}
    for clip, key in zip(clips, keys, strict=True):
        lists.setdefault(key, []).append(clip)
    return {key: tuple(members) for key, members in lists.items()}


def evaluation_items(
    corpus: Corpus, split: Split, count: int, seconds: float, seed: int
) -> list[Mixture]:
    """The first ``count`` mixtures of a split, without rooms, at usual levels: always the same."""
    settings = MixSettings(seconds=seconds, level_dbfs=EVALUATION_LEVEL_DBFS)
    mixer = Mixer(corpus, split, settings, seed)
    return [mixer.item(index) for index in range(count)]


def paired_items(folder: Path) -> list[Mixture]:
    """Ready-made pairs: ``noisy/NAME`` and ``clean/NAME`` at 16 kHz mono, sorted by name.

    Raises InputError when a partner is missing, or when rates or lengths do not fit.
    """
    noisy_files = sorted(p for p in (folder / "noisy").glob("*") if p.is_file())
    if not noisy_files:
        raise InputError(f"No pairs in {folder}.", hint="Expected noisy/NAME and clean/NAME.")
    items: list[Mixture] = []
    for noisy_file in noisy_files:
        clean_file = folder / "clean" / noisy_file.name
        if not clean_file.is_file():
            raise InputError(f"{noisy_file} has no partner in clean/.", hint="Names must match.")
        noisy, clean = _read_pair_member(noisy_file), _read_pair_member(clean_file)
        if len(noisy) != len(clean):
            raise InputError(f"{noisy_file.name}: noisy and clean differ in length.", hint="")
        noise_power = mean_power(noisy - clean)
        ratio = active_power(clean) / noise_power if noise_power > 0.0 else np.inf
        name = noisy_file.stem
        items.append(Mixture(noisy, clean, float(10 * np.log10(max(ratio, 1e-12))), name, name))
    return items


def _read_pair_member(path: Path) -> FloatArray:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path} is not audio.", hint="Use wav or flac.") from error
    if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise InputError(f"{path} is not 16 kHz mono.", hint="Convert the pair first.")
    return np.ascontiguousarray(samples[:, 0])
