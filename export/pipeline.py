"""The way of an export: checkpoint → step graph → calibration → files → gates → artefacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from distill.checkpoint import Checkpoint
from distill.corpus import SAMPLE_RATE, Corpus, open_corpus
from export.emission import emit
from export.formats import WIDTHS, Emitted, Format, origin_of, wanted
from export.judging import Case, Progress, Verified, judge, one_torch_thread
from export.material import Material, gather
from export.preparation import Prepared, Quantizing, prepare
from export.trained import Trained, of_checkpoint
from export.verify import probe_features
from runtime.artefact import Artefact, GateResult, Sidecar, sidecar_path
from runtime.publish import check_writable, publish
from targets.errors import GateFailed, GateUnavailable, InputError


class ExportRejected(GateFailed):
    """A gate failed, so nothing was written. ``sidecars`` hold what every gate measured."""

    def __init__(self, sidecars: Sequence[Sidecar]) -> None:
        self.sidecars = tuple(sidecars)
        failed = {
            gate.name: gate
            for sidecar in sidecars
            for gate in sidecar.gates
            if gate.verdict == "fail"
        }
        findings = "; ".join(
            f"{gate.name}: {gate.measured} (limit: {gate.limit})" for gate in failed.values()
        )
        super().__init__(
            f"The export was rejected. {findings}.",
            hint="Nothing was written. Train longer, or look at the gates' details with --json.",
        )


def export_checkpoint(
    checkpoint: Checkpoint,
    targets: Sequence[str],
    output: Path,
    data: str | None = None,
    progress: Progress | None = None,
    quantizing: Quantizing | None = None,
    inform: Callable[[Prepared], None] | None = None,
) -> list[Artefact]:
    """:func:`export_student` of a checkpoint; ``data`` is by default the corpus it was trained
    on, unchanged."""
    wanted(targets)
    check_writable(output)
    corpus = open_corpus(data) if data is not None else training_corpus(checkpoint)
    trained = of_checkpoint(checkpoint)
    return export_student(trained, targets, output, corpus, progress, quantizing, inform)


def export_student(
    trained: Trained,
    targets: Sequence[str],
    output: Path,
    corpus: Corpus,
    progress: Progress | None = None,
    quantizing: Quantizing | None = None,
    inform: Callable[[Prepared], None] | None = None,
) -> list[Artefact]:
    """Export a student to ``targets`` (see ``FORMATS``), verify, and write to ``output``.

    ``corpus`` gives the signals for calibration and the held-out mixtures. ``progress`` hears what
    is being done and the fraction behind us, ``inform`` how the integer formats were arrived at.
    Raises InputError for an unknown target, missing data or an output that cannot be written,
    and :class:`ExportRejected` when a gate fails; then ``output`` is as it was before. A gate that
    could not run does not stop the export: look for the verdict ``unavailable`` in the sidecars.
    """
    formats = wanted(targets).formats
    check_writable(output)
    report = progress or _silent
    report("reading data", 0.0)
    material = gather(corpus)
    verified = verified_models(trained, formats, material, report, quantizing, inform)
    report("writing", 0.99)
    return write_artefacts(verified, output)


def training_corpus(checkpoint: Checkpoint) -> Corpus:
    """The corpus of the checkpoint's recipe, as it was: one that was split anew since then may
    hold out what was trained on."""
    data = checkpoint.record.data
    hint = "Name a corpus with --data; to measure honestly, one that was not trained on."
    try:
        corpus = open_corpus(data)
    except InputError as error:
        raise InputError(
            f"The training data of {checkpoint.path} cannot be opened: {error.message}", hint=hint
        ) from error
    trained_on = checkpoint.record.provenance.get("corpus_sha256")
    if trained_on is not None and corpus.fingerprint != trained_on:
        raise InputError(
            f"The recordings listed in {data} are not those that {checkpoint.path} was trained on.",
            hint=hint,
        )
    return corpus


@one_torch_thread()
def verified_models(
    trained: Trained,
    formats: Sequence[Format],
    material: Material,
    progress: Progress,
    quantizing: Quantizing | None = None,
    inform: Callable[[Prepared], None] | None = None,
) -> list[Verified]:
    """Emit and verify every format in memory. Raises :class:`ExportRejected`."""
    contract, graph = trained.contract, trained.student.graph
    if contract.sample_rate != SAMPLE_RATE or contract.bins != graph.features.shape[2]:
        raise InputError(
            "The student's contract does not fit its network or the corpora (16 kHz).",
            hint="Distil the network again with one of the built-in recipes.",
        )
    probe = probe_features(contract, [item.noisy for item in material.held_out])
    widths = list(dict.fromkeys(WIDTHS[name] for name in formats if name in WIDTHS))
    prepared = None
    if widths:
        prepared = prepare(
            graph,
            contract,
            material,
            widths,
            quantizing,
            lambda stage, done: progress(stage, 0.1 + 0.2 * done),
        )
        if inform is not None:
            inform(prepared)
    quantized = prepared.quantized if prepared is not None else {}
    progress("writing in memory", 0.3)
    needed: tuple[Format, ...] = (*formats, *map(origin_of, formats), "tflite-fp32")
    files: dict[Format, Emitted] = {
        name: emit(name, trained.student, quantized, contract)
        for name in dict.fromkeys(needed)
        if name != "onnx-fp32"  # traced while other files are judged: it takes long
    }
    verified = judge(Case(trained, probe, material, prepared), files, formats, progress)
    if any(gate.verdict == "fail" for model in verified for gate in model.sidecar.gates):
        raise ExportRejected([model.sidecar for model in verified])
    return verified


def write_artefacts(verified: Sequence[Verified], output: Path) -> list[Artefact]:
    """Write models, each followed by its sidecar: all of them, or none."""
    files = []
    for model in verified:
        path = _place(model.sidecar)
        text = model.sidecar.model_dump_json(by_alias=True, indent=2) + "\n"
        files += [(str(path.with_name(name)), one) for name, one in model.emitted.sources.items()]
        files += [
            (str(path), model.emitted.content),
            (str(sidecar_path(path)), text.encode()),
        ]
    publish(output, files)
    return [Artefact(path=output / _place(one.sidecar), sidecar=one.sidecar) for one in verified]


def _place(sidecar: Sidecar) -> Path:
    """Where a model lies in the output folder: C has a folder of its own."""
    return Path(sidecar.name) / sidecar.model.file if sidecar.sources else Path(sidecar.model.file)


def unavailable_gates(artefacts: Sequence[Artefact]) -> list[GateResult]:
    """The gates that could not run here, each once."""
    gates = (gate for artefact in artefacts for gate in artefact.sidecar.gates)
    return list({gate.name: gate for gate in gates if gate.verdict == "unavailable"}.values())


def refuse_as_passed(written: str, skipped: Sequence[GateResult]) -> None:
    """Raise GateUnavailable, after all is ``written``, where gates were ``skipped``."""
    if not skipped:
        return
    number = f"{len(skipped)} gate" + "s" * (len(skipped) > 1)
    raise GateUnavailable(
        f"{written}, but {number} could not run here: "
        + "; ".join(f"{gate.name} ({gate.detail or gate.measured})" for gate in skipped),
        hint="Install what is missing (`sordino doctor`) and give the command again.",
    )


def _silent(stage: str, fraction: float) -> None:
    """The progress of a caller who does not want to know."""
