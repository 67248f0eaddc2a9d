"""The signals an export needs: noisy speech to calibrate on, and unseen mixtures to judge on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from distill.corpus import Corpus
from distill.mixing import Mixer, MixSettings, Mixture, evaluation_items

Signal = npt.NDArray[np.float32]

CALIBRATION_ITEMS = 48
CALIBRATION_SECONDS = 2.0  # with the items above: some 6,000 frames of 16 ms
# A wider span of levels than in training: loud speech must not saturate the features.
CALIBRATION_LEVEL_DBFS = (-40.0, -12.0)
HELD_OUT_ITEMS = 16
HELD_OUT_SECONDS = 4.0
SEED = 0


@dataclass(frozen=True)
class Material:
    """Signals ``[samples]`` at 16 kHz, and where they come from."""

    calibration: Sequence[Signal] = field(repr=False)
    held_out: Sequence[Mixture] = field(repr=False)
    source: str
    synthetic: bool
    fingerprint: str
    licences: dict[str, str]


def gather(corpus: Corpus) -> Material:
    """Calibration mixtures of the training split, and mixtures of a split never trained on.

    Raises InputError when a split of the corpus is empty.
    """
    settings = MixSettings(seconds=CALIBRATION_SECONDS, level_dbfs=CALIBRATION_LEVEL_DBFS)
    mixer = Mixer(corpus, "train", settings, SEED)
    return Material(
        calibration=[mixer.item(index).noisy for index in range(CALIBRATION_ITEMS)],
        held_out=evaluation_items(corpus, corpus.held_out, HELD_OUT_ITEMS, HELD_OUT_SECONDS, SEED),
        source=corpus.name,
        synthetic=corpus.synthetic,
        fingerprint=corpus.fingerprint,
        licences=corpus.licences,
    )
