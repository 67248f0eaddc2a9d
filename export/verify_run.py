"""Gates on artefacts beside the trained network they came from."""

from __future__ import annotations

from collections.abc import Sequence

from distill.checkpoint import Checkpoint
from distill.corpus import open_corpus
from export.formats import Format
from export.gates.stored_weights import stored_weights
from export.lowering import lower
from export.material import gather
from export.pipeline import training_corpus
from export.sounds import sounds
from export.verify import PARITY_FRAMES, verify_network, verify_parity
from runtime.artefact import Artefact, GateResult
from runtime.verification.frames import frames_of
from targets.errors import InputError

# Float files are compared with torch; integer ones with float files when they were exported.
FLOATS: tuple[Format, ...] = ("tflite-fp32", "onnx-fp32")


def verify_against(checkpoint: Checkpoint, artefacts: Sequence[Artefact]) -> list[GateResult]:
    """sequence ≡ step and causality of the network, torch ≡ float files, and its very weights in
    the float TFLite file.

    Raises InputError where an artefact came from another checkpoint.
    """
    for artefact in artefacts:
        origin = artefact.sidecar.provenance.get("checkpoint_sha256")
        if origin != checkpoint.sha256:
            raise InputError(
                f"{artefact.path.name} was not exported from {checkpoint.path}.",
                hint="Name the run it came from, or leave --run out.",
            )
    network, contract = checkpoint.network, checkpoint.record.contract
    graph = lower(network)
    probe = frames_of(contract, sounds(contract)["speech"])[:PARITY_FRAMES]
    gates = verify_network(network, graph, probe)
    files = {
        name: artefact.path.read_bytes()
        for artefact in artefacts
        for name in FLOATS
        if artefact.sidecar.target == name
    }
    torch_parity = verify_parity(network, graph, files, probe)
    gates.append(torch_parity.model_copy(update={"name": "parity (torch)"}))
    if content := files.get("tflite-fp32"):
        gates.append(stored_weights(content, graph))
    return gates


def witnessed(checkpoint: Checkpoint, data: str | None) -> list[GateResult]:
    """What TensorFlow's converter makes of the same network, beside ours.

    ``data`` is a corpus for calibration and mixtures, by default that of the training.
    """
    from export.witness.judgement import witness

    corpus = open_corpus(data) if data is not None else training_corpus(checkpoint)
    return witness(lower(checkpoint.network), checkpoint.record.contract, gather(corpus))
