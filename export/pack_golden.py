"""Golden vectors of a pack, from noisy speech the network was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from runtime.artefact import Artefact
from runtime.engines import ENGINES, missing, open_engine
from runtime.pack_format import GOLDEN, Golden, canonical_json
from runtime.pack_replay import REFERENCE_ENGINES, reference_engine
from runtime.pack_vectors import record_vectors, write_array
from runtime.stft import FloatArray, StftContract
from targets.errors import InputError

FRAMES = 128
SECONDS = 1.0  # or more frames than the above: with a short hop these would hold hardly a word
FEWEST_FRAMES = 100
SEED = 20_250_501
FLOAT_TOLERANCE = 1e-4  # float kernels add in another order on another machine


@dataclass(frozen=True)
class GoldenSignal:
    """Noisy speech ``[samples]`` at the contract's rate, and what it is."""

    samples: FloatArray
    description: str


def held_out_signal(contract: StftContract, data: str | None) -> GoldenSignal:
    """A mixture no training saw, by default from the embedded demo corpus.

    The description names the licences of all recordings it may be cut from, for it travels.
    """
    from distill.corpus import SAMPLE_RATE, open_corpus
    from distill.mixing import evaluation_items

    if contract.sample_rate != SAMPLE_RATE:
        raise InputError(
            f"The model runs at {contract.sample_rate} Hz, the corpus at {SAMPLE_RATE} Hz.",
            hint="Packs are made for 16 kHz models.",
        )
    corpus = open_corpus(data)
    seconds = max(FRAMES / contract.steps_per_second, SECONDS)
    split = corpus.held_out
    item = evaluation_items(corpus, split, 1, seconds, SEED)[0]
    licences = {clip.licence for clip in (*corpus.speech(split), *corpus.noise(split))}
    kind = "synthetic, " if corpus.synthetic else ""
    description = (
        f"{corpus.name} corpus, {split} split, {kind}{item.speech} in {item.noise} "
        f"at {item.snr_db:.1f} dB; licences of the split: {', '.join(sorted(licences))}"
    )
    return GoldenSignal(item.noisy, description)


def golden_files(artefact: Artefact, signal: GoldenSignal) -> tuple[Golden, dict[str, bytes]]:
    """The record and the ``golden/`` files, run on the reference engine of the format.

    Raises EngineMissing without one, InputError for a signal shorter than 100 hops.
    """
    sidecar = artefact.sidecar
    name = reference_engine(sidecar.target)
    if name is None:
        family = sidecar.target.split("-", 1)[0]
        raise missing(REFERENCE_ENGINES.get(family, ("litert-reference",))[0])
    vectors = record_vectors(sidecar, open_engine(artefact, name), signal.samples)
    frames = len(vectors.features)
    if frames < FEWEST_FRAMES:
        raise InputError(
            f"The golden signal has {frames} frames; {FEWEST_FRAMES} are needed.",
            hint="Give a longer one.",
        )
    distribution = ENGINES[name].distribution
    golden = Golden(
        engine=name,
        tools={distribution: metadata.version(distribution)},
        signal=signal.description,
        frames=frames,
        tolerance=FLOAT_TOLERANCE if sidecar.inputs[0].dtype == "float32" else 0.0,
    )
    arrays = {
        "signal": vectors.signal,
        "features_real": vectors.real,
        "features": vectors.features,
        "mask": vectors.mask,
        **{f"state_{name}": values for name, values in vectors.states.items()},
    }
    files = {f"golden/{name}.npy": write_array(values) for name, values in arrays.items()}
    return golden, {GOLDEN: canonical_json(golden), **files}
