"""Was a model trained on what it is tested on? By names, and by what recordings sound like.

Compared are the recordings that a training could see (the splits ``train`` and ``valid``) with
those of a test set. A speaker or a noise recording of the same name, a file of the same name and
length, or the same sound in whatever encoding, level and cut, is a leak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Literal

from distill.corpus import Clip, Corpus, FloatArray, Split, open_corpus
from distill.fingerprint import HOP, RATE, Index, fingerprint
from distill.fingerprint_cache import Progress, clip_fingerprints, decode_clip
from distill.manifest import SUFFIXES
from targets.errors import InputError

SEEN: tuple[Split, ...] = ("train", "valid")
SAME_LENGTH_SECONDS = 0.01
SHOWN = 5


@dataclass(frozen=True)
class TrainingData:
    """What is recorded of a training: the corpus by name, where it was, and its fingerprint."""

    corpus: str
    data: str | None
    sha256: str | None


@dataclass(frozen=True)
class Sound:
    """One recording of a test set. ``identities`` name its speaker, or the recordings it is cut
    from, as corpora do; empty where they are not known."""

    label: str
    identities: tuple[str, ...]
    stem: str
    seconds: float
    load: Callable[[], FloatArray]


@dataclass(frozen=True)
class TestSet:
    """The sounds behind the items of an evaluation; ``corpus`` where they are a held-out split."""

    __test__ = False  # not a class of tests

    sounds: tuple[Sound, ...]
    corpus: Corpus | None = None


@dataclass(frozen=True)
class Verdict:
    """Of one model: ``passed``, or ``unavailable`` (its data is recorded and cannot be read), or
    ``unknown`` (nothing is recorded). A leak is no verdict: it ends the evaluation."""

    model: str
    state: Literal["passed", "unavailable", "unknown"]
    detail: str


def check_leakage(
    models: Sequence[tuple[str, Sequence[TrainingData] | None]],
    test: TestSet,
    given: Sequence[Corpus] = (),
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Verdict]:
    """A verdict for each (name, training data); ``given`` are corpora for data that moved.

    Raises InputError, with what was found, where a model was trained on a sound of ``test``.
    """
    compared: dict[str, list[str]] = {}  # fingerprint of a corpus → leaks found in it
    verdicts = []
    for name, trained_on in models:
        corpora: list[Corpus] = []
        problems: list[str] = []
        for data in trained_on or ():
            found = _training_corpora(data, given)
            if isinstance(found, str):
                problems.append(found)
            else:
                corpora += found
        if trained_on is None:
            corpora = list(given)
        for corpus in corpora:
            if corpus.fingerprint not in compared:
                compared[corpus.fingerprint] = _leaks(corpus, test, workers, progress)
            if leaks := compared[corpus.fingerprint]:
                raise _refusal(name, corpus, leaks)
        verdicts.append(_verdict(name, corpora, problems, test))
    return verdicts


def clip_sounds(corpus: Corpus, splits: Sequence[Split]) -> list[Sound]:
    """Speech and noise of some splits."""
    return [
        Sound(
            clip.name,
            () if (identity := _identity(clip)) is None else (identity,),
            PurePath(clip.name).stem,
            clip.duration,
            partial(decode_clip, clip),
        )
        for clip in corpus.clips
        if clip.split in splits
    ]


def _training_corpora(data: TrainingData, given: Sequence[Corpus]) -> list[Corpus] | str:
    """The corpus of a training as it was, or why it cannot be had."""
    for corpus in given:
        if corpus.fingerprint == data.sha256:
            return [corpus]
    if data.sha256 is None and given:
        return list(given)
    if data.data is None:
        return f"{data.corpus}: where it lies is not recorded"
    try:
        corpus = open_corpus(data.data)
    except InputError as error:
        return f"{data.corpus}: {error.message.rstrip('.')}"
    if data.sha256 is not None and corpus.fingerprint != data.sha256:
        return f"{data.corpus}: {data.data} no longer lists what was trained on"
    return [corpus]


def _leaks(corpus: Corpus, test: TestSet, workers: int, progress: Progress | None) -> list[str]:
    """What of ``test`` a training on ``corpus`` has heard, each as a phrase."""
    if test.corpus is not None and test.corpus.fingerprint == corpus.fingerprint:
        return []  # its splits are made of whole speakers and recordings
    seen = [clip for clip in corpus.clips if clip.split in SEEN]
    found = _by_name(seen, test.sounds)
    rest = [sound for sound in test.sounds if sound.label not in found]
    index = Index(clip_fingerprints(seen, workers, progress))
    for sound in rest:
        match = index.search(fingerprint(sound.load()))
        if match is not None:
            place = max(match.offset, 0) * HOP / RATE
            clip = seen[match.known].name
            found[sound.label] = f"{sound.label} sounds like {clip} from {place:.1f} s"
    return list(found.values())


def _by_name(seen: Sequence[Clip], sounds: Sequence[Sound]) -> dict[str, str]:
    """Label → phrase, of sounds whose speaker, recording or file is named in the training data."""
    identities = {identity for clip in seen if (identity := _identity(clip))}
    files: dict[str, list[Clip]] = {}
    for clip in seen:
        files.setdefault(PurePath(clip.name).stem, []).append(clip)
    found: dict[str, str] = {}
    for sound in sounds:
        if common := identities.intersection(sound.identities):
            found[sound.label] = f"{sound.label} is of {min(common)}"
            continue
        for clip in files.get(sound.stem, ()):
            if abs(clip.duration - sound.seconds) < SAME_LENGTH_SECONDS:
                found[sound.label] = f"{sound.label} has the name and length of {clip.name}"
    return found


def _identity(clip: Clip) -> str | None:
    """The group of a clip; None where it is no more than the name of a file (``001.wav``), which
    may well be that of another sound in another corpus."""
    return None if PurePath(clip.group).suffix.lower() in SUFFIXES else clip.group


def _refusal(name: str, corpus: Corpus, leaks: Sequence[str]) -> InputError:
    more = f"; and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""
    return InputError(
        f"{name} was trained on {len(leaks)} of the test sounds (training data: {corpus.name}): "
        f"{'; '.join(leaks[:SHOWN])}{more}.",
        hint="Test on other speakers and recordings. Where equal names are different people or "
        "sounds, rename them.",
    )


def _verdict(
    name: str, corpora: Sequence[Corpus], problems: Sequence[str], test: TestSet
) -> Verdict:
    if problems:
        return Verdict(name, "unavailable", "; ".join(problems))
    if not corpora:
        return Verdict(name, "unknown", "nothing is recorded of what it was trained on")
    if test.corpus is not None and corpora[0].fingerprint == test.corpus.fingerprint:
        detail = f"the items are of the held-out split of its training data, {test.corpus.name}"
        return Verdict(name, "passed", detail)
    names = ", ".join(corpus.name for corpus in corpora)
    return Verdict(name, "passed", f"no speaker or recording of {names} among the test sounds")
