"""Mixtures of speech and noise drawn on the fly: every item depends on its seed and index alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from distill.biquads import Sections, impulse_response
from distill.colouring import Clipping, Equalizer, Microphone, clipped, equalizer, microphone
from distill.corpus import SAMPLE_RATE, SPLITS, Corpus, FloatArray, Split
from distill.levels import SILENCE_POWER, active_power, mean_power, peak
from distill.propagation import Placement, Propagation, Scene, placed
from distill.responses import Room, given_rooms
from distill.rooms import Rooms, simulated_rooms
from distill.tracks import Chances, Noise, Speech, Tracks
from targets.errors import InputError

REDRAWS = 20
EVALUATION_LEVEL_DBFS = (-36.0, -18.0)
POOL_SEED = 0x706F6F6C  # of the items of a pool, the same for every Mixer: "pool"

# Each way of changing a mixture has random numbers of its own, so that turning one on or off
# leaves everything else of an item as it was.
ROOMS, EQUALIZER, MICROPHONE, CLIPPING, GAP = range(1, 6)

GAP_SHARE = (0.1, 0.5)  # of an item
GAP_RAMP = SAMPLE_RATE // 100  # 10 ms from sound to silence: no click


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
    gap_probability: float = Field(0.0, ge=0.0, le=1.0)  # of a while without noise
    reverb_probability: float = Field(0.0, ge=0.0, le=1.0)
    rir_folder: Path | None = None  # measured responses at 16 kHz
    rooms: Rooms | None = None  # simulated ones; with both, each is used half of the time
    equalizer: Equalizer = Equalizer()
    microphone: Microphone = Microphone()
    clipping: Clipping = Clipping()
    # Only so many distinct items, the same whatever the seed, visited in an order of the seed's:
    # several students can then share what a teacher said of each.
    pool: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> MixSettings:
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must rise: [{low}, {high}]")
        if self.reverb_probability > 0.0 and self.rir_folder is None and self.rooms is None:
            raise ValueError("reverb_probability needs rir_folder or rooms")
        return self


@dataclass(frozen=True)
class Mixture:
    """Noisy and clean signals ``[samples]`` at 16 kHz; ``noisy − clean`` is what to remove."""

    noisy: FloatArray
    clean: FloatArray
    snr_db: float  # active speech of the target over noise, before anything is clipped
    speech: str  # names of the clips, for reports
    noise: str


class Mixer:
    """Draws mixtures from one split of a corpus.

    Rooms are read, or simulated where they never were, when it is made. Raises InputError when
    the split has no speech or no noise, and for rooms that cannot be had.
    """

    def __init__(self, corpus: Corpus, split: Split, settings: MixSettings, seed: int) -> None:
        self._corpus = corpus
        self._split_id = SPLITS.index(split)
        self._settings = settings
        self._seed = seed
        self._samples = round(settings.seconds * SAMPLE_RATE)
        chances = Chances(
            settings.pause_probability,
            settings.second_noise_probability,
            settings.babble_probability,
        )
        self._tracks = Tracks(corpus, split, chances, self._samples)
        self._rooms = _rooms(settings, held_out=split != "train")
        self._propagation = Propagation()

    def item(self, index: int) -> Mixture:
        """Mixture number ``index``: depends on (seed, split, index) and the settings only.

        With a pool, the seed decides only the order in which its items come, each once an epoch.
        """
        entropy = self._entropy(index)
        rng = _numbers(entropy)
        for _ in range(REDRAWS):
            speech = self._tracks.speech(rng)
            noise = self._tracks.noise(rng, speech.group)
            reverberant = rng.random() < self._settings.reverb_probability
            scene = self._scene(entropy, speech, noise, reverberant=reverberant)
            speech_power, noise_power = active_power(scene.target), mean_power(scene.noise)
            if speech_power > SILENCE_POWER and noise_power > SILENCE_POWER:
                break
        else:
            raise InputError(
                f"The recordings of {self._corpus.name} are silent wherever they were tried.",
                hint="Remove silent files and scan again.",
            )
        snr_db = float(rng.uniform(*self._settings.snr_db))
        level_db = float(rng.uniform(*self._settings.level_dbfs))
        gain = np.float32(np.sqrt(speech_power / noise_power * 10.0 ** (-snr_db / 10.0)))
        noisy = self._clipped(entropy, scene.heard + scene.noise * gain)
        noisy, clean = _levelled(noisy, scene.target, level_db)
        return Mixture(noisy, clean, snr_db, speech.name, noise.name)

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

    def _entropy(self, index: int) -> list[int]:
        """What an item's random numbers come from."""
        if (pool := self._settings.pool) is None:
            return [self._seed, self._split_id, index]
        epoch, position = divmod(index, pool)
        number = int(_visits(self._seed, self._split_id, epoch, pool)[position])
        return [POOL_SEED, self._split_id, number]

    def _scene(
        self, entropy: list[int], speech: Speech, noise: Noise, *, reverberant: bool
    ) -> Scene:
        """Speech and noise as the microphone hears them, before the SNR is set."""
        sources = self._with_gap(entropy, noise.sources)
        placement = self._placement(entropy, len(sources)) if reverberant else None
        of_speech, of_noise = self._filters(entropy)
        if placement is None and of_speech is None and of_noise is None:
            total = sources[0]
            for source in sources[1:]:
                total = total + source
            return Scene(speech.samples, speech.samples, total)
        return self._propagation.scene(speech.samples, sources, placement, (of_speech, of_noise))

    def _with_gap(
        self, entropy: list[int], sources: tuple[FloatArray, ...]
    ) -> tuple[FloatArray, ...]:
        probability = self._settings.gap_probability
        if (rng := _chosen(entropy, GAP, probability)) is None:
            return sources
        gate = gap(self._samples, rng)
        return tuple(source * gate for source in sources)

    def _placement(self, entropy: list[int], sources: int) -> Placement:
        rng = _numbers(entropy, ROOMS)
        kinds = [rooms for rooms in self._rooms if rooms]
        rooms = kinds[int(rng.integers(len(kinds)))]
        return placed(rooms[int(rng.integers(len(rooms)))], sources, rng)

    def _filters(self, entropy: list[int]) -> tuple[FloatArray | None, FloatArray | None]:
        """Responses in the way of the speech and of the noise; None where there is nothing."""
        shared: list[Sections] = []
        device = self._settings.microphone
        if (rng := _chosen(entropy, MICROPHONE, device.probability)) is not None:
            shared.append(microphone(device, rng))
        settings = self._settings.equalizer
        if settings.probability <= 0.0:
            alike = impulse_response(np.concatenate(shared)) if shared else None
            return alike, alike
        rng = _numbers(entropy, EQUALIZER)
        ways: list[FloatArray | None] = []
        for _ in range(2):
            own = [equalizer(settings, rng)] if rng.random() < settings.probability else []
            sections = shared + own
            ways.append(impulse_response(np.concatenate(sections)) if sections else None)
        return ways[0], ways[1]

    def _clipped(self, entropy: list[int], noisy: FloatArray) -> FloatArray:
        settings = self._settings.clipping
        rng = _chosen(entropy, CLIPPING, settings.probability)
        return noisy if rng is None else clipped(settings, rng, noisy)


def gap(samples: int, rng: np.random.Generator) -> FloatArray:
    """A gain ``[samples]``: 1, and 0 for one stretch of a tenth to half of it."""
    gate = np.ones(samples, dtype=np.float32)
    length = int(rng.uniform(*GAP_SHARE) * samples)
    start = int(rng.integers(samples - length + 1))
    gate[start : start + length] = 0.0
    ramp = np.linspace(1.0, 0.0, GAP_RAMP, dtype=np.float32)
    before, after = gate[max(start - GAP_RAMP, 0) : start], gate[start + length :][:GAP_RAMP]
    before[:] = ramp[GAP_RAMP - len(before) :]
    after[:] = ramp[::-1][: len(after)]
    return gate


def _levelled(
    noisy: FloatArray, clean: FloatArray, level_db: float
) -> tuple[FloatArray, FloatArray]:
    """Both by one gain: ``noisy`` at an RMS of ``level_db``, or lower where a peak forbids it."""
    highest = max(peak(noisy), peak(clean))
    gain = min(10.0 ** (level_db / 20.0) / np.sqrt(mean_power(noisy)), 0.999 / highest)
    return noisy * np.float32(gain), clean * np.float32(gain)


def _rooms(settings: MixSettings, *, held_out: bool) -> tuple[list[Room], list[Room]]:
    """Given and simulated rooms, none where mixtures have no use for them."""
    if settings.reverb_probability <= 0.0:
        return [], []
    folder, simulated = settings.rir_folder, settings.rooms
    return (
        given_rooms(folder, held_out=held_out) if folder else [],
        simulated_rooms(simulated, held_out=held_out) if simulated else [],
    )


def _numbers(entropy: list[int], *stream: int) -> np.random.Generator:
    sequence = np.random.SeedSequence(entropy, spawn_key=stream)
    return np.random.Generator(np.random.PCG64(sequence))


def _chosen(entropy: list[int], stream: int, probability: float) -> np.random.Generator | None:
    """The numbers of a stream, with the given probability."""
    if probability <= 0.0:
        return None
    rng = _numbers(entropy, stream)
    return rng if rng.random() < probability else None


@lru_cache(maxsize=8)
def _visits(seed: int, split_id: int, epoch: int, pool: int) -> npt.NDArray[np.int64]:
    """Order ``[pool]`` in which the items of a pool are visited in an epoch."""
    return _numbers([seed, split_id, epoch, POOL_SEED]).permutation(pool)


def evaluation_items(
    corpus: Corpus, split: Split, count: int, seconds: float, seed: int
) -> list[Mixture]:
    """The first ``count`` mixtures of a split, without rooms, at usual levels: always the same."""
    settings = MixSettings(seconds=seconds, level_dbfs=EVALUATION_LEVEL_DBFS)
    mixer = Mixer(corpus, split, settings, seed)
    return [mixer.item(index) for index in range(count)]
