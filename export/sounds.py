"""What a model is left running on for an hour: a minute each of noise, silence and speech."""

from __future__ import annotations

import numpy as np

from distill.corpus import open_corpus
from runtime.stft import FloatArray, StftContract
from runtime.verification.frames import noise

MINUTE = 60.0


def sounds(contract: StftContract) -> dict[str, FloatArray]:
    """Name → samples of a minute at the contract's rate; the speech is the embedded corpus'."""
    length = round(MINUTE * contract.sample_rate)
    return {
        "noise": noise(contract, MINUTE),
        "silence": np.zeros(length, np.float32),
        "speech": np.resize(_speech(), length),
    }


def _speech() -> FloatArray:
    """Clips of the split that nobody trains on, one after the other."""
    corpus = open_corpus("demo")
    clips = corpus.speech(corpus.held_out)
    return np.concatenate([corpus.load(clip, 0, clip.samples) for clip in clips])
