"""Gates on artefacts beside the trained network they came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distill.checkpoint import Checkpoint
from distill.corpus import open_corpus
from export.executor import PreciseExecutor
from export.gates.parity import parity
from export.gates.recurrence import Runner
from export.gates.stored_weights import stored_weights
from export.lowering import lower
from export.material import gather
from export.pipeline import training_corpus
from export.sounds import sounds
from export.step_graph import StepGraph
from export.students import own_student
from export.verify import verify_network
from runtime.artefact import Artefact, GateResult
from runtime.engines import EngineMissing, open_engine
from runtime.verification.agreement import FLOATS, oracle
from runtime.verification.results import unavailable
from runtime.verification.verify import probe_frames
from targets.errors import InputError

# Notes in a sidecar of what was done to weights before they were rounded: then they are not those
# of the checkpoint, and there is nothing to compare them with.
CHANGED_BY = ("equalised_channels", "corrected_biases", "fine_tuning")


def verify_against(checkpoint: Checkpoint, artefacts: Sequence[Artefact]) -> list[GateResult]:
    """sequence ≡ step and causality of the network, torch ≡ the step graph ≡ every float file, and
    its very weights in every TFLite file that was only rounded.

    Raises InputError where an artefact came from another checkpoint.
    """
    for artefact in artefacts:
        origin = artefact.sidecar.provenance.get("checkpoint_sha256")
        if origin != checkpoint.sha256:
            raise InputError(
                f"{artefact.path.name} was not exported from {checkpoint.path}.",
                hint="Name the run it came from, or leave --run out.",
            )
    student, contract = own_student(checkpoint.network), checkpoint.record.contract
    graph = student.graph
    probe = probe_frames(contract, sounds(contract))
    gates = verify_network(student, probe)
    runners: dict[str, Runner] = {"step graph": PreciseExecutor(graph)}
    for artefact in artefacts:
        if artefact.sidecar.target in FLOATS:
            try:
                runners[artefact.sidecar.target] = open_engine(artefact, oracle(artefact))
            except EngineMissing as error:
                reason = f"{error.message} {error.hint}"
                gates.append(unavailable(f"parity ({artefact.sidecar.target})", "", reason))
    gates.append(parity(student, runners, probe))
    return [*gates, *_weights(artefacts, graph)]


def _weights(artefacts: Sequence[Artefact], graph: StepGraph) -> Iterator[GateResult]:
    for artefact in artefacts:
        notes = artefact.sidecar.quantization
        if artefact.path.suffix == ".tflite" and not notes.keys() & set(CHANGED_BY):
            gate = stored_weights(artefact.path.read_bytes(), graph)
            yield gate.model_copy(update={"name": f"{gate.name} ({artefact.sidecar.target})"})


def witnessed(checkpoint: Checkpoint, data: str | None) -> list[GateResult]:
    """What TensorFlow's converter makes of the same network, beside ours.

    ``data`` is a corpus for calibration and mixtures, by default that of the training.
    """
    from export.witness.judgement import witness

    corpus = open_corpus(data) if data is not None else training_corpus(checkpoint)
    return witness(lower(checkpoint.network), checkpoint.record.contract, gather(corpus))
